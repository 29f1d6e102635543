package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newGet() *cobra.Command {
	var server, format, file string
	c := &cobra.Command{
		Use: "get STREAM|URL", GroupID: "data", Args: cobra.ExactArgs(1),
		Short: "Download a stream",
		Long: `Download the bytes of a stream, or its records, to standard output or a file.
When the connection breaks while bytes come, it is made again and goes on where
it ended, unless the stream was replaced meanwhile. A file appears under its
name when it is whole. Of a stream that was trimmed it has the bytes from its
beginning on.`,
		Example: `  weir get wavs.take1 --output take1.wav
  weir get greetings.first --format jsonl`,
		RunE: func(c *cobra.Command, args []string) error {
			from, err := streamAt(server, args[0])
			if err != nil {
				return usage(c, err)
			}
			if format != "" {
				query := from.Query()
				query.Set("format", format)
				from.RawQuery = query.Encode()
			}
			g := getting{url: from, resumes: format == "" || format == "raw", notes: c.ErrOrStderr(), pause: time.Second}
			if err := g.run(c.Context(), file, c.OutOrStdout()); err != nil {
				return fmt.Errorf("get %s: %w", from.Redacted(), err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&server, "server", "http://127.0.0.1:8880", "the gateway's `URL`")
	c.Flags().StringVar(&format, "format", "", "raw, msgpack, jsonl or csv")
	c.Flags().StringVarP(&file, "output", "o", "", "write to `FILE` instead of standard output")
	return c
}

// A getting is one download.
type getting struct {
	url     *url.URL
	resumes bool // its bytes stay where they are
	notes   io.Writer
	pause   time.Duration // before a connection is made again

	tag   string // the ETag's first part, which is the stream's generation
	begin int64  // of the first byte that there is
	size  int64  // offset of the end when the download began
	done  int64
}

// getAttempts is how often in a row a download may break off without a byte.
const getAttempts = 5

// run downloads to a file, or to out.
func (g *getting) run(ctx context.Context, file string, out io.Writer) error {
	if file == "" {
		return g.all(ctx, out)
	}
	f, err := os.Create(file + ".part")
	if err != nil {
		return err
	}
	err = errors.Join(g.all(ctx, f), f.Sync(), f.Close())
	if err == nil {
		return os.Rename(file+".part", file)
	}
	return errors.Join(err, os.Remove(file+".part"))
}

// all downloads, in as many connections as it takes.
func (g *getting) all(ctx context.Context, out io.Writer) error {
	for idle := 0; ; {
		before := g.done
		err := g.some(ctx, out)
		if err == nil || errors.Is(err, errRefused) || ctx.Err() != nil || !g.resumes {
			return err
		}
		if idle++; g.done > before {
			idle = 0
		}
		if idle == getAttempts {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(g.pause):
		}
	}
}

// some downloads what one connection gives.
func (g *getting) some(ctx context.Context, out io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url.String(), nil)
	if err != nil {
		return err
	}
	if g.done > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", g.begin+g.done, g.size-1))
	} else if g.begin > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", g.begin))
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	generation, _, _ := strings.Cut(answer.Header.Get("ETag"), "-")
	switch {
	case answer.StatusCode == http.StatusOK && g.done == 0:
		g.tag, g.begin, g.size = generation, 0, answer.ContentLength
	case g.trimmed(answer):
		return g.some(ctx, out)
	case answer.StatusCode == http.StatusPartialContent && g.done == 0:
		g.tag, g.size = generation, g.begin+answer.ContentLength
	case answer.StatusCode == http.StatusPartialContent && generation == g.tag:
	case answer.StatusCode < 300:
		return fmt.Errorf("%w: the stream was replaced after %d bytes", errRefused, g.done)
	case answer.StatusCode < 500:
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
		return fmt.Errorf("%w: %s: %s", errRefused, answer.Status, strings.TrimSpace(string(text)))
	default:
		return errors.New(answer.Status)
	}
	n, err := io.Copy(out, answer.Body)
	g.done += n
	if err == nil && g.size >= 0 && g.begin+g.done != g.size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// trimmed tells whether a stream has no bytes before one that the download then
// begins with.
func (g *getting) trimmed(answer *http.Response) bool {
	begin, err := strconv.ParseInt(answer.Header.Get("Weir-Begin"), 10, 64)
	gone := answer.StatusCode == http.StatusGone || answer.StatusCode == http.StatusRequestedRangeNotSatisfiable
	if err != nil || !gone || begin <= g.begin || g.done > 0 || !g.resumes {
		return false
	}
	g.begin = begin
	fmt.Fprintf(g.notes, "weir: get: the stream was trimmed; from byte %d on:\n", begin)
	return true
}
