package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"weir/slap"
)

func newSlapShow() *cobra.Command {
	var s slapCall
	c := &cobra.Command{
		Use: "show", Args: cobra.NoArgs,
		Short:   "Show all that weir's own master knows",
		Example: "  weir slap show",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := s.client()
			if err != nil {
				return err
			}
			v, err := client.Show(c.Context())
			if err != nil {
				return err
			}
			return s.print(c.OutOrStdout(), v, shownText(v))
		},
	}
	s.flags(c)
	return c
}

// shownText has a table of each kind of rows.
func shownText(v *slap.Shown) string {
	var b strings.Builder
	var releases, busy []map[string]any
	for _, n := range v.Computers {
		for _, r := range list(n["releases"]) {
			r["computer"] = n["id"]
			releases = append(releases, r)
		}
	}
	free := 0
	for _, p := range v.Partitions {
		i := slap.Dict(p, "instance")
		if i == nil {
			free++
			continue
		}
		i["node"], i["partition"], i["report"] = p["node"], p["partition"], slap.Dict(i, "status")["state"]
		busy = append(busy, i)
	}
	rows(&b, "computer", v.Computers, "id", "title", "address")
	rows(&b, "release", releases, "computer", "url", "state", "status")
	rows(&b, "instance", busy, "node", "partition", "root", "title", "state", "report", "software")
	rows(&b, "shared", v.Shared, "root", "title", "state", "reference", "software")
	rows(&b, "forwarded", v.Forwarded, "title", "master", "software")
	var certificates []map[string]any
	for _, c := range v.Certificates {
		certificates = append(certificates, map[string]any{"kind": c.Kind, "name": strings.TrimSpace(c.Name + " " + c.Partition),
			"serial": c.Serial, "at": time.Unix(c.At, 0).UTC().Format(time.DateOnly)})
	}
	rows(&b, "certificate", certificates, "kind", "name", "serial", "at")
	fmt.Fprintf(&b, "%d of %d partitions are free\n", free, len(v.Partitions))
	return b.String()
}

func list(v any) (out []map[string]any) {
	items, _ := v.([]any)
	for _, i := range items {
		if m, ok := i.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// rows writes a table.
func rows(out io.Writer, what string, list []map[string]any, fields ...string) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range list {
		cells := []string{what}
		for _, f := range fields {
			if t := slap.Text(row, f); t != "" {
				cells = append(cells, t)
			} else {
				cells = append(cells, "-")
			}
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	w.Flush()
}

func newSlapRevoke() *cobra.Command {
	var s slapCall
	kinds := []string{"computer", "user", "instance"}
	c := &cobra.Command{
		Use: "revoke KIND NAME [PARTITION]", Args: cobra.RangeArgs(2, 3),
		Short:   "End a certificate that weir's own master issued",
		Long:    "End a certificate that weir's own master issued, from the next request on.\nKIND is computer, user or instance; an instance has the computer's name and its\npartition. \"weir slap show\" lists them.",
		Example: "  weir slap revoke user user-1\n  weir slap revoke instance COMP-1 slappart0",
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(kinds, args[0]) || (args[0] == "instance") != (len(args) == 3) {
				return fmt.Errorf("slap: %q names no certificate: write %s", strings.Join(args, " "), "computer NAME, user NAME or instance COMPUTER PARTITION")
			}
			client, err := s.client()
			if err != nil {
				return err
			}
			partition := strings.Join(args[2:], "")
			if err := client.Revoke(c.Context(), args[0], args[1], partition); err != nil {
				return err
			}
			return s.print(c.OutOrStdout(), map[string]string{"kind": args[0], "name": args[1], "partition": partition},
				fmt.Sprintf("the certificate of %s is revoked\n", strings.Join(args, " ")))
		},
	}
	s.flags(c)
	return c
}
