package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"weir/access"
	"weir/conf"
	"weir/policies"
	"weir/slap"
	"weir/slap/authority"
	"weir/slap/deploy"
	"weir/slap/master"
)

// startSlap starts weir's own master, where the configuration asks for one.
func (s *Server) startSlap() (_ func(context.Context) error, err error) {
	c := s.conf.Slap
	if c.Listen == "" {
		return nil, nil
	}
	var a *authority.Authority
	if c.Authority {
		if a, err = authority.Open(filepath.Join(s.conf.Data, "slap"), nil); err != nil {
			return nil, err
		}
	}
	s.master, err = master.New(master.Options{
		Streams: s.streams, Computer: c.Computer, Products: c.Products, Attributes: c.Attributes, Async: c.Async, Forward: forwards(c.Forward),
		Access: master.Access{Token: c.Token.Value(), Certificates: c.ClientCAFile != ""}, Authority: a, Ingest: s.ingest, Refused: s.refusedIngest, MaxIngest: int64(min(s.conf.HTTP.MaxBody, s.conf.HTTP.BodyMemory)), Log: s.log,
	})
	if err != nil {
		return nil, err
	}
	l, err := s.listenSlap(a)
	if err != nil {
		return nil, fmt.Errorf("server: slap.listen: %w", err)
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() && c.Token.Value() == "" && c.ClientCAFile == "" {
		s.log.Warn("slap: everybody who reaches the address may ask everything; slap.token, authority and client_ca_file say who may", "address", a.String())
	}
	h := &http.Server{Handler: s.master, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute}
	s.serve("slap", http.ErrServerClosed, func() error { return h.Serve(l) })
	return h.Shutdown, nil
}

// listenSlap binds the own master's address, with TLS where that is said.
func (s *Server) listenSlap(a *authority.Authority) (net.Listener, error) {
	c := s.conf.Slap
	host, _, _ := net.SplitHostPort(c.Listen)
	own, _ := os.Hostname()
	secure, err := master.TLS{
		CertFile: c.TLSCertFile, KeyFile: c.TLSKeyFile, ClientCAFile: c.ClientCAFile,
		Names: append([]string{"localhost", "127.0.0.1", "::1", own, host}, c.Names...),
	}.Config(a)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, err
	}
	s.bound.at.Slap = l.Addr().String()
	if secure == nil {
		return l, nil
	}
	return tls.NewListener(l, secure), nil
}

func forwards(list []conf.SlapForward) []master.Forward {
	var out []master.Forward
	for _, f := range list {
		out = append(out, master.Forward{
			URL: f.URL, Releases: f.Releases, Computer: f.Computer, Partition: f.Partition, CA: f.CAFile, Cert: f.CertFile, Key: f.KeyFile,
			Token: f.Token.Value(),
		})
	}
	return out
}

// ingest keeps what came to the master's /ingestData under a policy, as the
// HTTP listener does.
func (s *Server) ingest(ctx context.Context, in master.Ingestion) error {
	if _, known := s.router.Policy(in.Policy); !known {
		s.router.CountRefused("unknown-policy", 0, int64(len(in.Data)))
		return master.Refuse(http.StatusNotFound, fmt.Sprintf("there is no ingestion policy %q", in.Policy))
	}
	if !s.openDoor(in.Policy) {
		s.refusedIngest(http.StatusForbidden, int64(len(in.Data)))
		return master.Refuse(http.StatusForbidden, fmt.Sprintf("http.users says who may send to policy %q, and this master asks nobody who he is: write slap.token", in.Policy))
	}
	batch := [1]policies.Batch{{Tag: in.Reference, Policy: in.Policy, Entries: in.Data, Raw: true, Peer: in.Peer}}
	if in.ID != "" { // with the bytes: a key that comes again with others is another append
		sum := sha256.Sum256(in.Data)
		batch[0].ID = append(sum[:], in.ID...)
	}
	var kept [1]policies.Kept
	s.router.Keep(ctx, batch[:], kept[:], false)
	return ingestProblem(kept[0].Err)
}

// openDoor tells whether a policy takes data by /ingestData. A master that asks
// nobody who he is takes what the HTTP listener takes from nobody in particular.
func (s *Server) openDoor(policy string) bool {
	o, bounded := s.conf.HTTP.Access()
	if c := s.conf.Slap; !bounded || c.Token.Value() != "" || c.ClientCAFile != "" {
		return true
	}
	anyone := access.Caller{Grant: o.Anonymous}
	return anyone.May(access.Ingest) && anyone.Covers(policy)
}

// refusedIngest counts what the master refused, by the reasons of the HTTP
// listener.
func (s *Server) refusedIngest(status int, bytes int64) {
	reason := "bad-request"
	switch status {
	case http.StatusForbidden:
		reason = "forbidden"
	case http.StatusRequestEntityTooLarge:
		reason = "body-too-large"
	case http.StatusMethodNotAllowed:
		reason = "bad-method"
	}
	s.router.CountRefused(reason, 0, bytes)
}

// ingestProblem gives what the policies refuse the status that it has at the
// HTTP listener.
func ingestProblem(err error) error {
	for is, status := range map[error]int{
		policies.ErrTag: http.StatusBadRequest, policies.ErrData: http.StatusBadRequest,
		policies.ErrTooLarge: http.StatusRequestEntityTooLarge, policies.ErrConflict: http.StatusConflict,
	} {
		if errors.Is(err, is) {
			return master.Refuse(status, err.Error())
		}
	}
	return err
}

// startDeploy asks a master for what the policies name.
func (s *Server) startDeploy() (func(context.Context) error, error) {
	list := s.deployments()
	if len(list) == 0 {
		return nil, nil
	}
	client, err := s.slapClient()
	if err != nil {
		return nil, fmt.Errorf("server: slap: %w", err)
	}
	if s.deployer, err = deploy.New(deploy.Options{Client: client, Deployments: list, Log: s.log, Work: func(policy string, ask func() error) error {
		return s.jobs.Follow(actionDeploy, "policies/"+policy, ask)
	}}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.serve("deployments", nil, func() error {
		s.deployer.Run(ctx)
		return nil
	})
	return func(context.Context) error { cancel(); return nil }, nil
}

// shownDeployments is what /api/deployments tells.
func (s *Server) shownDeployments() any { return s.deployed() }

// deployed tells how far the policies' instances are.
func (s *Server) deployed() []deploy.Status {
	if s.deployer == nil {
		return []deploy.Status{}
	}
	return s.deployer.Status()
}

// deployments are the policies' instances, told where this server listens.
func (s *Server) deployments() []deploy.Deployment {
	forward := s.conf.Slap.Address
	if forward == "" && len(s.bound.at.Forward) > 0 {
		forward = s.bound.at.Forward[0]
	}
	http := cmp.Or(s.conf.Slap.HTTPURL, s.bound.at.URL()+"/")
	var list []deploy.Deployment
	for _, p := range s.conf.Policies {
		d := p.Deploy
		if d == nil {
			continue
		}
		v := deploy.Deployment{
			Policy: p.Name, Reference: p.DeployReference(), Release: d.Release, Type: d.Type, State: d.State,
			Parameters: s.conf.DeployParameters(p, forward, http), Filter: d.Filter, Computers: d.Computers, Each: d.Each,
		}
		if v.State == "" {
			v.State = slap.Started
		}
		list = append(list, v)
	}
	return list
}

// slapClient speaks to the master that the configuration names, or to the own
// one without a detour through the network.
func (s *Server) slapClient() (*slap.Client, error) {
	c := s.conf.Slap
	o := slap.ClientOptions{URL: c.Master, CA: c.CAFile, Cert: c.CertFile, Key: c.KeyFile, Token: c.Token.Value()}
	if c.Master == "" {
		if s.master == nil {
			return nil, errors.New("deployments need slap.listen or slap.master")
		}
		o.URL, o.HTTP = "http://"+s.bound.at.Slap+"/", &http.Client{Transport: inProcess{s.master}}
	}
	return slap.NewClient(o)
}

// inProcess gives requests to a handler.
type inProcess struct{ handler http.Handler }

// An answer is what a handler writes.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// RoundTrip serves a request at once.
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	a := &answer{header: http.Header{}}
	served := r.Clone(r.Context()) // handlers may write to theirs
	served.Host = r.URL.Host
	p.handler.ServeHTTP(a, served)
	a.WriteHeader(http.StatusOK)
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: r,
	}, nil
}
