package main

import (
	"github.com/spf13/cobra"
)

func newSlap() *cobra.Command {
	c := &cobra.Command{
		Use: "slap", GroupID: "slap", Args: cobra.NoArgs,
		Short: "Speak SLAP: run a SlapOS master, or ask one",
		Long: `SLAP is the protocol by which SlapOS supplies software to computers and runs
instances of it. "weir slap master" is a master to which the slapos command
line, library and nodes talk unchanged.`,
		Example: "  weir slap master --listen 127.0.0.1:5000 --data ./slap-data",
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newSlapMaster())
	return c
}
