package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"weir/policies"
)

func newRoute() *cobra.Command {
	var g gateway
	c := &cobra.Command{
		Use: "route TAG", GroupID: "operate", Args: cobra.ExactArgs(1),
		Short:   "Tell which policy takes a tag, and why",
		Example: "  weir route --config weir.yaml sensors.room.1",
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := g.load()
			if err != nil {
				return err
			}
			r, err := policies.New(policies.Options{Policies: cfg.Router()})
			if err != nil {
				return err
			}
			fmt.Fprint(c.OutOrStdout(), r.Explain(args[0]))
			if _, ok := r.Route(args[0]); !ok {
				return exit{code: exitFailure}
			}
			return nil
		},
	}
	c.Flags().StringVar(&g.config, "config", "", "configuration `FILE`")
	return c
}
