package master

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"weir/slap"
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

// A caller is who asks: a person, who may ask everything, or a computer.
type caller struct{ computer string }

// caller tells who sends a request.
func (a Access) caller(r *http.Request) (caller, error) {
	if a.open() {
		return caller{}, nil
	}
	if a.Token != "" && equal(a.Token, token(r)) {
		return caller{}, nil
	}
	if a.Certificates && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		if cn := r.TLS.PeerCertificates[0].Subject.CommonName; cn != "" {
			return caller{cn}, nil
		}
	}
	return caller{}, &problem{http.StatusForbidden, "who asks is not known: send a client certificate or an access token"}
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
	return path == "/supplySupply" || strings.HasPrefix(path, "/slapos.") || path == "/hateoas" || strings.HasPrefix(path, "/hateoas/")
}

// may tells whether the caller may make a call: a computer speaks about itself
// and asks for its own partitions only.
func (who caller) may(c *call) error {
	if who.computer == "" {
		return nil
	}
	refuse := func(what string) error {
		return &problem{http.StatusForbidden, "the certificate is that of computer " + who.computer + ", which may not " + what}
	}
	path := c.r.URL.Path
	if forPersons(path) {
		return refuse("use " + path)
	}
	for _, field := range []string{"computer_id", "computer_reference"} {
		if id := c.optional(field); id != "" && id != who.computer {
			return refuse("speak for computer " + id)
		}
	}
	if p := claimed(c.r); p != nil && p.Node != who.computer {
		return refuse("speak for computer " + p.Node)
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
