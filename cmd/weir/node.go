package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"weir/slap/node"
	"weir/slap/supervise"
)

// defaultNodeConfig is where slapos has its configuration.
const defaultNodeConfig = "/etc/opt/slapos/slapos.cfg"

// A nodeCall is what the commands of a node have in common.
type nodeCall struct {
	config, logfile, pidfile string
	verbose, quiet, now      bool
	options                  map[string]*string // of [slapos], or of SECTION/, by flag
}

func newNode() *cobra.Command {
	c := &cobra.Command{
		Use: "node", GroupID: "slap", Args: cobra.NoArgs,
		Short: "Run a SlapOS computer: software releases and instances, as a SLAP master asks",
		Long: `Bring this computer to the state that a SLAP master asks for: build software
releases, run their profiles in partitions, keep the services running, check
promises, tell the master. The configuration is slapos's own (--cfg, else
$SLAPOS_CONFIGURATION, else ` + defaultNodeConfig + `), and so are the files in
partitions and the exit codes: 1 something failed, 2 only promises failed,
3 the master was not reached, 10 the command runs already.`,
		Example: "  weir node format --dry-run\n  weir node run",
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newNodeFormat(), newNodeSoftware(), newNodeInstance(), newNodePromise(), newNodeReport(), newNodeCollect(), newNodeRun(), newNodeBang(),
		newNodeStatus(), newNodeControl("start", "Start processes", (*supervise.Client).Start), newNodeControl("stop", "Stop processes", (*supervise.Client).Stop),
		newNodeControl("restart", "Restart processes", (*supervise.Client).Restart), newNodeTail(), newNodeSupervisor(), newNodeExec())
	for _, sub := range c.Commands() {
		takeUnderscores(sub.Flags().SetNormalizeFunc)
	}
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w\nTry: %s --help", err, c.CommandPath()) // 2 is for promises here
	})
	return c
}

// takeUnderscores takes options that slapos writes with underscores. Its types
// are those of cobra's flags, which are not ours to import.
func takeUnderscores[Flags any, Name ~string](set func(func(Flags, string) Name)) {
	set(func(_ Flags, name string) Name { return Name(strings.ReplaceAll(name, "_", "-")) })
}

func (s *nodeCall) flags(c *cobra.Command) {
	c.Flags().StringVar(&s.config, "cfg", "", "slapos configuration `FILE` (default $SLAPOS_CONFIGURATION, else "+defaultNodeConfig+")")
	c.Flags().StringVar(&s.logfile, "logfile", "", "append the log to `FILE`")
	c.Flags().StringVar(&s.logfile, "log-file", "", "the same")
	c.Flags().BoolVarP(&s.verbose, "verbose", "v", false, "log what programs print")
	c.Flags().BoolVarP(&s.quiet, "quiet", "q", false, "log warnings and errors only")
	s.options = map[string]*string{}
	for _, o := range [][2]string{{"instance-root", "folder of the partitions"}, {"software-root", "folder of the releases"}, {"master-url", "URL of the master"}, {"computer-id", "name of the computer"}} {
		s.options[o[0]] = c.Flags().String(o[0], "", o[1]+", before that of the configuration")
	}
}

// runFlags are those of the commands that do the work.
func (s *nodeCall) runFlags(c *cobra.Command) {
	s.flags(c)
	c.Flags().StringVar(&s.pidfile, "pidfile", "", "`FILE` that keeps the command from running twice")
	c.Flags().BoolVar(&s.now, "now", false, "begin at once, whatever maximal_delay says")
	for _, o := range [][2]string{
		{"buildout", "program that bootstraps releases"}, {"key-file", "key of the computer's certificate"}, {"cert-file", "certificate of the computer"},
		{"master-ca-file", "what signed the master's certificate"}, {"certificate-repository-path", "folder of the partitions' certificates"},
		{"maximum-periodicity", "seconds after which a partition is processed again"}, {"promise-timeout", "seconds that a promise may take"},
		{"partition-timeout", "seconds that a profile may take"}, {"maximal-delay", "begin at a random moment within so many seconds"},
	} {
		s.options[o[0]] = c.Flags().String(o[0], "", o[1])
	}
	for _, o := range []string{"supervisord-socket", "supervisord-configuration-path", "signature-private-key-file"} {
		c.Flags().String(o, "", "slapos's: there is no such file here, and nothing is done with it")
		_ = c.Flags().MarkHidden(o) // it is there: the line above makes it
	}
}

// node reads the configuration and makes the agent.
func (s *nodeCall) node() (*node.Node, *node.Config, error) {
	options := map[string]string{}
	for flag, v := range s.options {
		if *v != "" {
			options[strings.ReplaceAll(flag, "-", "_")] = *v
		}
	}
	file := s.configFile()
	config, err := node.LoadConfig(file, options)
	if err != nil {
		return nil, nil, err
	}
	log, err := s.log()
	if err != nil {
		return nil, nil, err
	}
	supervisor, err := s.supervisorCommand(file)
	if err != nil {
		return nil, nil, err
	}
	n, err := node.New(node.Options{Config: config, Log: log, Supervisor: supervisor})
	return n, config, err
}

func (s *nodeCall) configFile() string {
	for _, f := range []string{s.config, os.Getenv("SLAPOS_CONFIGURATION")} {
		if f != "" {
			return f
		}
	}
	return defaultNodeConfig
}

func (s *nodeCall) log() (*slog.Logger, error) {
	level := slog.LevelInfo
	switch {
	case s.verbose:
		level = slog.LevelDebug
	case s.quiet:
		level = slog.LevelWarn
	}
	var out io.Writer = os.Stderr
	if s.logfile != "" {
		f, err := os.OpenFile(s.logfile, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("node: log: %w", err)
		}
		out = io.MultiWriter(os.Stderr, f)
	}
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level})), nil
}

// supervisorCommand starts this program as the supervisor.
func (s *nodeCall) supervisorCommand(config string) ([]string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	config, err = filepath.Abs(config)
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	command := []string{program, "node", "supervisor", "--cfg", config}
	for _, flag := range []string{"instance-root", "software-root", "master-url", "computer-id"} {
		if v := s.options[flag]; v != nil && *v != "" {
			command = append(command, "--"+flag, *v)
		}
	}
	return command, nil
}

// work runs one of the commands that do the work, once, under its lock.
func (s *nodeCall) work(ctx context.Context, what string, do func(*node.Node) (node.Outcome, error)) error {
	n, config, err := s.node()
	if err != nil {
		return err
	}
	syscall.Umask(0o022)
	if config.MaximalDelay > 0 && !s.now {
		select {
		case <-time.After(rand.N(config.MaximalDelay)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	lock, err := n.Lock(what, s.pidfile)
	if errors.Is(err, node.ErrRunning) {
		return exit{node.ExitRunning, err.Error()}
	}
	if err != nil {
		return err
	}
	o, err := do(n)
	err = errors.Join(err, lock.Release())
	summary(os.Stderr, o)
	if err != nil && o.Exit() == 0 {
		return err
	}
	if code := o.Exit(); code != 0 {
		text := ""
		if err != nil {
			text = err.Error()
		}
		return exit{code, text}
	}
	return nil
}

// summary lists what failed, as slapos does at the end.
func summary(w io.Writer, o node.Outcome) {
	for _, part := range []struct {
		title string
		list  []node.Problem
	}{{"Error while processing the following partitions:", o.Failed}, {"Error with promises for the following partitions:", o.Promises}} {
		if len(part.list) == 0 {
			continue
		}
		fmt.Fprintln(w, part.title)
		for _, p := range part.list {
			if p.Title == "" {
				fmt.Fprintf(w, "  %s: %s\n", p.Name, p.Text)
			} else {
				fmt.Fprintf(w, "  %s[%s]: %s\n", p.Name, p.Title, p.Text)
			}
		}
	}
}

// names parts a list by commas and spaces.
func names(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
}
