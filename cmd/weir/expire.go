package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"weir/jobs"
)

func newExpire() *cobra.Command {
	var e engine
	var dry bool
	c := &cobra.Command{
		Use: "expire [STREAM]", GroupID: "operate", Args: cobra.MaximumNArgs(1),
		Short: "Give up what is beyond the retention of its policy",
		Long: `Give up what of the streams is beyond the retention of their policies, as the
gateway does by itself every hour, and list it. What an array has not decoded
yet stays. With --dry-run nothing is changed.`,
		Example: "  weir expire --dry-run\n  weir expire logs.router",
		RunE: func(c *cobra.Command, args []string) error {
			api, err := e.client()
			if err != nil {
				return exit{exitUsage, err.Error()}
			}
			body := map[string]any{"action": "expire"}
			if len(args) > 0 {
				body["targetResource"] = jobs.Reference{Href: "streams/" + strings.TrimPrefix(args[0], "streams/")}
			}
			if dry {
				body["payload"] = `{"dryRun":true}`
			}
			id, err := createJob(c.Context(), api, body)
			if err != nil {
				return err
			}
			if err := printLog(c.Context(), api, id, true, c.OutOrStdout()); err != nil {
				return err
			}
			j, err := api.Get(c.Context(), id)
			if err != nil {
				return err
			}
			if err := ended(id, j); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), j.StatusMessage)
			return err
		},
	}
	e.serverFlags(c)
	c.Flags().BoolVar(&dry, "dry-run", false, "tell what would go")
	return c
}
