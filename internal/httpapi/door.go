package httpapi

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"weir/access"
)

// challenge is what a 401 asks for. Browsers then ask their user.
const challenge = `Basic realm="weir", charset="UTF-8"`

// Reasons of refusals at the door.
const (
	reasonMissing   = "no-credentials"
	reasonRejected  = "bad-credentials"
	reasonAttempts  = "too-many-attempts"
	reasonForbidden = "forbidden"
	reasonHandshake = "tls-handshake"
)

// doors are the reasons that are counted of every request, not only of those
// that bring data.
var doors = map[string]bool{reasonMissing: true, reasonRejected: true, reasonAttempts: true, reasonForbidden: true}

// authorize refuses a request of somebody who is not known or may not make it.
func (r *request) authorize() error {
	guard := r.s.Access
	if guard == nil || r.route.open || r.route == routeJobs && r.s.JobUsers {
		return nil
	}
	caller, err := guard.Check(r.authorization(), addrOf(r.ctx.RemoteAddr()))
	if err != nil {
		return doorProblem(err)
	}
	right := r.right()
	if !caller.May(right) {
		return forbidden(caller, "has no right %s here; it has: %s", right, caller.Rights)
	}
	if !caller.Bounded() {
		return nil
	}
	r.caller = caller
	if r.route.bodyTells {
		return nil
	}
	var touched []string
	if r.route.policies != nil {
		touched = r.route.policies(r)
	}
	for _, policy := range touched {
		if !caller.Covers(policy) {
			return forbidden(caller, "may not touch data of policy %q", policy)
		}
	}
	if len(touched) == 0 {
		return forbidden(caller, "may only touch data of some policies, and this is not about one of them")
	}
	return nil
}

// authorization is the request's header of that name. InfluxDB's clients call a
// bearer's token "Token".
func (r *request) authorization() []byte {
	h := r.ctx.Request.Header.Peek(fasthttp.HeaderAuthorization)
	if token, ok := cutUnit(string(h), "Token "); ok && r.route.bodyTells {
		return []byte("Bearer " + token)
	}
	return h
}

// mayWrite holds a tag that the body names against the caller's policies: that
// of a stream of this name, and that which takes the tag, maybe to another one.
func (r *request) mayWrite(tag string) error {
	if r.caller == nil {
		return nil
	}
	taker, _ := r.s.Policies.Route(tag)
	for _, policy := range []string{r.s.policyOf(tag), taker.Name} {
		if !r.caller.Covers(policy) {
			return forbidden(r.caller, "may not touch data of policy %q", policy)
		}
	}
	return nil
}

// mayClaim refuses a new stream under one policy whose name another one is
// configured to take, to a caller who may not touch that one's data: its own
// senders would find the name taken.
func (r *request) mayClaim(in ingestion) error {
	if r.caller == nil {
		return nil
	}
	for _, other := range r.s.Policies.Claims(in.policy.Name, in.query.tag) {
		if !r.caller.Covers(other) {
			return forbidden(r.caller, "may not take the tag %q for policy %q: it is one of policy %q's", in.query.tag, in.policy.Name, other)
		}
	}
	return nil
}

// right is what the request needs.
func (r *request) right() access.Rights {
	switch {
	case r.route.takes:
		return access.Ingest
	case r.target.isDeployments(): // what instances publish may be secret
		return access.Admin
	case r.route.reads || r.route != routeJobs && (r.ctx.IsGet() || r.ctx.IsHead()):
		return access.Read
	}
	return access.Admin
}

// policyOfIngest is the policy that the address names.
func (r *request) policyOfIngest() []string {
	escaped, _ := r.target.policy()
	name, _ := unescape(escaped) // a broken one names no policy
	return []string{name}
}

// policyOfStream is the policy whose stream the address names, or that would
// take a stream of that name.
func (r *request) policyOfStream() []string {
	name, _ := r.streamName() // a broken one belongs to no policy
	return []string{r.s.policyOf(name)}
}

// policyOfChunks is the policy of the stream whose chunks are listed.
func (r *request) policyOfChunks() []string {
	name, _ := r.streamName()
	return []string{r.s.policyOf(strings.TrimSuffix(name, chunksSuffix))}
}

// policyOfArray gives the policies of all groups that the address may mean.
func (r *request) policyOfArray() []string {
	escaped, _ := r.target.under("/arrays")
	path, err := unescape(escaped)
	if err != nil {
		return nil
	}
	var list []string
	for _, k := range append(splitZarr(path), zarrKey{group: path}) { // the group as one array, too
		if st, ok := r.s.Streams.Stream(k.group); ok {
			list = append(list, st.Label())
		}
	}
	return list
}

func (s *Server) policyOf(stream string) string {
	if st, ok := s.Streams.Stream(stream); ok {
		return st.Label()
	}
	p, _ := s.Policies.Route(stream)
	return p.Name
}

// doorProblem is the answer to somebody who is not known.
func doorProblem(err error) *problem {
	var p *problem
	switch {
	case errors.Is(err, access.ErrMissing):
		p = refuse(401, reasonMissing, "this weir asks who you are: send a name and password (curl -u NAME:PASSWORD) or a token")
		p.asks = true
	case errors.Is(err, access.ErrRejected):
		p = refuse(401, reasonRejected, "nobody here has this name and password, or this token")
		p.asks = true
	case errors.Is(err, access.ErrAttempts):
		p = refuse(429, reasonAttempts, "too many wrong passwords came from your address; wait before the next attempt")
	case errors.Is(err, access.ErrBusy):
		p = busy("passwords")
	default:
		p = refuse(500, "internal", "%v", err)
	}
	if w, ok := errors.AsType[*access.Wait](err); ok {
		p.retry = 1 + int(w.After/time.Second)
	}
	return p
}

// forbidden refuses somebody who is known.
func forbidden(c *access.Caller, format string, args ...any) *problem {
	who := "who sends no credentials"
	if c.Name != "" {
		who = "user " + c.Name
	}
	p := refuse(403, reasonForbidden, format, args...)
	p.text = who + " " + p.text
	if c.Name == "" { // they may log in
		p.status, p.asks = 401, true
	}
	return p
}

// addrOf is the sender's address without its port.
func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr()
	}
	return netip.Addr{}
}

// handshake makes a connection secure before its first byte is read. The
// deadline of that read bounds it.
func (c *conn) handshake() error {
	secure := c.secure
	c.secure = nil
	if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
		return err
	}
	err := secure.Handshake()
	if err == nil {
		return nil
	}
	c.failed(c.RemoteAddr(), err)
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil && looksLikeHTTP(plain.RecordHeader) {
		answerPlain(plain.Conn)
	}
	return err
}

// plainAnswer tells a client that it forgot the s of https.
const plainAnswer = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nthis port speaks TLS: write https:// instead of http://\n"

// answerPlain answers on a connection that is not secure, and lets the client
// read it. Whether it does, the connection ends.
func answerPlain(c net.Conn) {
	_, err := io.WriteString(c, plainAnswer)
	half, ok := c.(interface{ CloseWrite() error })
	if err == nil && ok && half.CloseWrite() == nil && c.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.Copy(io.Discard, c)
	}
}

// looksLikeHTTP tells whether what came instead of a TLS record begins a
// request of plain HTTP.
func looksLikeHTTP(head [5]byte) bool {
	switch string(head[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH":
		return true
	}
	return false
}

// handshakeFailed counts and tells of a client that spoke no TLS, or had no
// certificate; one that only looked whether the port is open is nothing.
func (s *Server) handshakeFailed(from net.Addr, err error) {
	if errors.Is(err, io.EOF) {
		return
	}
	s.refused(reasonHandshake, 0)
	if silent, ok := s.refusals.tell(reasonHandshake, time.Now()); ok {
		s.Log.Warn("tls handshake failed", "peer", from.String(), "error", err, "more_since_last", silent)
	}
}
