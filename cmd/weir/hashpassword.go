package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"weir/access"
)

func newHashPassword() *cobra.Command {
	var argon2id bool
	c := &cobra.Command{
		Use: "hash-password", GroupID: "operate", Args: cobra.NoArgs,
		Short: "Make the hash of a password for http.users",
		Long: `Read a password from the terminal, where it is not shown, or the first line of
standard input, and print its hash, which goes to http.users of the
configuration in quotes.`,
		Example: "  weir hash-password\n  pwgen 24 1 | tee fluentd.password | weir hash-password",
		RunE: func(c *cobra.Command, _ []string) error {
			password, err := readPassword(c.InOrStdin(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			hash, err := access.Hash(password, argon2id)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), hash)
			return err
		},
	}
	c.Flags().BoolVar(&argon2id, "argon2id", false, "argon2id instead of bcrypt; also takes more than 72 bytes")
	return c
}

// readPassword asks twice on a terminal, and takes the first line elsewhere.
func readPassword(in io.Reader, out io.Writer) ([]byte, error) {
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("hash-password: %w", err)
		}
		return []byte(strings.TrimRight(line, "\r\n")), nil
	}
	var typed [2]string
	for i, prompt := range []string{"Password: ", "Again: "} {
		fmt.Fprint(out, prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(out)
		if err != nil {
			return nil, fmt.Errorf("hash-password: %w", err)
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return nil, exit{exitFailure, "hash-password: the two differ"}
	}
	return []byte(typed[0]), nil
}
