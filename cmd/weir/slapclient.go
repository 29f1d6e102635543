package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/slap"
)

// exitWait: the master has not done it yet, or, for info, knows no such
// service: ask again later. It is slapos's code for the same.
const exitWait = 2

// A slapCall is what all commands that ask a master have in common.
type slapCall struct {
	master, config, ca, cert, key, token string
	json                                 bool
}

const defaultMaster = "http://127.0.0.1:5000/"

func (s *slapCall) flags(c *cobra.Command) {
	c.Flags().StringVar(&s.master, "master", "", "`URL` of the master (default $WEIR_SLAP_MASTER, else what --cfg says, else "+defaultMaster+")")
	c.Flags().StringVar(&s.config, "cfg", "", "client's configuration `FILE` (default $SLAPOS_CLIENT_CONFIGURATION, else ~/.slapos/slapos-client.cfg where it is)")
	c.Flags().StringVar(&s.ca, "ca", "", "`FILE` of certificates that the master's is signed by (default the system's)")
	c.Flags().StringVar(&s.cert, "cert", "", "`FILE` of the client's certificate")
	c.Flags().StringVar(&s.key, "key", "", "`FILE` of its key")
	c.Flags().StringVar(&s.token, "token-file", "", "`FILE` that holds the access token")
	c.Flags().BoolVar(&s.json, "json", false, "answer in JSON")
}

// client joins the flags, the environment and the configuration file.
func (s *slapCall) client() (*slap.Client, error) {
	o, err := s.options()
	if err != nil {
		return nil, err
	}
	for to, flag := range map[*string]string{&o.CA: s.ca, &o.Cert: s.cert, &o.Key: s.key} {
		if flag != "" {
			*to = flag
		}
	}
	if s.token != "" {
		if o.Token, err = readToken(s.token); err != nil {
			return nil, err
		}
	}
	return slap.NewClient(o)
}

// options gives what the environment and the configuration file say. Where a
// master is named, the file, which is about another one, is read only when it
// is named as well.
func (s *slapCall) options() (o slap.ClientOptions, err error) {
	url := cmp.Or(s.master, os.Getenv("WEIR_SLAP_MASTER"))
	if s.config != "" || url == "" {
		file, err := clientConfig(s.config)
		if err == nil {
			o, err = slap.LoadClientConfig(file)
		}
		named := s.config != "" || os.Getenv("SLAPOS_CLIENT_CONFIGURATION") != ""
		if err != nil && (named || !errors.Is(err, fs.ErrNotExist)) {
			return o, err
		}
	}
	o.URL = cmp.Or(url, o.URL, defaultMaster)
	return o, nil
}

func readToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("slap: token: %w", err)
	}
	t := strings.TrimSpace(string(b))
	if t == "" {
		return "", fmt.Errorf("slap: token: %s is empty", file)
	}
	return t, nil
}

// release gives the URL of product.NAME, and any other text as it is.
func release(ctx context.Context, c *slap.Client, text string) (string, error) {
	name, ok := strings.CutPrefix(text, "product.")
	if !ok {
		return text, nil
	}
	list, err := c.Product(ctx, name)
	if err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", fmt.Errorf("slap: the master has no product %q", name)
	}
	return list[0], nil
}

func newSlapSupply(verb, state, short string) *cobra.Command {
	var s slapCall
	c := &cobra.Command{
		Use: verb + " RELEASE COMPUTER", Args: cobra.ExactArgs(2), Short: short,
		Long:    short + ".\nRELEASE is a URL, or product.NAME for an alias of the master.",
		Example: "  weir slap " + verb + " product.monitor COMP-1239",
		RunE: func(c *cobra.Command, args []string) error {
			client, err := s.client()
			if err != nil {
				return err
			}
			url, err := release(c.Context(), client, args[0])
			if err != nil {
				return err
			}
			if err := client.Supply(c.Context(), url, args[1], state); err != nil {
				return err
			}
			return s.print(c.OutOrStdout(), map[string]any{"release": url, "computer": args[1], "state": state},
				fmt.Sprintf("%s is to be %s on %s\n", url, state, args[1]))
		},
	}
	s.flags(c)
	return c
}

// print writes a value as JSON, or the text.
func (s *slapCall) print(out io.Writer, v any, text string) error {
	if s.json {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	_, err := io.WriteString(out, text)
	return err
}

func newSlapRequest() *cobra.Command {
	var s slapCall
	var r slap.Request
	var parameters, filter []string
	var file string
	var wait time.Duration
	c := &cobra.Command{
		Use: "request REFERENCE RELEASE", Args: cobra.ExactArgs(2),
		Short: "Ask for an instance, or for its present state",
		Long: `Ask the master for an instance of a release. The same request, given again,
answers the instance's state and what it publishes. While the master has not
allocated it, the command says so and exits 2; --wait asks again until it has.`,
		Example: `  weir slap request my_first_instance product.monitor --parameters item=True
  weir slap request my_first_instance product.monitor --node computer_guid=COMP-1239 --wait 10m`,
		RunE: func(c *cobra.Command, args []string) (err error) {
			client, err := s.client()
			if err != nil {
				return err
			}
			if r.Parameters, err = requestParameters(parameters, file); err != nil {
				return err
			}
			if r.Filter, err = assignments(filter); err != nil {
				return err
			}
			r.Reference = args[0]
			if r.Software, err = release(c.Context(), client, args[1]); err != nil {
				return err
			}
			i, err := requestFor(c.Context(), client, r, wait)
			if errors.Is(err, slap.ErrNotReady) {
				return exit{exitWait, fmt.Sprintf("%s: please wait, the master has not allocated it yet; ask again", args[0])}
			}
			if err != nil {
				return err
			}
			return s.print(c.OutOrStdout(), instanceJSON(r, i), instanceText(r, i))
		},
	}
	s.flags(c)
	c.Flags().StringArrayVar(&parameters, "parameters", nil, "`NAME=VALUE …` of the instance")
	c.Flags().StringVar(&file, "parameters-file", "", "JSON `FILE` of parameters, given as one JSON text")
	c.Flags().StringArrayVar(&filter, "node", nil, "`NAME=VALUE …` where it may run, such as computer_guid=COMP-1239")
	c.Flags().StringVar(&r.Type, "type", "", "`TYPE` of the software (default default)")
	c.Flags().StringVar(&r.State, "state", "", "`STATE`: started, stopped or destroyed; default what it is")
	c.Flags().BoolVar(&r.Shared, "slave", false, "ask for a share of an instance that is there")
	c.Flags().DurationVar(&wait, "wait", 0, "ask again until it is allocated, for at most `TIME`")
	return c
}

func requestFor(ctx context.Context, c *slap.Client, r slap.Request, wait time.Duration) (*slap.Instance, error) {
	if wait <= 0 {
		return c.Request(ctx, r)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return c.RequestUntilReady(ctx, r)
}

// assignments reads NAME=VALUE.
func assignments(list []string) (map[string]any, error) {
	m := map[string]any{}
	for _, a := range list {
		k, v, ok := strings.Cut(a, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("slap: %q is no NAME=VALUE", a)
		}
		m[k] = v
	}
	return m, nil
}

func requestParameters(list []string, file string) (map[string]any, error) {
	if file == "" {
		return assignments(list)
	}
	if len(list) > 0 {
		return nil, errors.New("slap: give --parameters or --parameters-file, not both")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("slap: parameters: %w", err)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("slap: parameters: %s is no JSON object: %w", file, err)
	}
	p, err := slap.JSONParameters(v)
	if err != nil {
		return nil, err
	}
	return p.Values(), nil
}

func instanceJSON(r slap.Request, i *slap.Instance) any {
	return map[string]any{
		"reference": r.Reference, "state": i.State, "computer": i.Computer, "partition": i.Partition, "guid": i.GUID,
		"release": i.Software, "type": i.Type, "shared": r.Shared, "connection": i.Connection,
	}
}

func instanceText(r slap.Request, i *slap.Instance) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  %s %s\n", r.Reference, i.State, i.Computer, i.Partition)
	writePairs(&b, i.Connection)
	return b.String()
}

func writePairs(b *strings.Builder, m map[string]any) {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		fmt.Fprintf(b, "  %s = %s\n", k, slap.PythonText(m[k]))
	}
}

// spread lets --parameters and --node be followed by several NAME=VALUE, as
// slapos does.
func spread(args []string) []string {
	var out []string
	flag, alone := "", false
	for _, a := range append(args, "") {
		if flag != "" && !strings.HasPrefix(a, "-") && strings.Contains(a, "=") {
			out, alone = append(out, flag+"="+a), false
			continue
		}
		if alone {
			out = append(out, flag) // without a value: the flag's own error
		}
		if flag, alone = "", a == "--parameters" || a == "--node"; alone {
			flag = a
		} else {
			out = append(out, a)
		}
	}
	return out[:len(out)-1]
}
