package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"weir/slap"
)

func newSlap() *cobra.Command {
	c := &cobra.Command{
		Use: "slap", GroupID: "slap", Args: cobra.NoArgs,
		Short: "Speak SLAP: run a SlapOS master, or ask one",
		Long: `SLAP is the protocol by which SlapOS supplies software to computers and runs
instances of it. "weir slap master" is a master to which the slapos command
line, library and nodes talk unchanged.`,
		Example: "  weir slap master --listen 127.0.0.1:5000 --data ./slap-data\n  weir slap request my_first_instance product.monitor --parameters item=True",
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newSlapMaster(),
		newSlapSupply("supply", slap.Available, "Ask a computer to install a release"),
		newSlapSupply("remove", slap.Destroyed, "Ask a computer to remove a release"),
		newSlapRequest(), newSlapList(), newSlapInfo(), newSlapStatus(), newSlapShow(), newSlapRevoke(), newSlapConfigure())
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w\nTry: %s --help", err, c.CommandPath()) // 2 means "please wait" here
	})
	return c
}
