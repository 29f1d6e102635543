package main

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"weir/slap/node"
)

func newNodeFormat() *cobra.Command {
	var s nodeCall
	var dry bool
	c := &cobra.Command{
		Use: "format", Args: cobra.NoArgs,
		Short: "Make the partitions: folders, users, addresses; tell the master",
		Long: `Make what [slapformat] describes, or the file that its input_definition_file
names, and tell the master. As root it makes users and gives them their
folders; without root all is the caller's own. What is as it should be is left
alone. Exits 2 when only the master could not be told.`,
		Example: "  weir node format --dry-run --cfg slapos.cfg",
		RunE: func(c *cobra.Command, _ []string) error {
			n, _, err := s.node()
			if err != nil {
				return err
			}
			syscall.Umask(0o022)
			err = n.Format(c.Context(), dry, func(text string) { fmt.Fprintln(c.OutOrStdout(), text) })
			if errors.Is(err, node.ErrNotTold) {
				return exit{node.ExitPromise, err.Error()}
			}
			return err
		},
	}
	s.flags(c)
	c.Flags().BoolVarP(&dry, "dry-run", "n", false, "say what would be done, and do nothing")
	c.Flags().BoolVar(&s.now, "now", false, "begin at once (it always does)")
	for _, o := range []struct{ name, short, usage string }{
		{"input-definition-file", "i", "`FILE` of the computer and its partitions, in the place of [slapformat]"},
		{"computer-xml", "x", "slapos's `FILE` of the addresses that partitions have"},
		{"alter-user", "", "whether users are made: True or False"},
		{"alter-network", "", "whether the interface gets addresses: True or False"},
	} {
		s.options["slapformat/"+o.name] = c.Flags().StringP(o.name, o.short, "", o.usage)
	}
	c.Flags().StringP("console", "c", "", "slapos's: nothing is done with it")
	_ = c.Flags().MarkHidden("console") // it is there: the line above makes it
	return c
}

func newNodeSoftware() *cobra.Command {
	var s nodeCall
	var r node.SoftwareRun
	var only string
	c := &cobra.Command{
		Use: "software", Args: cobra.NoArgs,
		Short:   "Build the releases that are supplied, remove those that are not",
		Example: "  weir node software --only-sr http://example.org/software.cfg --force",
		RunE: func(c *cobra.Command, _ []string) error {
			r.Only, r.Verbose = names(only), s.verbose
			return s.work(c.Context(), "software", func(n *node.Node) (node.Outcome, error) { return n.Software(c.Context(), r) })
		},
	}
	s.runFlags(c)
	c.Flags().BoolVar(&r.Force, "force", false, "build again what is complete")
	c.Flags().BoolVar(&r.Force, "all", false, "the same")
	c.Flags().StringVar(&only, "only-sr", "", "`RELEASES` by URL or MD5 sum, with commas")
	c.Flags().StringVar(&only, "only", "", "the same")
	c.Flags().BoolVar(&r.Collect, "garbage-collect", false, "remove folders of releases that the master does not know")
	c.Flags().BoolVar(&r.Debug, "buildout-debug", false, "run buildout with -D, on this terminal: where it fails it asks pdb's questions")
	return c
}

func newNodeInstance() *cobra.Command {
	var s nodeCall
	var r node.Run
	var only string
	var once bool
	c := &cobra.Command{
		Use: "instance", Args: cobra.NoArgs,
		Short: "Process the partitions once",
		Long: `Process each partition that the master has changed, that failed, or whose last
processing is too long ago: run its profile, start or stop its services, check
its promises, tell the master.`,
		Example: "  weir node instance --force --only-cp slappart0,slappart1",
		RunE: func(c *cobra.Command, _ []string) error {
			r.Only = names(only)
			return s.work(c.Context(), "instance", func(n *node.Node) (node.Outcome, error) { return n.Instance(c.Context(), r) })
		},
	}
	s.runFlags(c)
	c.Flags().BoolVar(&r.Force, "force", false, "also partitions that are up to date")
	c.Flags().BoolVar(&r.Force, "all", false, "the same")
	c.Flags().BoolVar(&r.ForceStop, "force-stop", false, "process the partitions, and stop them; the master is told nothing")
	c.Flags().StringVar(&only, "only-cp", "", "`PARTITIONS`, with commas")
	c.Flags().StringVar(&only, "only", "", "the same")
	c.Flags().BoolVar(&r.Debug, "buildout-debug", false, "run buildout with -D, on this terminal, one partition at a time: where it fails it asks pdb's questions")
	c.Flags().IntVar(&r.Parallel, "parallel", 0, "partitions at a time (default [weir] parallel, else the processors, at least 2)")
	c.Flags().BoolVar(&once, "once", false, "process the partitions once (it always does; run goes on)")
	return c
}

func newNodePromise() *cobra.Command {
	var s nodeCall
	var only string
	c := &cobra.Command{
		Use: "promise", Args: cobra.NoArgs,
		Short:   "Check the promises of the partitions that are started",
		Example: "  weir node promise --only-cp slappart0",
		RunE: func(c *cobra.Command, _ []string) error {
			return s.work(c.Context(), "promise", func(n *node.Node) (node.Outcome, error) {
				return n.Promises(c.Context(), node.Run{Only: names(only)})
			})
		},
	}
	s.runFlags(c)
	c.Flags().StringVar(&only, "only-cp", "", "`PARTITIONS`, with commas")
	c.Flags().StringVar(&only, "only", "", "the same")
	return c
}

func newNodeReport() *cobra.Command {
	var s nodeCall
	var r node.Run
	c := &cobra.Command{
		Use: "report", Args: cobra.NoArgs,
		Short: "Tell the master what instances used, remove those to be destroyed",
		Long: `Run each partition's etc/report and tell the master what these wrote into
var/xml_report. Then remove each instance that the master wants destroyed: its processes, after its
own etc/prerm and sbin/destroy, and all its files, when its retention delay is
over. The master is asked before files go.`,
		Example: "  weir node report",
		RunE: func(c *cobra.Command, _ []string) error {
			return s.work(c.Context(), "report", func(n *node.Node) (node.Outcome, error) { return n.Report(c.Context(), r) })
		},
	}
	s.runFlags(c)
	return c
}

func newNodeCollect() *cobra.Command {
	var s nodeCall
	c := &cobra.Command{
		Use: "collect", Args: cobra.NoArgs,
		Short: "Measure what the partitions use",
		Long: `Measure processor, memory, input and output and disk of the partitions, and the
computer's own load; push the tables of the monitor to the gateway that
[weir] push names; tell the master the use of the days that are over.`,
		Example: "  weir node collect",
		RunE: func(c *cobra.Command, _ []string) error {
			return s.work(c.Context(), "collect", func(n *node.Node) (node.Outcome, error) { return node.Outcome{}, n.Collect(c.Context()) })
		},
	}
	s.runFlags(c)
	return c
}

func newNodeRun() *cobra.Command {
	var s nodeCall
	var every node.Schedule
	c := &cobra.Command{
		Use: "run", Args: cobra.NoArgs,
		Short: "Do all of it, again and again, until SIGTERM",
		Long: `Build releases, process partitions, report and collect, each minute and when a
service ended, until SIGTERM or SIGINT. Services go on when it ends. docs/systemd has a
unit for it.`,
		Example: "  weir node run --cfg /etc/opt/slapos/slapos.cfg",
		RunE: func(c *cobra.Command, _ []string) error {
			n, _, err := s.node()
			if err != nil {
				return err
			}
			syscall.Umask(0o022)
			n.Loop(c.Context(), every)
			return nil
		},
	}
	s.flags(c)
	c.Flags().DurationVar(&every.Instances, "instances-every", time.Minute, "how often partitions are processed")
	c.Flags().DurationVar(&every.Software, "software-every", time.Minute, "how often releases are built")
	c.Flags().DurationVar(&every.Reports, "reports-every", 5*time.Minute, "how often instances are removed")
	c.Flags().DurationVar(&every.Usage, "usage-every", 24*time.Hour, "how often partitions are asked what they used (etc/report)")
	c.Flags().DurationVar(&every.Samples, "samples-every", time.Minute, "how often it is measured what partitions use")
	return c
}

func newNodeBang() *cobra.Command {
	var s nodeCall
	var message string
	c := &cobra.Command{
		Use: "bang", Args: cobra.NoArgs,
		Short:   "Ask the master to have all partitions processed again",
		Example: `  weir node bang -m "after an upgrade"`,
		RunE: func(c *cobra.Command, _ []string) error {
			n, _, err := s.node()
			if err != nil {
				return err
			}
			return n.BangComputer(c.Context(), message)
		},
	}
	s.flags(c)
	c.Flags().StringVarP(&message, "message", "m", "", "`TEXT` that says why")
	return c
}
