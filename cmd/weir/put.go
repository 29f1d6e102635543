package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func newPut() *cobra.Command {
	return &cobra.Command{
		Use: "put FILE… URL", GroupID: "data", Args: cobra.MinimumNArgs(2),
		Short: "Upload files to streams",
		Long: `Upload each file as the content of a stream. With a URL that ends in a slash
or a dot, the file's name is added to it; several files need such a URL. A
FILE of - is standard input and needs the stream's whole URL.`,
		Example: `  weir put take1.wav http://127.0.0.1:8880/streams/wavs.take1
  weir put *.wav http://127.0.0.1:8880/streams/wavs.`,
		RunE: func(c *cobra.Command, args []string) error {
			files, to := args[:len(args)-1], args[len(args)-1]
			for _, f := range files {
				target, err := streamURL(f, to, len(files) > 1)
				if err != nil {
					return usage(c, err)
				}
				if err := put(c.Context(), f, target, c.InOrStdin(), c.OutOrStdout()); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// streamURL is where a file goes: to itself, or with the file's name added
// where it ends in a slash or a dot.
func streamURL(file, to string, several bool) (string, error) {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("%q is no URL such as http://127.0.0.1:8880/streams/NAME", to)
	}
	if !strings.HasSuffix(to, "/") && !strings.HasSuffix(to, ".") {
		if several {
			return "", fmt.Errorf("%q names one stream; end it with / or . to add each file's name", to)
		}
		return to, nil
	}
	if file == "-" {
		return "", errors.New("standard input has no name to add; give the stream's whole URL")
	}
	return to + url.PathEscape(filepath.Base(file)), nil
}

// put uploads one file and prints what the server kept of it.
func put(ctx context.Context, file, to string, in io.Reader, out io.Writer) error {
	body, size, closeBody, err := open(file, in)
	if err != nil {
		return fmt.Errorf("put: %w", err)
	}
	defer closeBody()
	p := newProgress(filepath.Base(file), size)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, to, p.reader(body))
	if err != nil {
		return fmt.Errorf("put %s: %w", file, err)
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Expect", "100-continue")
	answer, err := (&http.Client{Transport: &http.Transport{ExpectContinueTimeout: 2 * time.Second, Proxy: http.ProxyFromEnvironment}}).Do(req)
	p.end()
	if err != nil {
		return fmt.Errorf("put %s: %w", file, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("put %s: the answer broke off, whether it was kept is not known: %w", file, err)
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("put %s: %s: %s", file, answer.Status, strings.TrimSpace(string(text)))
	}
	_, err = out.Write(text)
	return err
}

// open gives a file's bytes and their number, -1 when it is not known.
func open(file string, in io.Reader) (io.Reader, int64, func() error, error) {
	if file == "-" {
		return in, -1, func() error { return nil }, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, nil, err
	}
	i, err := f.Stat()
	if err == nil && i.IsDir() {
		err = fmt.Errorf("%s is a folder", file)
	}
	if err != nil {
		f.Close()
		return nil, 0, nil, err
	}
	return f, i.Size(), f.Close, nil
}

// A progress shows on a terminal how far an upload came.
type progress struct {
	name        string
	size, done  int64
	began, last time.Time
	show        bool
}

func newProgress(name string, size int64) *progress {
	return &progress{name: name, size: size, began: time.Now(), show: term.IsTerminal(int(os.Stderr.Fd()))}
}

// reader counts what is read. An http.Request closes no reader that has no
// Close, so the file stays ours.
func (p *progress) reader(r io.Reader) io.Reader {
	return readFunc(func(b []byte) (int, error) {
		n, err := r.Read(b)
		p.done += int64(n)
		if p.show && time.Since(p.last) > 200*time.Millisecond {
			p.last = time.Now()
			p.print()
		}
		return n, err
	})
}

func (p *progress) print() {
	rate := float64(p.done) / time.Since(p.began).Seconds()
	line := fmt.Sprintf("%s  %.1f MB  %.1f MB/s", p.name, float64(p.done)/1e6, rate/1e6)
	if p.size > 0 && rate > 0 {
		line += fmt.Sprintf("  %d %%  %.0f s left", 100*p.done/p.size, float64(p.size-p.done)/rate)
	}
	fmt.Fprintf(os.Stderr, "\r\x1b[K%s", line)
}

func (p *progress) end() {
	if p.show {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }
