package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"weir/slap"
)

func newSlapList() *cobra.Command {
	var s slapCall
	c := &cobra.Command{
		Use: "list", Args: cobra.NoArgs,
		Short:   "List the services that were asked for",
		Example: "  weir slap list --json",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := s.client()
			if err != nil {
				return err
			}
			list, err := client.Services(c.Context())
			if err != nil {
				return err
			}
			var b strings.Builder
			for _, v := range list {
				fmt.Fprintf(&b, "%s  %s\n", v.Title, v.Software)
			}
			return s.print(c.OutOrStdout(), list, b.String())
		},
	}
	s.flags(c)
	return c
}

func newSlapInfo() *cobra.Command {
	var s slapCall
	c := &cobra.Command{
		Use: "info REFERENCE", Args: cobra.ExactArgs(1),
		Short:   "Show a service; exits 2 when there is none of that name",
		Example: "  weir slap info my_first_instance",
		RunE: func(c *cobra.Command, args []string) error {
			client, err := s.client()
			if err != nil {
				return err
			}
			v, err := client.Service(c.Context(), args[0])
			if errors.Is(err, slap.ErrNotFound) {
				return exit{exitWait, fmt.Sprintf("there is no service %s", args[0])}
			}
			if err != nil {
				return err
			}
			var b strings.Builder
			fmt.Fprintf(&b, "%s  %s\nrelease     %s\ntype        %s\nparameters\n", v.Title, v.State, v.Software, v.Type)
			writePairs(&b, v.Parameters)
			b.WriteString("connection\n")
			writePairs(&b, v.Connection)
			return s.print(c.OutOrStdout(), v, b.String())
		},
	}
	s.flags(c)
	return c
}

func newSlapStatus() *cobra.Command {
	var s slapCall
	c := &cobra.Command{
		Use: "status COMPUTER", Args: cobra.ExactArgs(1),
		Short:   "Show a computer's releases and partitions",
		Example: "  weir slap status COMP-1239",
		RunE: func(c *cobra.Command, args []string) error {
			client, err := s.client()
			if err != nil {
				return err
			}
			v, err := client.Computer(c.Context(), args[0])
			if err != nil {
				return err
			}
			return s.print(c.OutOrStdout(), v, computerText(v))
		},
	}
	s.flags(c)
	return c
}

func computerText(v *slap.Computer) string {
	var b strings.Builder
	for _, r := range v.Releases {
		fmt.Fprintf(&b, "release    %s  %s\n", r.URL, r.State)
	}
	free := 0
	for _, p := range v.Partitions {
		if !p.Busy {
			free++
			continue
		}
		fmt.Fprintf(&b, "partition  %s  %s  %s/%s  %s\n", p.Place.Partition, p.State, p.Root, p.Title, p.Software)
	}
	fmt.Fprintf(&b, "%d of %d partitions are free\n", free, len(v.Partitions))
	return b.String()
}
