package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"weir/conf"
)

func newCheck() *cobra.Command {
	var offline, print bool
	c := &cobra.Command{
		Use: "check FILE", GroupID: "operate", Args: cobra.MaximumNArgs(1),
		Short: "Check a configuration",
		Long: `Check a configuration and list all its mistakes as file:line:column: message.
Exits 78 when there are any. Unless --offline it also looks at the
environment: folders, addresses, certificates, secrets.`,
		Example: "  weir check weir.yaml\n  weir check --print-default > weir.yaml",
		RunE: func(c *cobra.Command, args []string) error {
			if print {
				_, err := c.OutOrStdout().Write(conf.DefaultYAML())
				return err
			}
			if len(args) == 0 {
				return usage(c, fmt.Errorf("a FILE is needed"))
			}
			look := conf.Verify
			if offline {
				look = conf.Load
			}
			cfg, found := look(args[0], conf.Source{Offline: offline})
			for _, d := range found {
				fmt.Fprintln(c.OutOrStdout(), d)
			}
			if len(found) > 0 {
				return exit{code: exitConfig}
			}
			fmt.Fprintf(c.OutOrStdout(), "%s is good: %d policies\n", args[0], len(cfg.Policies))
			return nil
		},
	}
	c.Flags().BoolVar(&offline, "offline", false, "do not look at folders, addresses, certificates and secrets")
	c.Flags().BoolVar(&print, "print-default", false, "print the default configuration, every key explained")
	return c
}
