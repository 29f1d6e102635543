package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/push"
)

// A putter is what the flags of put say.
type putter struct {
	client   clientFlags
	part     int64 // MiB
	retry    time.Duration
	watch    bool
	position string
	every    time.Duration
}

func newPut() *cobra.Command {
	p := &putter{}
	c := &cobra.Command{
		Use: "put FILE… URL", GroupID: "data", Args: cobra.MinimumNArgs(2),
		Short: "Upload files to streams, or follow files that grow",
		Long: `Make each file the content of a stream. Where the stream holds a beginning of the
file, as after a break, it goes on from there; what is there already is not sent.
Breaks are borne, and each file arrives as it is or not at all to its end.

With a URL that ends in a slash or a dot, the file's name is added to it; a * in
the URL stands for the file's path with dots for its slashes. Several files, or a
folder, which means all files in it, need such a URL. A FILE of - is standard
input and needs the stream's whole URL.

With --watch the FILEs are patterns, and what comes to files that match is
appended to their streams, each byte once: through rotation, truncation, breaks
and restarts, with --position also of this command. It goes on until SIGTERM.`,
		Example: `  weir put take1.wav http://127.0.0.1:8880/streams/wavs.take1
  weir put *.wav recordings http://127.0.0.1:8880/streams/wavs.
  weir put --watch '/var/log/*.log' --position put.pos 'http://127.0.0.1:8880/streams/logs.*'`,
		RunE: p.run,
	}
	p.client.define(c)
	c.Flags().Int64Var(&p.part, "part", 256, "`MIB` of one request, which is what a break may cost; 0 sends each file in one")
	c.Flags().DurationVar(&p.retry, "retry", 5*time.Minute, "how long breaks are borne in which nothing comes through")
	c.Flags().BoolVar(&p.watch, "watch", false, "follow the files that the patterns FILE match")
	c.Flags().StringVar(&p.position, "position", "", "with --watch, the `FILE` that keeps how far each file is")
	c.Flags().DurationVar(&p.every, "every", time.Second, "with --watch, how often is looked for more")
	return c
}

func (p *putter) run(c *cobra.Command, args []string) error {
	files, to := args[:len(args)-1], args[len(args)-1]
	if err := checkURL(to); err != nil {
		return usage(c, err)
	}
	if p.part < 0 || p.retry < 0 || p.every <= 0 {
		return usage(c, errors.New("--part and --retry are not below 0, --every is above it"))
	}
	if p.position != "" && !p.watch {
		return usage(c, errors.New("--position is for --watch"))
	}
	client, err := p.client.open()
	if err != nil {
		return fmt.Errorf("put: %w", err)
	}
	if p.watch {
		return p.follow(c, client, files, to)
	}
	list, err := sources(files, to)
	if err != nil {
		return usage(c, err)
	}
	failed := 0
	for _, s := range list {
		err := p.put(c.Context(), client, s, c.InOrStdin(), c.OutOrStdout())
		if err != nil && (len(list) == 1 || c.Context().Err() != nil) {
			return fmt.Errorf("put %s: %w", s.file, err)
		}
		if err != nil {
			failed++
			fmt.Fprintf(c.ErrOrStderr(), "weir: put %s: %v\n", s.file, err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("put: %d of %d files did not arrive", failed, len(list))
	}
	return nil
}

func checkURL(to string) error {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is no URL such as http://127.0.0.1:8880/streams/NAME", to)
	}
	return nil
}

// A source is a file and where it goes.
type source struct{ file, to string }

// sources gives the files that the arguments mean; a folder means those in it.
func sources(args []string, to string) ([]source, error) {
	var list []source
	for _, arg := range args {
		info, err := os.Stat(arg)
		if arg == "-" || err != nil || !info.IsDir() {
			target, err := streamURL(arg, filepath.Base(arg), to, len(args) > 1)
			if err != nil {
				return nil, err
			}
			list = append(list, source{arg, target})
			continue
		}
		above := filepath.Dir(filepath.Clean(arg))
		err = filepath.WalkDir(arg, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			name, err := filepath.Rel(above, path)
			if err != nil {
				return err
			}
			target, err := streamURL(path, name, to, true)
			list = append(list, source{path, target})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	seen := map[string]string{}
	for _, s := range list {
		if other, again := seen[s.to]; again {
			return nil, fmt.Errorf("%s and %s would go to the same stream; use a URL with * for the path", other, s.file)
		}
		seen[s.to] = s.file
	}
	return list, nil
}

// streamURL is where a file goes: to itself, with its name added where it ends
// in a slash or a dot, with its path where it has a star.
func streamURL(path, name, to string, several bool) (string, error) {
	star := strings.Contains(to, "*")
	switch {
	case !star && !strings.HasSuffix(to, "/") && !strings.HasSuffix(to, "."):
		if several {
			return "", fmt.Errorf("%q names one stream; end it with / or . to add each file's name", to)
		}
		return to, nil
	case path == "-":
		return "", errors.New("standard input has no name to add; give the stream's whole URL")
	case star:
		dots := strings.TrimLeft(strings.ReplaceAll(filepath.ToSlash(filepath.Clean(path)), "/", "."), ".")
		return strings.Replace(to, "*", url.PathEscape(dots), 1), nil
	}
	var parts []string
	for part := range strings.SplitSeq(filepath.ToSlash(name), "/") {
		parts = append(parts, url.PathEscape(part))
	}
	return to + strings.Join(parts, "/"), nil
}

// put uploads one file and prints what the server has of it.
func (p *putter) put(ctx context.Context, client *push.Client, s source, in io.Reader, out io.Writer) error {
	if s.file == "-" {
		bar := newProgress("standard input")
		r, err := client.PutPipe(ctx, bar.reader(in), s.to)
		bar.end()
		if err == nil {
			_, err = io.WriteString(out, r.Text)
		}
		return err
	}
	f, err := os.Open(s.file)
	if err != nil {
		return err
	}
	defer f.Close()
	if i, err := f.Stat(); err != nil || !i.Mode().IsRegular() {
		return errors.Join(err, errors.New("it is no file"))
	}
	bar := newProgress(filepath.Base(s.file))
	r, err := client.Put(ctx, push.File{File: f, Part: p.part << 20, Patience: p.retry, Progress: bar.set, Broken: bar.broken}, s.to)
	bar.end()
	if err != nil {
		return err
	}
	switch {
	case r.Parts == 0:
		_, err = fmt.Fprintf(out, "%s: all %d bytes were there already\n", s.file, r.Bytes)
	case r.Parts == 1 && r.Text != "":
		_, err = io.WriteString(out, r.Text)
	default:
		_, err = fmt.Fprintf(out, "%s: kept %d bytes in %d requests; %d were there before\n", s.file, r.Bytes, r.Parts, r.Before)
	}
	return err
}

// follow appends what comes to files until the command is ended.
func (p *putter) follow(c *cobra.Command, client *push.Client, patterns []string, to string) error {
	for _, pattern := range patterns {
		if _, err := filepath.Match(pattern, ""); err != nil {
			return usage(c, fmt.Errorf("%q is no pattern: %w", pattern, err))
		}
	}
	several := len(patterns) > 1 || strings.ContainsAny(patterns[0], "*?[")
	if _, err := streamURL(patterns[0], filepath.Base(patterns[0]), to, several); err != nil {
		return usage(c, err)
	}
	part := p.part << 20
	if part == 0 || part > mostWatched {
		part = mostWatched
	}
	w, err := push.NewWatcher(push.WatchOptions{
		Client: client, Patterns: patterns, Position: p.position, Every: p.every, Part: part, Linger: rotationLinger,
		Target: func(path string) (string, error) { return streamURL(path, filepath.Base(path), to, several) },
		Log:    slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil)),
	})
	if err != nil {
		return fmt.Errorf("put: %w", err)
	}
	if err := w.Run(c.Context()); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	return nil
}

const (
	// mostWatched is the most bytes of one append of a followed file, which
	// are in memory.
	mostWatched = 8 << 20
	// rotationLinger is how long a file is followed after it was renamed.
	rotationLinger = 5 * time.Second
)
