package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"weir/streams"
)

func newFsck() *cobra.Command {
	var deep, asJSON bool
	c := &cobra.Command{
		Use: "fsck DIR", GroupID: "operate", Args: cobra.ExactArgs(1),
		Short: "Verify a data folder",
		Long: `Verify the streams of a data folder that no weir has open, and change nothing:
the manifest, the log's checksums and the sizes of the chunk files; with --deep
also the checksums of all their bytes. Arrays are not looked at: they can be
built again from their streams.

Exits 0 when all is well, 3 when the next start repairs what was found, 4 when
data is damaged.`,
		Example: "  weir fsck --deep /var/lib/weir",
		RunE: func(c *cobra.Command, args []string) error {
			r, err := streams.Check(filepath.Join(args[0], "streams"), streams.Options{}, deep)
			if errors.Is(err, streams.ErrNoStore) { // the folder of the streams itself
				r, err = streams.Check(args[0], streams.Options{}, deep)
			}
			if err != nil {
				return err
			}
			if err := report(c.OutOrStdout(), r, asJSON); err != nil {
				return err
			}
			switch r.Condition {
			case streams.Damaged:
				return exit{code: exitLost}
			case streams.Repairable:
				return exit{code: exitRepairable}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&deep, "deep", false, "compute the checksums of all chunk files")
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return c
}

func report(out io.Writer, r streams.Report, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	for _, f := range r.Findings {
		fmt.Fprintln(out, finding(f))
	}
	_, err := fmt.Fprintf(out, "%s: %d streams, %d records, %d bytes in %d chunk files and %d log segments; %d bytes verified\n",
		r.Condition, r.Streams, r.Records, r.Bytes, r.Chunks, r.Segments, r.Verified)
	return err
}

// finding is one line: how bad, what, which bytes of which file, and of which
// stream.
func finding(f streams.Finding) string {
	line := fmt.Sprintf("%s: %s", f.Condition, f.Text)
	if f.File != "" {
		line += fmt.Sprintf(": file %s", f.File)
		if f.To > 0 {
			line += fmt.Sprintf(" from %d to %d", f.From, f.To)
		}
	}
	if f.Stream != "" {
		line += fmt.Sprintf(": stream %q, generation %d", f.Stream, f.Generation)
		if f.Length > 0 {
			line += fmt.Sprintf(", bytes %d to %d", f.Offset, f.Offset+f.Length)
		}
	}
	return line
}
