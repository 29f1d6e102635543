package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/fluent/fluent-logger-golang/fluent"
	"github.com/spf13/cobra"
)

const (
	defaultForward = "127.0.0.1:24224"
	maxLine        = 64 << 20
)

func newSend() *cobra.Command {
	var to string
	var wait time.Duration
	c := &cobra.Command{
		Use: "send TAG", GroupID: "data", Args: cobra.ExactArgs(1),
		Short: "Send JSON lines by the forward protocol",
		Long: `Read JSON objects from standard input, one a line, and send each with the tag
by the forward protocol. Each is acknowledged before the next is sent; a line
that is no JSON object stops with its number, and nothing after it is sent.`,
		Example: `  echo '{"message":"hello"}' | weir send raw.hello
  weir send --to 10.0.0.5:24224 metrics.room < samples.jsonl`,
		RunE: func(c *cobra.Command, args []string) error {
			l, err := dial(to, wait)
			if err != nil {
				return err
			}
			n, err := send(c.Context(), l, args[0], c.InOrStdin())
			if closeErr := l.Close(); err == nil {
				err = closeErr
			}
			fmt.Fprintf(c.OutOrStdout(), "%d acknowledged\n", n)
			return err
		},
	}
	c.Flags().StringVar(&to, "to", defaultForward, "`HOST:PORT` of a forward listener")
	c.Flags().DurationVar(&wait, "timeout", 30*time.Second, "how long to wait for the connection and for an acknowledgement")
	return c
}

// dial connects to a forward listener; each post waits for its ack.
func dial(to string, wait time.Duration) (*fluent.Fluent, error) {
	host, port, err := net.SplitHostPort(to)
	if err != nil {
		return nil, fmt.Errorf("send: --to: %w", err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("send: --to: port %q is no number", port)
	}
	l, err := fluent.New(fluent.Config{
		FluentHost: host, FluentPort: n, Timeout: wait, WriteTimeout: wait, ReadTimeout: wait,
		RequestAck: true, SubSecondPrecision: true, MaxRetry: 3, RetryWait: 500,
	})
	if err != nil {
		return nil, fmt.Errorf("send: %s: %w", to, err)
	}
	return l, nil
}

// send posts JSON lines and tells how many were acknowledged.
func send(ctx context.Context, l *fluent.Fluent, tag string, in io.Reader) (acked int, err error) {
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
		if err := l.PostWithTime(tag, time.Now(), record); err != nil {
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
