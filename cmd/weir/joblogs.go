package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"weir/jobs"
	"weir/jobs/cimi"
)

func newJobLogs() *cobra.Command {
	var e engine
	var follow bool
	c := &cobra.Command{
		Use: "logs ID", Args: cobra.ExactArgs(1), Short: "Print what a job did and what its action printed",
		Example: "  weir job logs 0b5f… --follow",
		RunE: func(c *cobra.Command, args []string) error {
			api, err := e.client()
			if err != nil {
				return exit{exitUsage, err.Error()}
			}
			return printLog(c.Context(), api, jobName(args[0]), follow, c.OutOrStdout())
		},
	}
	e.serverFlags(c)
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job has ended")
	return c
}

// printLog writes a job's log; with follow it goes on until the job has ended.
func printLog(ctx context.Context, api *cimi.Client, id string, follow bool, out io.Writer) error {
	next := int64(0)
	for {
		j, err := api.Get(ctx, id) // before its log: what a job says last comes with its end
		if err != nil {
			return err
		}
		l, err := api.Logs(ctx, id, next)
		if err != nil {
			return err
		}
		if l.Cut > next {
			fmt.Fprintf(out, "(%d earlier lines are gone)\n", l.Cut-next)
			next = l.Cut
		}
		for _, line := range l.Lines {
			fmt.Fprintf(out, "%s %d %s\n", line.Time, line.Attempt, line.Text)
			next = line.Number + 1
		}
		if !follow || j.State.Final() || j.State == jobs.Stopped {
			return nil
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func newJobStacks() *cobra.Command {
	var e engine
	c := &cobra.Command{
		Use: "stacks", Args: cobra.NoArgs, Short: "Print what each thread of the gateway does, with all stacks",
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := e.client()
			if err != nil {
				return exit{exitUsage, err.Error()}
			}
			text, err := api.Stacks(c.Context())
			if err == nil {
				_, err = c.OutOrStdout().Write(text)
			}
			return err
		},
	}
	e.serverFlags(c)
	return c
}
