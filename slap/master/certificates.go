package master

import (
	"slices"
	"strconv"
	"strings"

	"weir/slap"
	"weir/slap/authority"
)

func (p place) subject() subject { return subject{authority.Instance, p.Node, p.Partition} }

// pair is how a certificate travels.
func pair(certificate, key string) map[string]any {
	return map[string]any{"certificate": certificate, "key": key}
}

// issue makes a certificate that counts from the end of the transaction on.
func (m *Master) issue(t *tx, s subject, name string, keep bool) (certificatePEM, key string, err error) {
	serial, err := authority.NewSerial()
	if err != nil {
		return "", "", err
	}
	certificatePEM, key, err = m.o.Authority.Issue(serial, s.Kind, name)
	if err != nil {
		return "", "", err
	}
	row := &certificate{subject: s, Serial: serial, At: t.now}
	if keep {
		row.PEM = certificatePEM
	}
	t.setCertificate(s, row)
	return certificatePEM, key, nil
}

// noAuthority is what a master without one says to persons.
var noAuthority = &problem{404, "this master issues no certificates: it runs without an authority"}

// stillActive holds the words that "slapos node register" looks for.
func stillActive(what string) error {
	return &problem{409, "Certificate still active. " + what + " has one: revoke it first"}
}

// getPartitionCertificate gives the certificate of a partition's instance, and
// issues it when it is asked for first. A master without an authority, and a
// free partition, have empty texts, as in slapproxy.
func (m *Master) getPartitionCertificate(c *call) (v any, err error) {
	p, err := c.place("computer_id", "computer_partition_id")
	if err != nil {
		return nil, err
	}
	if m.o.Authority == nil {
		return pair("", ""), nil
	}
	return m.instanceCertificate(c, func(t *tx) (*partition, error) { return findPartition(t, p) })
}

// instanceCertificate gives the certificate of the instance in a partition.
func (m *Master) instanceCertificate(c *call, find func(*tx) (*partition, error)) (v any, err error) {
	err = m.state.update(c.ctx, func(t *tx) error {
		p, err := find(t)
		if err != nil {
			return err
		}
		if p.Instance == nil {
			v = pair("", "")
			return nil
		}
		certificate, key := "", ""
		if row := t.certificate(p.subject()); row != nil {
			certificate = row.PEM
			key, err = m.o.Authority.Key(row.Serial)
		} else {
			certificate, key, err = m.issue(t, p.subject(), p.guid(), true)
		}
		v = pair(certificate, key)
		return err
	})
	return v, err
}

func (m *Master) jsonInstanceCertificate(c *jsonCall) (any, error) {
	if m.o.Authority == nil {
		return pair("", ""), nil
	}
	return m.instanceCertificate(c.call(), func(t *tx) (*partition, error) {
		p, s, err := lookup(t, c.text("instance_guid"))
		if err != nil || p != nil {
			return p, err
		}
		return findPartition(t, s.Host) // a shared instance has no processes of its own
	})
}

// postCertificate issues a computer's certificate, unless it has one.
func (m *Master) postCertificate(c *call) (any, error) {
	id, err := c.need("computer_id")
	if err != nil {
		return nil, err
	}
	return m.computerCertificate(c, id)
}

func (m *Master) computerCertificate(c *call, id string) (v any, err error) {
	if m.o.Authority == nil {
		return nil, noAuthority
	}
	err = m.state.update(c.ctx, func(t *tx) error {
		if t.node(id) == nil {
			return notFound("computer %q is not registered", id)
		}
		v, err = m.issueComputer(t, id)
		return err
	})
	return v, err
}

func (m *Master) issueComputer(t *tx, id string) (any, error) {
	s := subject{Kind: authority.Computer, Name: id}
	if t.certificate(s) != nil {
		return nil, stillActive("computer " + id)
	}
	certificate, key, err := m.issue(t, s, id, false)
	return pair(certificate, key), err
}

func (m *Master) jsonCertificate(c *jsonCall) (any, error) {
	if m.o.Authority == nil {
		return pair("", ""), nil
	}
	return m.computerCertificate(c.call(), c.text("computer_guid"))
}

// postRevoke ends a computer's certificate.
func (m *Master) postRevoke(c *call) (any, error) {
	id, err := c.need("computer_id")
	if err != nil {
		return nil, err
	}
	return text("OK"), m.revoke(c, subject{Kind: authority.Computer, Name: id})
}

func (m *Master) revoke(c *call, s subject) error {
	return m.state.update(c.ctx, func(t *tx) error {
		if t.certificate(s) == nil {
			return notFound("%s %q has no certificate", s.Kind, strings.Trim(s.Name+" "+s.Partition, " "))
		}
		t.setCertificate(s, nil)
		return nil
	})
}

func (m *Master) jsonRevoke(c *jsonCall) (any, error) {
	if m.o.Authority == nil {
		return success("Ignored"), nil
	}
	return success("Certificate revoked"), m.revoke(c.call(), subject{Kind: authority.Computer, Name: c.text("computer_guid")})
}

// postComputer registers a computer under a title and gives it a name.
func (m *Master) postComputer(c *call) (v any, err error) {
	title, err := c.need("computer_title")
	if err != nil {
		return nil, err
	}
	err = m.state.update(c.ctx, func(t *tx) error {
		n, err := t.titled(title)
		if err == nil {
			v = &slap.Object{Class: "Computer", Args: slap.Tuple{n.ID}, Attributes: map[string]any{"_computer_id": n.ID}}
		}
		return err
	})
	return v, err
}

// titled gives the computer of a title, and makes it when there is none.
func (t *tx) titled(title string) (*node, error) {
	if err := checkName("the computer's title", title); err != nil {
		return nil, err
	}
	last := 0
	for _, id := range t.m.nodeOrder {
		n := t.node(id)
		if n.Title == title {
			return n, nil
		}
		if k, err := strconv.Atoi(strings.TrimPrefix(id, "COMP-")); err == nil {
			last = max(last, k)
		}
	}
	n := node{ID: "COMP-" + strconv.Itoa(last+1), Title: title}
	t.putNode(n)
	return &n, nil
}

// registerComputer is postComputer and postCertificate in one step, for "slapos
// node register".
func (m *Master) registerComputer(c *call) (v any, err error) {
	title, err := c.need("title")
	if err != nil {
		return nil, err
	}
	if m.o.Authority == nil {
		return nil, noAuthority
	}
	err = m.state.update(c.ctx, func(t *tx) error {
		n, err := t.titled(title)
		if err == nil {
			v, err = m.issueComputer(t, n.ID)
		}
		return err
	})
	return v, err
}

// registerUser issues a person's certificate, for "slapos configure client".
// Each is a subject of its own, so that one of them can be revoked.
func (m *Master) registerUser(c *call) (v any, err error) {
	if m.o.Authority == nil {
		return nil, noAuthority
	}
	err = m.state.update(c.ctx, func(t *tx) error {
		name := t.userName()
		certificate, key, err := m.issue(t, subject{Kind: authority.User, Name: name}, name, false)
		v = pair(certificate, key)
		return err
	})
	return v, err
}

// userName is user-N, with the first N that is greater than all in use.
func (t *tx) userName() string {
	last := 0
	for s := range t.m.certs {
		if k, err := strconv.Atoi(strings.TrimPrefix(s.Name, "user-")); s.Kind == authority.User && err == nil {
			last = max(last, k)
		}
	}
	return "user-" + strconv.Itoa(last+1)
}

// certificateRows lists the certificates that count, without their texts.
func certificateRows(t *tx) []certificate {
	list := make([]certificate, 0, len(t.m.certs))
	for _, row := range t.m.certs {
		list = append(list, certificate{subject: row.subject, Serial: row.Serial, At: row.At})
	}
	slices.SortFunc(list, func(a, b certificate) int { return strings.Compare(a.Serial, b.Serial) })
	return list
}
