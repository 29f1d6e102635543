package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/sender"
)

const (
	defaultForward = "127.0.0.1:24224"
	maxLine        = 64 << 20
)

func newSend() *cobra.Command {
	var f sendFlags
	c := &cobra.Command{
		Use: "send TAG", GroupID: "data", Args: cobra.ExactArgs(1),
		Short: "Send JSON lines by the forward protocol",
		Long: `Read JSON objects from standard input, one a line, and send each with the tag
by the forward protocol. Each is acknowledged before the next is sent; a line
that is no JSON object stops with its number, and nothing after it is sent.

A server that asks for a shared key is told it with --shared-key-file, one that
asks for users, too, with --user. Nothing is sent to a server that does not know
the key itself.`,
		Example: `  echo '{"message":"hello"}' | weir send raw.hello
  weir send --to 10.0.0.5:24224 metrics.room < samples.jsonl
  weir send --to gateway.example.com:24224 --tls --ca-file ca.crt --shared-key-file shared_key --user alice raw.hello`,
		RunE: func(c *cobra.Command, args []string) error {
			key, err := f.sharedKey()
			if err != nil {
				return err
			}
			if err := f.check(key); err != nil {
				return usage(c, err)
			}
			o, err := f.options(key)
			if err != nil {
				return err
			}
			s, err := sender.Dial(c.Context(), o)
			if err != nil {
				return fmt.Errorf("send: %w", f.advise(err, false))
			}
			defer s.Close()
			n, err := send(c.Context(), s, args[0], c.InOrStdin())
			fmt.Fprintf(c.OutOrStdout(), "%d acknowledged\n", n)
			return f.advise(err, n > 0)
		},
	}
	f.define(c)
	return c
}

// send sends JSON lines and tells how many were acknowledged.
func send(ctx context.Context, s *sender.Sender, tag string, in io.Reader) (acked int, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for n := 1; lines.Scan(); n++ {
		if ctx.Err() != nil {
			return acked, ctx.Err()
		}
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		record, err := object(line)
		if err != nil {
			return acked, fmt.Errorf("send: line %d: %w", n, err)
		}
		if err := s.Send(ctx, tag, time.Now(), record); err != nil {
			return acked, fmt.Errorf("send: line %d was not acknowledged: %w", n, err)
		}
		acked++
	}
	if err := lines.Err(); err != nil {
		return acked, fmt.Errorf("send: standard input: %w", err)
	}
	return acked, nil
}

// object reads one JSON object; whole numbers stay whole.
func object(line []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("no JSON object: %w", err)
	}
	if v == nil {
		return nil, errors.New("no JSON object: null")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value; write one object a line")
	}
	return numbers(v).(map[string]any), nil
}

// numbers makes integers and floats of JSON numbers.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		if u, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return u
		}
		f, err := v.Float64()
		if err != nil {
			return v.String() // out of range: keep the text
		}
		return f
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	}
	return v
}
