package master

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"

	"weir/slap"
	"weir/slap/authority"
)

// Access says who may ask. The zero value lets everybody ask everything, as
// slapproxy does; it is meant for a listener that only the machine reaches.
type Access struct {
	// Token, when set, is what a person sends as X-Access-Token, or as
	// Authorization: Bearer.
	Token string
	// Certificates lets a verified client certificate speak for the computer
	// that its common name is, and for that one only.
	Certificates bool
}

func (a Access) open() bool { return a.Token == "" && !a.Certificates }

// A caller is who asks: a person, who may ask everything, a computer, or an
// instance in a partition of it.
type caller struct{ computer, partition string }

// caller tells who sends a request. A browser that sends one for a page of
// another site is nobody: its user's machine may reach a master that is open.
func (m *Master) caller(r *http.Request) (caller, error) {
	if http.NewCrossOriginProtection().Check(r) != nil {
		return caller{}, forbidden("a page of another site may not ask here")
	}
	a := m.o.Access
	if a.open() && m.o.Authority == nil {
		return caller{}, nil
	}
	if a.Token != "" && equal(a.Token, token(r)) {
		return caller{}, nil
	}
	if m.o.Authority != nil && r.URL.Path == "/Person_requestComputer" && m.o.Authority.CheckToken(token(r)) {
		return caller{}, nil
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		if who, err := m.certified(r.TLS.VerifiedChains[0]); who != nil || err != nil {
			return *who, err
		}
	}
	if a.open() { // an authority alone keeps nobody out
		return caller{}, nil
	}
	return caller{}, forbidden("who asks is not known: send a client certificate or an access token")
}

// certified tells whom a verified certificate speaks for, nil for nobody.
func (m *Master) certified(chain []*x509.Certificate) (*caller, error) {
	if m.o.Authority != nil && m.o.Authority.Issued(chain) {
		var row *certificate
		m.state.view(func(t *tx) { row = t.m.serials[authority.Serial(chain[0])] })
		switch {
		case row == nil:
			return &caller{}, forbidden("the certificate of %s was revoked", chain[0].Subject.CommonName)
		case row.Kind == authority.User:
			return &caller{}, nil
		}
		return &caller{row.Name, row.Partition}, nil
	}
	if cn := chain[0].Subject.CommonName; m.o.Access.Certificates && cn != "" {
		return &caller{computer: cn}, nil
	}
	return nil, nil
}

func forbidden(format string, args ...any) error {
	return &problem{http.StatusForbidden, fmt.Sprintf(format, args...)}
}

func token(r *http.Request) string {
	if t := r.Header.Get("X-Access-Token"); t != "" {
		return t
	}
	scheme, t, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(t)
	}
	return ""
}

// equal takes the same time for all texts.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// forPersons are the paths that a computer has no business with.
func forPersons(path string) bool {
	switch path {
	case "/supplySupply", "/requestComputer", "/hateoas":
		return true
	}
	for _, prefix := range []string{"/slapos.", "/hateoas/", "/Person_", "/weir/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// forInstances are the paths that an instance has business with: its own
// partition, and what tells nothing about others.
func forInstances(path string) bool {
	switch path {
	case "/requestComputerPartition", "/registerComputerPartition", "/setComputerPartitionConnectionXml", "/softwareInstanceBang",
		"/softwareInstanceError", "/softwareInstanceRename", "/startedComputerPartition", "/stoppedComputerPartition",
		"/updateComputerPartitionRelatedInstanceList", "/getComputerPartitionCertificate", "/getComputerPartitionStatus",
		"/getHostingSubscriptionIpList", "/getSoftwareReleaseListFromSoftwareProduct", "/getHateoasUrl", "/getRunId", "/ingestData":
		return true
	}
	return false
}

func (who caller) String() string {
	if who.partition != "" {
		return "the instance in partition " + who.partition + " of computer " + who.computer
	}
	return "computer " + who.computer
}

// may tells whether the caller may make a call: a computer speaks about itself
// and asks for its own partitions only, an instance for its own one.
func (who caller) may(c *call) error {
	if who.computer == "" {
		return nil
	}
	refuse := func(what string) error {
		return forbidden("the certificate is that of %s, which may not %s", who, what)
	}
	path := c.r.URL.Path
	if forPersons(path) || who.partition != "" && !forInstances(path) {
		return refuse("use " + path)
	}
	named := c.values.Get
	if path == "/requestComputerPartition" {
		named = c.optional // elsewhere None is a name as any other
	}
	for _, field := range []string{"computer_id", "computer_reference"} {
		if id := named(field); id != "" && id != who.computer {
			return refuse("speak for computer " + id)
		}
	}
	for _, field := range []string{"computer_partition_id", "computer_partition_reference"} {
		if id := named(field); who.partition != "" && id != "" && id != who.partition {
			return refuse("speak for partition " + id)
		}
	}
	if p := claimed(c.r); p != nil && (p.Node != who.computer || who.partition != "" && p.Partition != who.partition) {
		return refuse("speak for partition " + p.Partition + " of computer " + p.Node)
	}
	switch path {
	case "/requestComputerPartition":
		if claimed(c.r) == nil && (c.optional("computer_id") == "" || c.optional("computer_partition_id") == "") {
			return refuse("ask as a person")
		}
	case "/loadComputerConfigurationFromXML":
		if d, err := c.dict("xml"); err == nil && slap.Text(d, "reference") != who.computer {
			return refuse("describe another computer")
		}
	}
	return nil
}
