package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"weir/slap/node"
	"weir/slap/supervise"
)

// client reaches the supervisor that runs.
func (s *nodeCall) client(ctx context.Context) (*supervise.Client, error) {
	n, _, err := s.node()
	if err != nil {
		return nil, err
	}
	c, err := supervise.Dial(ctx, n.SupervisorDir())
	if errors.Is(err, supervise.ErrAbsent) {
		return nil, fmt.Errorf("%w: weir node instance starts it when there is something to run", err)
	}
	return c, err
}

// A control is a call that does something to processes and gives their states.
type control func(*supervise.Client, context.Context, ...string) ([]supervise.Status, error)

func newNodeControl(verb, short string, do control) *cobra.Command {
	var s nodeCall
	c := &cobra.Command{
		Use: verb + " NAME…", Args: cobra.MinimumNArgs(1),
		Short:   short + ": PARTITION:NAME, PARTITION:* or all",
		Example: "  weir node " + verb + " slappart0:*",
		RunE: func(c *cobra.Command, args []string) error {
			client, err := s.client(c.Context())
			if err != nil {
				return err
			}
			list, err := do(client, c.Context(), args...)
			writeStatus(c, list)
			return err
		},
	}
	s.flags(c)
	return c
}

func newNodeStatus() *cobra.Command {
	var s nodeCall
	c := &cobra.Command{
		Use: "status [NAME…]", Args: cobra.ArbitraryArgs,
		Short:   "Show the processes of the partitions",
		Example: "  weir node status slappart0:*",
		RunE: func(c *cobra.Command, args []string) error {
			client, err := s.client(c.Context())
			if err != nil {
				return err
			}
			list, err := client.Status(c.Context(), args...)
			writeStatus(c, list)
			return err
		},
	}
	s.flags(c)
	return c
}

func writeStatus(c *cobra.Command, list []supervise.Status) {
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 3, ' ', 0)
	for _, v := range list {
		text := v.Description(time.Now())
		if v.Limit != "" {
			text += "; " + v.Limit
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", v.FullName(), v.State, text)
	}
	w.Flush()
}

func newNodeTail() *cobra.Command {
	var s nodeCall
	var follow bool
	var bytes int64
	c := &cobra.Command{
		Use: "tail PARTITION:NAME", Args: cobra.ExactArgs(1),
		Short:   "Show the end of a process's log",
		Example: "  weir node tail -f slappart0:httpd-on-watch",
		RunE: func(c *cobra.Command, args []string) error {
			client, err := s.client(c.Context())
			if err != nil {
				return err
			}
			if follow {
				return client.Follow(c.Context(), args[0], bytes, c.OutOrStdout())
			}
			b, err := client.Tail(c.Context(), args[0], bytes)
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(b)
			return err
		},
	}
	s.flags(c)
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes")
	c.Flags().Int64Var(&bytes, "bytes", 1600, "how much")
	return c
}

// newNodeSupervisor is the process that keeps services running. Other commands
// start it; it outlives them.
func newNodeSupervisor() *cobra.Command {
	var s nodeCall
	c := &cobra.Command{
		Use: "supervisor", Args: cobra.NoArgs,
		Short: "Keep the partitions' processes running (other commands start it)",
		Long: `Keep the processes of the partitions running, and tell the master of services
that end. The other commands start it when there is something to run. It goes
on when they end; after a kill -9 it takes over what runs. SIGTERM stops all.`,
		Example: "  weir node supervisor --cfg slapos.cfg",
		RunE: func(c *cobra.Command, _ []string) error {
			n, _, err := s.node()
			if err != nil {
				return err
			}
			syscall.Umask(0o022)
			log, err := s.log()
			if err != nil {
				return err
			}
			return s.supervise(c.Context(), n, log)
		},
	}
	s.flags(c)
	return c
}

func (s *nodeCall) supervise(ctx context.Context, n *node.Node, log *slog.Logger) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("node: supervisor: %w", err)
	}
	watch, stop := context.WithCancel(ctx)
	defer stop()
	go n.Watchdog(watch)
	return supervise.Serve(ctx, supervise.Options{Dir: n.SupervisorDir(), Exec: []string{program, "node", "exec"}, Log: log})
}

// newNodeExec is how the supervisor becomes a program.
func newNodeExec() *cobra.Command {
	return &cobra.Command{
		Use: "exec", Args: cobra.NoArgs, Hidden: true,
		Short: "Become a program of the supervisor",
		RunE:  func(*cobra.Command, []string) error { return supervise.Exec() },
	}
}
