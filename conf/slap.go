package conf

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Slap is weir's own SLAP master, and the one that deployments ask.
type Slap struct {
	Listen       string                       `yaml:"listen"`   // of the own master; "" is none
	Computer     string                       `yaml:"computer"` // the own master's default computer
	Products     map[string]string            `yaml:"products"` // the own master's releases by alias
	Attributes   map[string]map[string]string `yaml:"attributes"`
	Async        bool                         `yaml:"async"`
	Forward      []SlapForward                `yaml:"forward"`
	Token        Secret                       `yaml:"token"`
	Authority    bool                         `yaml:"authority"`
	Names        []string                     `yaml:"names"`
	TLSCertFile  string                       `yaml:"tls_cert_file"`
	TLSKeyFile   string                       `yaml:"tls_key_file"`
	ClientCAFile string                       `yaml:"client_ca_file"`

	Master   string `yaml:"master"` // that deployments ask; "" is the own one
	CAFile   string `yaml:"ca_file"`
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	Address  string `yaml:"address"` // of the forward listener, for instances
	HTTPURL  string `yaml:"http_url"`
}

// A SlapForward is another master, to which requests may be passed on.
type SlapForward struct {
	URL       string   `yaml:"url"`
	Releases  []string `yaml:"releases"` // whose requests go there unasked
	Computer  string   `yaml:"computer"` // with Partition: whom requests come from
	Partition string   `yaml:"partition"`
	CAFile    string   `yaml:"ca_file"`
	CertFile  string   `yaml:"cert_file"`
	KeyFile   string   `yaml:"key_file"`
	Token     Secret   `yaml:"token"`
}

// A Deploy is the instance that sends a policy its data.
type Deploy struct {
	Release    string            `yaml:"release"`
	Reference  string            `yaml:"reference"`
	Type       string            `yaml:"type"`
	State      string            `yaml:"state"`
	Parameters map[string]string `yaml:"parameters"`
	Filter     map[string]string `yaml:"filter"`
	Computers  []string          `yaml:"computers"`
	Tag        string            `yaml:"tag"`
	User       string            `yaml:"user"`
	HTTPUser   string            `yaml:"http_user"`
	Each       bool              `yaml:"each"`
}

// DeployTag is the tag that an instance is told to send with: deploy.tag, or
// what the policy's first pattern has before its wildcards; "" when that is
// nothing.
func (p Policy) DeployTag() string {
	if p.Deploy != nil && p.Deploy.Tag != "" {
		return p.Deploy.Tag
	}
	first, _, _ := strings.Cut(strings.TrimSpace(p.Match), " ")
	for strings.HasSuffix(first, ".*") || strings.HasSuffix(first, ".**") {
		first = strings.TrimRight(strings.TrimRight(first, "*"), ".")
	}
	if strings.ContainsAny(first, "*{}[]/#") {
		return ""
	}
	return first
}

// slap finds what the master, or a deployment, could not work with.
func (d *decoder) slap(c *Config) {
	if c.Slap.Listen != "" {
		d.address("slap.listen", c.Slap.Listen)
	}
	if c.Slap.Computer == "" {
		d.at("slap.computer", errors.New("is empty: name the computer that requests go to first"))
	}
	if c.Slap.Master != "" {
		d.httpURL("slap.master", c.Slap.Master)
	}
	d.filePair("slap.cert_file", c.Slap.CertFile, c.Slap.KeyFile)
	d.filePair("slap.tls_cert_file", c.Slap.TLSCertFile, c.Slap.TLSKeyFile)
	d.slapAccess(c.Slap)
	for i, f := range c.Slap.Forward {
		at := fmt.Sprintf("slap.forward[%d]", i)
		d.httpURL(at+".url", f.URL)
		d.filePair(at+".cert_file", f.CertFile, f.KeyFile)
		if (f.Computer == "") != (f.Partition == "") {
			d.at(at+".computer", errors.New("needs partition, too, and the other way round"))
		}
	}
	if c.Slap.Address != "" {
		d.address("slap.address", c.Slap.Address)
	}
	if c.Slap.HTTPURL != "" {
		d.httpURL("slap.http_url", c.Slap.HTTPURL)
	}
	seen := make(map[string]int)
	for i, p := range c.Policies {
		if p.Deploy != nil {
			d.deploy(c, p, i, seen)
		}
	}
}

// unreachable gives the keys that have to say how instances reach listeners.
func (c *Config) unreachable() (missing []string) {
	if len(c.Forward.Listen) > 0 && c.Slap.Address == "" && anywhere(c.Forward.Listen[0]) {
		missing = append(missing, "slap.address")
	}
	if c.Slap.HTTPURL == "" && anywhere(c.HTTP.Listen) {
		missing = append(missing, "slap.http_url")
	}
	return missing
}

// anywhere tells whether an address is that of all networks, which nobody can
// connect to.
func anywhere(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "" || ip != nil && ip.IsUnspecified())
}

// slapAccess finds what would keep everybody out, or nobody.
func (d *decoder) slapAccess(s Slap) {
	nobody := s.Token.Value() == "" && !(d.source.Offline && s.Token.Source != "")
	if s.Authority && nobody {
		d.at("slap.authority", errors.New("needs token: who has it is given the first certificate"))
	}
	if s.ClientCAFile != "" && nobody {
		d.at("slap.client_ca_file", errors.New("needs token: its certificates speak for computers, and who has the token for persons"))
	}
	if s.ClientCAFile != "" && !s.Authority && s.TLSCertFile == "" {
		d.at("slap.client_ca_file", errors.New("needs TLS: write authority: true, or tls_cert_file and tls_key_file"))
	}
}

func (d *decoder) httpURL(at, text string) {
	if u, err := url.Parse(text); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		d.at(at, fmt.Errorf("%q is no http or https URL", text))
	}
}

// filePair wants a certificate and its key, or neither.
func (d *decoder) filePair(at, cert, key string) {
	if (cert == "") != (key == "") {
		d.at(at, fmt.Errorf("needs %s, too, and the other way round", strings.Replace(at[strings.LastIndexByte(at, '.')+1:], "cert", "key", 1)))
	}
}

func (d *decoder) deploy(c *Config, p Policy, i int, seen map[string]int) {
	path := fmt.Sprintf("policies[%d].deploy", i)
	if c.Slap.Listen == "" && c.Slap.Master == "" {
		d.at(path, errors.New("needs a master: write slap.listen for weir's own, or slap.master"))
	}
	if missing := c.unreachable(); len(missing) > 0 {
		d.at(path, fmt.Errorf("tells instances to send to an address of all networks, to which nobody can connect: write %s", strings.Join(missing, " and ")))
	}
	if p.Deploy.Release == "" {
		d.at(path+".release", errors.New("is missing: write a URL, or product.NAME"))
	}
	if p.Deploy.State != "" {
		d.oneOf(path+".state", p.Deploy.State, "started", "stopped", "destroyed")
	}
	if p.Deploy.Each && p.Deploy.Filter["computer_guid"] != "" {
		d.at(path+".each", errors.New("wants one on each computer, and filter one computer: write only one of them"))
	}
	if p.DeployTag() == "" {
		d.at(path+".tag", fmt.Errorf("cannot be told from match %q: write the tag that the instance sends with", p.Match))
	}
	reference := p.DeployReference()
	if j, again := seen[reference]; again {
		d.at(path+".reference", fmt.Errorf("%q is that of policies[%d] already: write another one", reference, j))
	}
	seen[reference] = i
	if u := p.Deploy.HTTPUser; u != "" && c.HTTP.token(u) == "" {
		d.at(path+".http_user", fmt.Errorf("%q is none of http.users that has a token", u))
	}
	if p.Deploy.User != "" && c.Forward.Security.user(p.Deploy.User) == nil {
		d.at(path+".user", fmt.Errorf("%q is none of forward.security.users", p.Deploy.User))
	}
}

// DeployReference is the title of the policy's instance: deploy.reference, or
// the policy's name.
func (p Policy) DeployReference() string {
	if p.Deploy == nil || p.Deploy.Reference == "" {
		return p.Name
	}
	return p.Deploy.Reference
}

// user gives a user by name, nil when there is none.
func (s *Security) user(name string) *User {
	if s == nil {
		return nil
	}
	for i := range s.Users {
		if s.Users[i].Username == name {
			return &s.Users[i]
		}
	}
	return nil
}

// token gives the token of a user by name, "" when there is none.
func (h HTTP) token(name string) string {
	for _, u := range h.Users {
		if u.Username == name {
			return u.Token.Value()
		}
	}
	return ""
}

// DeployParameters are what a policy's instance is told: where and how to
// send, and what the policy says, which goes first. forward and http are the
// addresses of the listeners.
func (c *Config) DeployParameters(p Policy, forward, http string) map[string]string {
	m := map[string]string{"weir-policy": p.Name, "weir-tag": p.DeployTag(), "weir-forward": forward, "weir-http": http}
	if s := c.Forward.Security; s != nil {
		m["weir-shared-key"] = s.SharedKey.Value()
		if u := s.user(p.Deploy.User); u != nil {
			m["weir-user"], m["weir-password"] = u.Username, u.Password.Value()
		}
	}
	if c.Forward.TLS.CertFile != "" {
		m["weir-tls"] = "true"
	}
	if t := c.HTTP.token(p.Deploy.HTTPUser); t != "" {
		m["weir-token"] = t
	}
	for k, v := range p.Deploy.Parameters {
		m[k] = v
	}
	return m
}
