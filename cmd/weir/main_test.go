package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"weir": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			os.Exit(run(ctx, os.Args[1:]))
		},
	})
}

// TestScripts runs the command lines of testdata/script: what they print, and
// their exit codes.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"code": code, "flip": flip, "ready": ready},
	})
}

// TestOneCommand: what is made for the arguments is the command that they name,
// or all.
func TestOneCommand(t *testing.T) {
	t.Parallel()
	all := newRoot().Commands()
	if len(all) < 10 {
		t.Fatalf("%d commands", len(all))
	}
	for _, c := range all {
		if got := newRoot(c.Name(), "x").Commands(); len(got) != 1 || got[0].Name() != c.Name() || got[0].GroupID != c.GroupID {
			t.Errorf("%s: %v", c.Name(), got)
		}
	}
	for _, args := range [][]string{{"help"}, {"--help"}, {"serv"}} {
		if got := newRoot(args...).Commands(); len(got) != len(all) {
			t.Errorf("%s: %d commands of %d", args, len(got), len(all))
		}
	}
}
