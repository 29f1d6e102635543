package main

import (
	"fmt"
	"io"

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
			e := r.Explain(args[0])
			explain(c.OutOrStdout(), e)
			if e.Error != "" {
				return exit{code: exitFailure}
			}
			return nil
		},
	}
	c.Flags().StringVar(&g.config, "config", "", "configuration `FILE`")
	return c
}

// explain prints each policy that was tried, and the outcome.
func explain(out io.Writer, e policies.Explanation) {
	for _, t := range e.Trials {
		mark := "no   "
		switch {
		case t.Takes:
			mark = "takes"
		case t.Matches:
			mark = "late " // it matches, but one before it took the tag
		}
		fmt.Fprintf(out, "%s  %-20s %s\n", mark, t.Policy, t.Match)
	}
	if e.Error != "" {
		fmt.Fprintf(out, "%s; kept in %s\n", e.Error, e.Stream)
		return
	}
	fmt.Fprintf(out, "policy %s, stream %s\n", e.Policy, e.Stream)
	if m := e.Meaning; m != nil {
		fmt.Fprintf(out, "supply %s, product %s, ingestion %s\n", m.Supply, m.Product, m.Ingestion)
	}
}
