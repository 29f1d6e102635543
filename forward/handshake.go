package forward

import (
	"bytes"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/tinylib/msgp/msgp"
)

// maxPing bounds a PING. The text of a peer that sends more is no handshake.
const maxPing = smallBuffer

// maxHostname bounds the name that is kept of a peer's claim.
const maxHostname = 255

// A ping is what a client says of itself:
// ["PING", hostname, salt, digest, username, password].
type ping struct {
	hostname, salt, digest, username, password []byte
}

// A challenge is what the server asks with: nonce goes into the digest of the
// shared key, auth into that of a password.
type challenge struct{ nonce, auth [16]byte }

// A denial is why a handshake fails: the check, a stable word, and the reason
// that the peer is told, in fluentd's words.
type denial struct{ check, reason string }

// Error gives the reason.
func (d *denial) Error() string { return d.reason }

// errPing: what should be a PING is none.
var errPing = &denial{"ping", "invalid ping message"}

// handshake greets, reads the PING and answers it. It returns nil when what
// follows may be taken for messages.
func (c *conn) handshake() error {
	var ch challenge
	c.s.random(ch.nonce[:])
	c.s.random(ch.auth[:])
	if err := c.write(ch.helo(!c.s.o.DenyKeepalive)); err != nil {
		return err
	}
	p, err := c.readPing()
	sec := c.s.o.Security
	c.peer.Hostname = string(p.hostname[:min(len(p.hostname), maxHostname)])
	if err == nil {
		err = sec.verify(&p, &ch, c.peer.Addr)
	}
	var d *denial
	if errors.As(err, &d) {
		c.write(pong(d.reason, "", nil))
	}
	if err != nil {
		return err
	}
	if sec.UserAuth {
		c.peer.User = string(p.username)
	}
	digest := hexDigest(p.salt, []byte(sec.Hostname), ch.nonce[:], []byte(sec.key(c.peer.Addr)))
	if err := c.write(pong("", sec.Hostname, digest)); err != nil {
		return err
	}
	c.quick.set()
	return nil
}

// helo packs ["HELO", {"nonce": …, "auth": …, "keepalive": …}]. Like
// fluentd's, auth is never empty, also when no user is asked for.
func (ch *challenge) helo(keepalive bool) []byte {
	b := msgp.AppendArrayHeader(nil, 2)
	b = msgp.AppendString(b, "HELO")
	b = msgp.AppendMapHeader(b, 3)
	b = msgp.AppendString(b, "nonce")
	b = msgp.AppendBytes(b, ch.nonce[:])
	b = msgp.AppendString(b, "auth")
	b = msgp.AppendBytes(b, ch.auth[:])
	b = msgp.AppendString(b, "keepalive")
	return msgp.AppendBool(b, keepalive)
}

// pong packs ["PONG", ok, reason, hostname, digest]; it is ok without a reason.
func pong(reason, hostname string, digest []byte) []byte {
	b := msgp.AppendArrayHeader(nil, 5)
	b = msgp.AppendString(b, "PONG")
	b = msgp.AppendBool(b, reason == "")
	b = msgp.AppendString(b, reason)
	b = msgp.AppendString(b, hostname)
	return msgp.AppendStringFromBytes(b, digest)
}

// readPing reads one value, which should be a PING.
func (c *conn) readPing() (ping, error) {
	for {
		end, st := skip(c.buf[c.r:c.w], 0, 1, 0)
		switch {
		case c.w == c.r:
		case st == whole:
			p, err := parsePing(c.buf[c.r : c.r+end])
			c.r += end
			return p, err
		case st != short || c.w-c.r >= maxPing:
			return ping{}, errPing
		}
		n, err := c.nc.Read(c.buf[c.w:])
		c.w += n
		if n == 0 {
			return ping{}, err
		}
	}
}

// parsePing takes a PING apart. Each text may be a string or binary; user and
// password may be nil.
func parsePing(b []byte) (p ping, err error) {
	n, at, ok := arrayHead(b)
	if !ok || n != 6 {
		return p, errPing
	}
	var kind []byte
	for i, dst := range []*[]byte{&kind, &p.hostname, &p.salt, &p.digest, &p.username, &p.password} {
		end, _ := skip(b, at, 1, 0)
		var ok bool
		if *dst, ok = text(b[at:end]); !ok && (i < 4 || b[at] != 0xc0) {
			return ping{}, errPing
		}
		at = end
	}
	if string(kind) != "PING" {
		return ping{}, errPing
	}
	return p, nil
}

// hexDigest gives the hexadecimal SHA-512 of parts back to back.
func hexDigest(parts ...[]byte) []byte {
	h := sha512.New()
	for _, p := range parts {
		h.Write(p)
	}
	return hex.AppendEncode(nil, h.Sum(nil))
}

// same compares digests in constant time, hexadecimal digits in any case.
func same(a, b []byte) bool {
	return subtle.ConstantTimeCompare(bytes.ToLower(a), bytes.ToLower(b)) == 1
}

// client gives the first rule for an address, nil when there is none.
func (s *Security) client(a net.Addr) *Client {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return nil // a Unix socket
	}
	for i := range s.Clients {
		if s.Clients[i].Network.Contains(ap.Addr().Unmap().WithZone("")) {
			return &s.Clients[i]
		}
	}
	return nil
}

// key gives the shared key for an address.
func (s *Security) key(a net.Addr) string {
	if c := s.client(a); c != nil && c.SharedKey != "" {
		return c.SharedKey
	}
	return s.SharedKey
}

// verify checks a PING: the address, the shared key, the user. The error is a
// denial.
func (s *Security) verify(p *ping, ch *challenge, a net.Addr) error {
	c := s.client(a)
	if c == nil && s.DenyAnonymous {
		host, _, err := net.SplitHostPort(a.String())
		if err != nil {
			host = a.String()
		}
		return &denial{"address", fmt.Sprintf("anonymous source host '%s' denied", host)}
	}
	if !same(p.digest, hexDigest(p.salt, p.hostname, ch.nonce[:], []byte(s.key(a)))) {
		return &denial{"shared-key", "shared_key mismatch"}
	}
	if s.UserAuth && !s.user(p, ch, c) {
		return &denial{"user", "username/password mismatch"}
	}
	return nil
}

// user checks name and password against every user, with the same work
// whether there is one of that name or not.
func (s *Security) user(p *ping, ch *challenge, c *Client) bool {
	ok := 0
	for _, u := range s.Users {
		named := subtle.ConstantTimeCompare([]byte(u.Name), p.username)
		right := 0
		if same(p.password, hexDigest(ch.auth[:], p.username, []byte(u.Password))) {
			right = 1
		}
		ok |= named & right & c.allows(u.Name)
	}
	return ok == 1
}

// allows gives 1 when a user may send from a client's network.
func (c *Client) allows(user string) int {
	if c == nil || len(c.Users) == 0 {
		return 1
	}
	for _, u := range c.Users {
		if u == user {
			return 1
		}
	}
	return 0
}
