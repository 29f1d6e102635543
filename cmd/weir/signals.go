package main

import (
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// An operable process can be asked by signals for what it does, and to read
// its actions anew.
type operable interface {
	Stacks(w io.Writer)
	// Reload gives the number of actions there are now.
	Reload() (int, error)
}

// onSignals serves SIGHUP, SIGQUIT and SIGUSR1 until stop is called.
func onSignals(p operable, log *slog.Logger) (stop func()) {
	in := make(chan os.Signal, 4)
	done := make(chan struct{})
	signal.Notify(in, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1)
	go func() {
		for {
			select {
			case s := <-in:
				if s != syscall.SIGHUP {
					p.Stacks(os.Stderr)
				} else if n, err := p.Reload(); err != nil {
					log.Error("the actions stay as they are", "error", err)
				} else {
					log.Info("actions loaded", "number", n)
				}
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(in); close(done) }
}
