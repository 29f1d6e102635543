package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"weir/conf"
	"weir/internal/demo"
	"weir/internal/server"
)

func newDemo() *cobra.Command {
	var g gateway
	var once bool
	c := &cobra.Command{
		Use: "demo [WAV…]", GroupID: "gateway",
		Short: "Run a gateway and send real input through it",
		Long: `Run a gateway in a temporary folder, or in --data, and send it wav files, this
machine's resource consumption and lines of numbers as its senders would. Then
print what arrived and how to look at it, and go on until Ctrl-C.`,
		Example: "  weir demo\n  weir demo --once --data /tmp/weir-demo take1.wav",
		RunE: func(c *cobra.Command, wavs []string) error {
			return runDemo(c, g, wavs, once)
		},
	}
	g.flags(c)
	c.Flags().BoolVar(&once, "once", false, "exit after printing what arrived")
	_ = c.Flags().MarkHidden("config")
	c.Flags().Lookup("data").Usage = "data `FOLDER`, which stays (default a temporary one)"
	return c
}

func runDemo(c *cobra.Command, g gateway, wavs []string, once bool) error {
	cfg, found := conf.Parse("demo.yaml", demo.Config, conf.Source{})
	if len(found) > 0 {
		return found
	}
	if g.data == "" {
		dir, err := os.MkdirTemp("", "weir-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		g.data = dir
	}
	g.apply(cfg)
	out := c.OutOrStdout()
	s, err := startDemo(cfg, g)
	if err != nil {
		return err
	}
	greet(out, s, cfg)
	ctx, cancel := context.WithCancelCause(c.Context())
	defer cancel(nil)
	go func() {
		select {
		case err := <-s.Failed():
			cancel(err)
		case <-ctx.Done():
		}
	}()
	at := s.Addresses()
	err = demo.Run(ctx, demo.Options{HTTP: at.HTTP, Forward: at.Forward[0], Wavs: wavs, Once: once, Out: out})
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	drain, end := context.WithTimeout(context.Background(), drainTime)
	defer end()
	return errors.Join(err, s.Stop(drain))
}

// startDemo starts on the usual addresses, or, where those are taken and
// nothing else was asked for, on free ones.
func startDemo(cfg *conf.Config, g gateway) (*server.Server, error) {
	if len(cfg.Forward.Listen) == 0 {
		return nil, fmt.Errorf("demo: it needs a forward listener")
	}
	o := server.Options{Config: cfg, Version: version(), Log: logger(conf.Log{Level: "warn"}, os.Stderr)}
	s, err := server.Start(o)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return s, err
	}
	if g.http == "" {
		cfg.HTTP.Listen = "127.0.0.1:0"
	}
	if g.forward == nil {
		cfg.Forward.Listen = []string{"127.0.0.1:0"}
	}
	return server.Start(o)
}
