package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newTail() *cobra.Command {
	t := tailing{pause: time.Second}
	c := &cobra.Command{
		Use: "tail STREAM|URL", GroupID: "data", Args: cobra.ExactArgs(1),
		Short: "Show records of a stream as they come",
		Long: `Show each record that comes to a stream, as a line of JSON. When the connection
breaks it is made again, and goes on behind the last record that was shown:
none is missing and none comes twice.`,
		Example: `  weir tail greetings.first
  weir tail greetings.first --from begin --count 10
  weir tail https://alice:secret@gateway.example.com/streams/greetings.first`,
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if t.url, err = streamAt(t.server, args[0]); err != nil {
				return usage(c, err)
			}
			t.out, t.notes = c.OutOrStdout(), c.ErrOrStderr()
			return t.run(c.Context())
		},
	}
	c.Flags().StringVar(&t.server, "server", "http://127.0.0.1:8880", "the gateway's `URL`")
	c.Flags().StringVar(&t.from, "from", "", "begin at this `OFFSET` in the stream, or at its \"begin\"ning; else with what comes now")
	c.Flags().IntVar(&t.count, "count", 0, "end after so many records")
	return c
}

// streamAt gives the address of a stream, or of a URL as it is.
func streamAt(server, stream string) (*url.URL, error) {
	text := stream
	if !strings.Contains(stream, "://") {
		text = strings.TrimSuffix(server, "/") + "/streams/" + url.PathEscape(stream)
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is neither a stream nor a URL such as http://127.0.0.1:8880/streams/NAME", stream)
	}
	return u, nil
}

// A tailing shows the events of a stream.
type tailing struct {
	server, from string
	count        int // to show; 0 is no end
	url          *url.URL
	out, notes   io.Writer
	pause        time.Duration // before a connection is made again

	last  string // id of the last event
	shown int
}

// errRefused: making the connection again would not help.
var errRefused = errors.New("refused")

// run shows events until the count is reached or the context ends.
func (t *tailing) run(ctx context.Context) error {
	for {
		err := t.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errRefused):
			return fmt.Errorf("tail %s: %w", t.url.Redacted(), err)
		case t.count > 0 && t.shown >= t.count:
			return nil
		}
		if err != nil {
			fmt.Fprintf(t.notes, "weir: tail: %v; trying again\n", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(t.pause):
		}
	}
}

// follow shows the events of one connection.
func (t *tailing) follow(ctx context.Context) error {
	ask := *t.url
	query := ask.Query()
	query.Set("format", "events")
	if t.from != "" {
		query.Set("offset", t.from)
	}
	ask.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ask.String(), nil)
	if err != nil {
		return err
	}
	if t.last != "" {
		req.Header.Set("Last-Event-ID", t.last)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
		err := fmt.Errorf("%s: %s", answer.Status, strings.TrimSpace(string(text)))
		if answer.StatusCode < 500 && answer.StatusCode != http.StatusTooManyRequests {
			err = fmt.Errorf("%w: %w", errRefused, err)
		}
		return err
	}
	return t.show(answer.Body)
}

// show writes the data of events to their end.
func (t *tailing) show(body io.Reader) error {
	var kind, id, data string
	for lines := bufio.NewReader(body); ; {
		line, err := lines.ReadString('\n')
		if err == io.EOF { // what has no end does not count
			return nil
		}
		if err != nil {
			return err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "\n":
			if err := t.event(kind, id, data); err != nil {
				return err
			}
			if t.count > 0 && t.shown >= t.count {
				return nil
			}
			kind, id, data = "", "", ""
		case name == "event":
			kind = value
		case name == "id":
			id = value
		case name == "data":
			data = value
		}
	}
}

func (t *tailing) event(kind, id, data string) error {
	if id != "" {
		t.last = id
	}
	switch {
	case kind == "error":
		return fmt.Errorf("%w: %s", errRefused, data)
	case kind == "replaced":
		_, err := fmt.Fprintln(t.notes, "weir: tail: the stream was replaced; from its beginning:")
		return err
	case kind == "trimmed":
		_, err := fmt.Fprintln(t.notes, "weir: tail: what came next was given up; from the stream's beginning:")
		return err
	case data == "":
		return nil
	}
	t.shown++
	_, err := fmt.Fprintln(t.out, data)
	return err
}
