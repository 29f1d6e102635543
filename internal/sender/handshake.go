package sender

import (
	"bytes"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/tinylib/msgp/msgp"
)

// A hello is what a server asks with: nonce goes into the digest of the shared
// key, auth, when there is one, into that of the password.
type hello struct {
	nonce, auth []byte
	keepalive   bool
}

// handshake answers the server's HELO, and believes its PONG only when that
// shows that the server has the shared key, too.
func (c *conn) handshake(o *Options) error {
	b, err := c.value()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrNoHello, err)
	}
	if err != nil {
		return fmt.Errorf("wait for the handshake: %w", err)
	}
	h, err := parseHello(b)
	if err != nil {
		return err
	}
	c.keepalive = h.keepalive
	var random [16]byte
	rand.Read(random[:])
	salt := hex.AppendEncode(nil, random[:])
	if _, err := c.nc.Write(h.ping(o, salt)); err != nil {
		return fmt.Errorf("handshake: %w", meaning(err))
	}
	if b, err = c.value(); err != nil {
		return fmt.Errorf("the shared key was not answered (Fluent Bit is silent when it is wrong): %w", err)
	}
	return h.verify(b, o, salt)
}

// parseHello reads ["HELO", {"nonce": …, "auth": …, "keepalive": …}].
func parseHello(b []byte) (hello, error) {
	h := hello{keepalive: true}
	bad := fmt.Errorf("%w: it greets with %.40q", ErrProtocol, b)
	word, n, b := head(b)
	if word != "HELO" || n != 2 {
		return h, bad
	}
	pairs, b, err := msgp.ReadMapHeaderBytes(b)
	for ; err == nil && pairs > 0; pairs-- {
		var key []byte
		if key, b, err = text(b); err != nil {
			break
		}
		switch string(key) {
		case "nonce":
			h.nonce, b, err = text(b)
		case "auth":
			h.auth, b, err = text(b)
		case "keepalive":
			h.keepalive, b, err = msgp.ReadBoolBytes(b)
		default:
			b, err = msgp.Skip(b)
		}
	}
	if err != nil {
		return h, bad
	}
	h.nonce, h.auth = bytes.Clone(h.nonce), bytes.Clone(h.auth)
	return h, nil
}

// ping packs ["PING", hostname, salt, digest, username, password].
func (h *hello) ping(o *Options, salt []byte) []byte {
	user, password := "", []byte(nil)
	if len(h.auth) > 0 {
		user, password = o.User, digest(h.auth, []byte(o.User), []byte(o.Password))
	}
	b := msgp.AppendArrayHeader(nil, 6)
	b = msgp.AppendString(b, "PING")
	b = msgp.AppendString(b, o.Hostname)
	b = msgp.AppendStringFromBytes(b, salt)
	b = msgp.AppendStringFromBytes(b, digest(salt, []byte(o.Hostname), h.nonce, []byte(o.SharedKey)))
	b = msgp.AppendString(b, user)
	return msgp.AppendStringFromBytes(b, password)
}

// verify reads ["PONG", ok, reason, hostname, digest].
func (h *hello) verify(b []byte, o *Options, salt []byte) error {
	bad := fmt.Errorf("%w: it answers the shared key with %.40q", ErrProtocol, b)
	word, n, b := head(b)
	if word != "PONG" || n != 5 {
		return bad
	}
	ok, b, err := msgp.ReadBoolBytes(b)
	if err != nil {
		return bad
	}
	var parts [3][]byte
	for i := range parts {
		if parts[i], b, err = text(b); err != nil {
			return bad
		}
	}
	reason, name, sum := string(parts[0]), parts[1], parts[2]
	switch {
	case !ok:
		return denied(reason)
	case string(name) == o.Hostname:
		return fmt.Errorf("%w, %q", ErrSameName, name)
	case subtle.ConstantTimeCompare(bytes.ToLower(sum), digest(salt, name, h.nonce, []byte(o.SharedKey))) != 1:
		return fmt.Errorf("%w: it does not prove to have it", ErrSharedKey)
	}
	return nil
}

// digest gives the hexadecimal SHA-512 of parts back to back.
func digest(parts ...[]byte) []byte {
	h := sha512.New()
	for _, p := range parts {
		h.Write(p)
	}
	return hex.AppendEncode(nil, h.Sum(nil))
}

// head reads the beginning of an array that begins with a word; the word is
// empty where b is none.
func head(b []byte) (word string, n uint32, rest []byte) {
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil || n == 0 {
		return "", 0, nil
	}
	w, b, err := text(b)
	if err != nil {
		return "", 0, nil
	}
	return string(w), n, b
}

// text reads a string or binary.
func text(b []byte) (s, rest []byte, err error) {
	if msgp.NextType(b) == msgp.BinType {
		return msgp.ReadBytesZC(b)
	}
	return msgp.ReadStringZC(b)
}
