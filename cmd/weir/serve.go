package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"weir/conf"
	"weir/internal/server"
)

// drainTime bounds how long a stop waits for senders.
const drainTime = 30 * time.Second

// gcPercent is how much garbage may come to what is alive. Most of the heap is
// tables and buffers that stay, and little garbage comes, so that collecting
// early costs next to nothing and keeps memory low.
const gcPercent = 30

// syncing is how many threads wait for the disk nearly always: Go counts one in
// a system call as running until it looks again, and a core would rest meanwhile.
const syncing = 1

// A gateway is what serve and demo have in common.
type gateway struct {
	config, data, http string
	forward            []string
}

func (g *gateway) flags(c *cobra.Command) {
	c.Flags().StringVar(&g.config, "config", "", "configuration `FILE`; without one every tag is kept verbatim")
	c.Flags().StringVar(&g.data, "data", "", "data `FOLDER` (default ./weir-data)")
	c.Flags().StringVar(&g.http, "http", "", "`HOST:PORT` of the HTTP listener (default 127.0.0.1:8880)")
	c.Flags().StringSliceVar(&g.forward, "forward", nil, "`HOST:PORT` of the forward listener; may be repeated (default 127.0.0.1:24224)")
}

// load reads the configuration.
func (g *gateway) load() (*conf.Config, error) {
	c := conf.Default()
	if g.config != "" {
		var found conf.Diagnostics
		if c, found = conf.Load(g.config, conf.Source{}); len(found) > 0 {
			fmt.Fprintln(os.Stderr, found.Error())
			return nil, exit{code: exitConfig}
		}
	}
	g.apply(c)
	return c, nil
}

// apply puts the command line before the file.
func (g *gateway) apply(c *conf.Config) {
	if g.data != "" {
		c.Data = g.data
	}
	if g.http != "" {
		c.HTTP.Listen = g.http
	}
	if g.forward != nil {
		c.Forward.Listen = g.forward
	}
}

func newServe() *cobra.Command {
	var g gateway
	c := &cobra.Command{
		Use: "serve", GroupID: "gateway", Args: cobra.NoArgs,
		Short: "Run the gateway",
		Long: `Run the gateway until SIGTERM or SIGINT, then finish and acknowledge what was
taken, and exit 0. A second signal exits at once. Nothing that was
acknowledged is lost either way. SIGHUP loads the actions of jobs anew; SIGQUIT
and SIGUSR1 print what each thread does, with all stacks.`,
		Example: "  weir serve\n  weir serve --config weir.yaml --data /var/lib/weir --http 0.0.0.0:8880",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := g.load()
			if err != nil {
				return err
			}
			return serve(c.Context(), cfg, c.OutOrStdout())
		},
	}
	g.flags(c)
	return c
}

// serve runs a gateway until the context ends or a part of it fails.
func serve(ctx context.Context, cfg *conf.Config, out io.Writer) error {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + syncing)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	log := logger(cfg.Log, os.Stderr)
	s, err := server.Start(server.Options{Config: cfg, Version: version(), Log: log})
	if err != nil {
		return err
	}
	defer onSignals(s, log)()
	greet(out, s, cfg)
	select {
	case <-ctx.Done():
		log.Info("stopping", "drain", drainTime, "grace of jobs", cfg.Jobs.Grace)
	case err = <-s.Failed():
		log.Error("stopping", "error", err)
	}
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if stopErr := s.Stop(drain); stopErr != nil {
		log.Error("stopped", "error", stopErr)
		if err == nil {
			err = stopErr
		}
	}
	return err
}

// greet tells where to send and where to look.
func greet(out io.Writer, s *server.Server, cfg *conf.Config) {
	at, r, data := s.Addresses(), s.Recovery(), cfg.Data
	if abs, err := filepath.Abs(data); err == nil {
		data = abs
	}
	fmt.Fprintf(out, "listening http    %s\n", at.HTTP)
	for _, f := range at.Forward {
		fmt.Fprintf(out, "listening forward %s\n", f)
	}
	if at.Unix != "" {
		fmt.Fprintf(out, "listening forward %s\n", at.Unix)
	}
	if at.Slap != "" {
		fmt.Fprintf(out, "listening slap    %s\n", at.Slap)
	}
	fmt.Fprintf(out, "data              %s\n", data)
	if !r.Clean && r.Records > 0 {
		fmt.Fprintf(out, "recovered         %d records, %d bytes; %d bytes that nobody was told of were cut\n", r.Records, r.Bytes, r.CutBytes)
	}
	fmt.Fprintf(out, "\nThe page:  %s/\nSend:      echo '{\"message\":\"hello\"}' | weir send raw.hello%s\nRead:      curl %s/streams/raw.hello\n",
		at.URL(), sendTo(at, cfg.Forward), at.URL())
}

// sendTo are the flags that weir send needs to reach a gateway.
func sendTo(at server.Addresses, f conf.Forward) (flags string) {
	switch {
	case len(at.Forward) > 0 && at.Forward[0] != defaultForward:
		flags = " --to " + at.Forward[0]
	case len(at.Forward) == 0 && at.Unix != "":
		flags = " --to unix:" + at.Unix
	}
	if len(at.Forward) > 0 && f.TLS.CertFile != "" {
		flags += " --tls"
	}
	if f.Security == nil {
		return flags
	}
	if flags += " --shared-key-file FILE"; f.Security.UserAuth {
		flags += " --user NAME"
	}
	return flags
}

func logger(l conf.Log, out io.Writer) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(l.Level)) != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(out, o))
	}
	return slog.New(slog.NewTextHandler(out, o))
}
