package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"weir/slap"
)

func newSlapConfigure() *cobra.Command {
	c := &cobra.Command{
		Use: "configure", Args: cobra.NoArgs,
		Short: "Write configuration files of the slapos tools and of weir",
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newSlapConfigureClient(), newSlapConfigureLocal())
	return c
}

// A slapConfigureClient is how a person's tools are set up.
type slapConfigureClient struct {
	master, web, token, tokenFile, ca, config string
}

func newSlapConfigureClient() *cobra.Command {
	var s slapConfigureClient
	c := &cobra.Command{
		Use: "client", Args: cobra.NoArgs,
		Short: "Get a person's certificate and write what the client's commands read",
		Long: `Ask a master for the certificate of the person whose token is given, and write
the client's configuration with it. weir's and slapos's own commands read it.
Nothing that is there is replaced.`,
		Example: "  weir slap configure client --master-url https://master.example --token-file token --ca ca.crt",
		RunE:    func(c *cobra.Command, _ []string) error { return s.run(c.Context(), c.OutOrStdout()) },
	}
	c.Flags().StringVar(&s.master, "master-url", "", "`URL` of the master")
	c.Flags().StringVar(&s.web, "master-url-web", "", "`URL` of the interface that gives certificates (default the master's)")
	c.Flags().StringVar(&s.token, "token", "", "the person's access `TOKEN`")
	c.Flags().StringVar(&s.tokenFile, "token-file", "", "`FILE` that holds it, which other users of the machine cannot see")
	c.Flags().StringVar(&s.ca, "ca", "", "`FILE` of certificates that the master's is signed by (default the system's)")
	c.Flags().StringVar(&s.config, "cfg", "", "`FILE` to write (default $SLAPOS_CLIENT_CONFIGURATION, else ~/.slapos/slapos-client.cfg)")
	return c
}

func (s *slapConfigureClient) run(ctx context.Context, out io.Writer) error {
	if s.master == "" {
		return errors.New("slap: --master-url is missing: name the master")
	}
	config, err := clientConfig(s.config)
	if err != nil {
		return err
	}
	dir := filepath.Dir(config)
	cert, key := filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")
	if err := absent(config, cert, key); err != nil {
		return err
	}
	token, err := s.secret()
	if err != nil {
		return err
	}
	if s.ca != "" {
		if s.ca, err = filepath.Abs(s.ca); err != nil {
			return err
		}
	}
	if s.web == "" {
		s.web = s.master
	}
	client, err := slap.NewClient(slap.ClientOptions{URL: s.web, CA: s.ca, Token: token})
	if err != nil {
		return err
	}
	pair, err := client.UserCertificate(ctx)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("[slapos]\nmaster_url = %s\n\n[slapconsole]\ncert_file = %s\nkey_file = %s\n", s.master, cert, key)
	if s.ca != "" {
		text += "# what the master's certificate is signed by; slapos does not read it\nca_file = " + s.ca + "\n"
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("slap: configure: %w", err)
	}
	return writeNew(out, []newFile{{key, pair.Key, 0o600}, {cert, pair.Certificate, 0o600}, {config, text, 0o600}})
}

func (s *slapConfigureClient) secret() (string, error) {
	switch {
	case (s.token == "") == (s.tokenFile == ""):
		return "", errors.New("slap: give one of --token and --token-file")
	case s.token != "":
		return s.token, nil
	}
	return readToken(s.tokenFile)
}

// clientConfig is the file of a person's configuration.
func clientConfig(flag string) (string, error) {
	if flag == "" {
		flag = os.Getenv("SLAPOS_CLIENT_CONFIGURATION")
	}
	if flag != "" {
		return filepath.Abs(flag)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("slap: configuration: %w: give --cfg", err)
	}
	return filepath.Join(home, ".slapos", "slapos-client.cfg"), nil
}

// A newFile is to be written where nothing is yet.
type newFile struct {
	name, text string
	mode       os.FileMode
}

// absent refuses names where something is.
func absent(names ...string) error {
	for _, n := range names {
		if _, err := os.Lstat(n); err == nil {
			return fmt.Errorf("slap: configure: %s is there: remove it before a new one is written", n)
		}
	}
	return nil
}

// writeNew writes files, all or none, and tells their names.
func writeNew(out io.Writer, files []newFile) (err error) {
	for k, f := range files {
		if err = writeExclusive(f); err != nil {
			for _, g := range files[:k] {
				os.Remove(g.name)
			}
			return fmt.Errorf("slap: configure: %w", err)
		}
	}
	for _, f := range files {
		fmt.Fprintln(out, "wrote", f.name)
	}
	return nil
}

func writeExclusive(f newFile) error {
	to, err := os.OpenFile(f.name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, f.mode)
	if err != nil {
		return err
	}
	_, err = io.WriteString(to, f.text)
	if err = errors.Join(err, to.Close()); err != nil {
		os.Remove(f.name)
	}
	return err
}

// A slapConfigureLocal is a computer with a master of its own. Names of flags
// and files are those of "slapos configure local".
type slapConfigureLocal struct {
	network, host, port             string
	ipv4, instances, software, home string
	dir                             string
	partitions                      int
}

func newSlapConfigureLocal() *cobra.Command {
	var s slapConfigureLocal
	c := &cobra.Command{
		Use: "local", Args: cobra.NoArgs,
		Short: "Write the configuration of a computer that is its own master's only one",
		Long: `Write slapos.cfg, for the computer and its commands, and slapos-proxy.cfg, for
"weir slap master --cfg", into a folder, and tell what to start. Nothing that is
there is replaced.`,
		Example: "  weir slap configure local --slapos-configuration-directory ./slapos --slapos-instance-root ./inst --slapos-software-root ./soft",
		RunE:    func(c *cobra.Command, _ []string) error { return s.run(c.OutOrStdout()) },
	}
	c.Flags().StringVar(&s.network, "interface-name", "lo", "network `INTERFACE` of the partitions")
	c.Flags().IntVar(&s.partitions, "partition-number", 20, "how many partitions the computer has")
	c.Flags().StringVar(&s.ipv4, "ipv4-local-network", "10.0.0.0/16", "`NETWORK` of the partitions' local addresses")
	c.Flags().StringVar(&s.host, "daemon-listen-ip", "127.0.0.1", "`ADDRESS` that the master listens on")
	c.Flags().StringVar(&s.port, "daemon-listen-port", "8080", "`PORT` of the master")
	c.Flags().StringVar(&s.instances, "slapos-instance-root", "/srv/slapgrid", "`FOLDER` of instances")
	c.Flags().StringVar(&s.software, "slapos-software-root", "/opt/slapgrid", "`FOLDER` of software releases")
	c.Flags().StringVar(&s.home, "slapos-buildout-directory", "/opt/slapos", "`FOLDER` of the computer's and the master's own data")
	c.Flags().StringVar(&s.dir, "slapos-configuration-directory", "/etc/opt/slapos", "`FOLDER` of the files that are written")
	return c
}

func (s *slapConfigureLocal) run(out io.Writer) error {
	if s.partitions < 1 {
		return fmt.Errorf("slap: --partition-number is %d: a computer has one at least", s.partitions)
	}
	for _, p := range []*string{&s.instances, &s.software, &s.home, &s.dir} {
		var err error
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	node, proxy := filepath.Join(s.dir, "slapos.cfg"), filepath.Join(s.dir, "slapos-proxy.cfg")
	if err := absent(node, proxy); err != nil {
		return err
	}
	for folder, mode := range map[string]os.FileMode{s.instances: 0o755, s.software: 0o755, filepath.Join(s.home, "log"): 0o755, s.dir: 0o755} {
		if err := os.MkdirAll(folder, mode); err != nil {
			return fmt.Errorf("slap: configure: %w", err)
		}
	}
	fill := strings.NewReplacer("{url}", "http://"+net.JoinHostPort(s.host, s.port)+"/", "{host}", s.host, "{port}", s.port,
		"{interface}", s.network, "{partitions}", fmt.Sprint(s.partitions), "{ipv4}", s.ipv4,
		"{instances}", s.instances, "{software}", s.software, "{home}", s.home)
	if err := writeNew(out, []newFile{{node, fill.Replace(localNode), 0o644}, {proxy, fill.Replace(localMaster), 0o644}}); err != nil {
		return err
	}
	fmt.Fprintf(out, "start the master:       weir slap master --cfg %s\nprepare the computer:   SLAPOS_CONFIGURATION=%s slapos node format --now\n", proxy, node)
	return nil
}

const localNode = `[slapos]
computer_id = local_computer
master_url = {url}
software_root = {software}
instance_root = {instances}

[slapformat]
interface_name = {interface}
create_tap = false
partition_amount = {partitions}
computer_xml = {home}/slapos.xml
log_file = {home}/log/slapos-node-format.log
partition_base_name = slappart
user_base_name = slapuser
tap_base_name = slaptap
ipv4_local_network = {ipv4}
`

const localMaster = `[slapos]
computer_id = local_computer
master_url = {url}
software_root = {software}
instance_root = {instances}

[slapproxy]
host = {host}
port = {port}
database_uri = {home}/slapproxy.db
software_product_list =
`
