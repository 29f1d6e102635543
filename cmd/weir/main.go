// Command weir is a streaming ingestion gateway: senders push data by the
// forward protocol or HTTP, weir keeps it durably in streams and builds arrays
// from them that any Zarr reader opens by URL.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes, as docs/commands.md lists them.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitRepairable  = 3  // fsck: the next start repairs it
	exitLost        = 4  // fsck: data is damaged
	exitConfig      = 78 // the configuration has mistakes
	exitInterrupted = 130
)

// An exit is an error with its code; the text was printed already when it is
// empty.
type exit struct {
	code int
	text string
}

func (e exit) Error() string { return e.text }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:]))
}

// run executes a command line and gives its exit code.
func run(ctx context.Context, args []string) int {
	root := newRoot(args...)
	if len(args) > 0 && args[0] == "slap" {
		args = spread(args)
	}
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var e exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		if e.text != "" {
			fmt.Fprintln(os.Stderr, "weir:", e.text)
		}
		return e.code
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return exitInterrupted
	}
	fmt.Fprintln(os.Stderr, "weir:", err)
	return exitFailure
}

// newRoot makes the command, with the one subcommand that the arguments name,
// or else with all: a node's supervisor runs weir for each process that it
// makes, and the flags of all commands would be most of what that one does.
func newRoot(args ...string) *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "A streaming ingestion gateway: durable streams in, growing arrays out",
		Long: `weir takes data by fluentd's forward protocol and by HTTP, keeps it durably in
streams named after the tag, and builds Zarr arrays from them that xarray,
zarr and numpy open by URL while they grow.`,
		Example:       "  weir demo\n  weir serve --config weir.yaml",
		SilenceErrors: true, SilenceUsage: true,
		Version: version(),
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	root.AddGroup(&cobra.Group{ID: "gateway", Title: "The gateway:"}, &cobra.Group{ID: "data", Title: "Data in and out:"}, &cobra.Group{ID: "slap", Title: "Deployments:"}, &cobra.Group{ID: "operate", Title: "For operators:"})
	commands := []struct {
		name string
		make func() *cobra.Command
	}{
		{"serve", newServe}, {"demo", newDemo},
		{"send", newSend}, {"put", newPut}, {"get", newGet}, {"tail", newTail},
		{"slap", newSlap}, {"node", newNode},
		{"check", newCheck}, {"route", newRoute}, {"hash-password", newHashPassword}, {"job", newJobCommand}, {"expire", newExpire}, {"fsck", newFsck},
	}
	for _, c := range commands {
		if len(args) > 0 && c.name == args[0] {
			commands = append(commands[:0], c)
			break
		}
	}
	for _, c := range commands {
		root.AddCommand(c.make())
	}
	strict(root)
	return root
}

// strict makes commands that there are not mistakes of the command line, and
// wrong arguments, too; those of slap's commands fail as slapos's do.
func strict(c *cobra.Command) {
	if !c.Runnable() {
		c.Args = cobra.NoArgs
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	if args := c.Args; args != nil && (c.HasSubCommands() || c.Parent() == c.Root()) {
		c.Args = func(c *cobra.Command, a []string) error {
			if err := args(c, a); err != nil {
				return usage(c, err)
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		strict(sub)
	}
}

// usage makes a mistake of the command line an exit of its own.
func usage(c *cobra.Command, err error) error {
	return exit{exitUsage, fmt.Sprintf("%v\nUsage: %s\nTry: %s --help", err, c.UseLine(), c.CommandPath())}
}

// version names the build: the release, the commit, the compiler.
func version() string {
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	parts := []string{strings.Trim(b.Main.Version, "()")}
	for _, s := range b.Settings {
		if s.Key == "vcs.revision" {
			parts = append(parts, s.Value[:min(12, len(s.Value))])
		}
	}
	return strings.Join(append(parts, b.GoVersion), " ")
}
