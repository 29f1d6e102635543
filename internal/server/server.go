package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"weir/arrays"
	"weir/catalog"
	"weir/conf"
	"weir/forward"
	"weir/internal/httpapi"
	"weir/internal/metrics"
	"weir/internal/replace"
	"weir/internal/vfs"
	"weir/jobs"
	"weir/lake"
	"weir/policies"
	"weir/slap/deploy"
	"weir/slap/master"
	"weir/streams"
)

// Options of a Server.
type Options struct {
	Config  *conf.Config
	Version string
	Log     *slog.Logger // default discards
}

// A Server is a running weir.
type Server struct {
	conf    *conf.Config
	version string
	log     *slog.Logger

	streams   *streams.Store
	catalog   *catalog.Store // nil where no policy has a grammar
	router    *policies.Router
	arrays    *arrays.Store
	jobs      *jobs.Engine
	resources *jobs.Store
	executor  *jobs.Executor // nil where no actions are configured
	own       *jobs.Executor // of weir's own actions
	lender    *jobs.Lender
	hearing   time.Time // since when the lender hears executors
	isOwn     func(action string) bool
	actions   atomic.Pointer[map[string]jobs.Work]
	http      *httpapi.Server
	forward   *forward.Server
	bound     *listeners
	lake      *lake.Lake // nil where none is configured
	retained  retained

	master   *master.Master   // nil without slap.listen
	deployer *deploy.Deployer // nil without policies that deploy

	stops  []step // what was started, in order
	serves sync.WaitGroup
	failed chan error // a part that served ended by itself
}

// A step is a part that was started.
type step struct {
	name string
	stop func(context.Context) error
	door bool // senders come in by it
}

// Start opens the stores, recovers what a crash left, binds the listeners and
// serves. When it fails, what was started is stopped again.
func Start(o Options) (_ *Server, err error) {
	s := &Server{conf: o.Config, version: o.Version, log: o.Log, failed: make(chan error, 1)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop(context.Background()))
		}
	}()
	for _, part := range []struct {
		name  string
		start func() (stop func(context.Context) error, err error)
	}{
		{"data folder", s.startFolder},
		{"engine", s.startEngine},
		{"streams", s.startStreams},
		{"catalog", s.startCatalog},
		{"policies", s.startPolicies},
		{"arrays", s.startArrays},
		{"jobs", s.startJobs},
		{"lake", s.startLake},
		{"listeners", s.startListeners},
		{"forward", s.startForward},
		{"slap", s.startSlap},
		{"deployments", s.startDeploy},
		{"http", s.startHTTP},
		{"addresses", s.startAddresses},
	} {
		began := time.Now()
		stop, err := part.start()
		if err != nil {
			return nil, err
		}
		s.stops = append(s.stops, step{part.name, stop, part.name == "forward" || part.name == "http"})
		s.log.Debug("started", "part", part.name, "took", time.Since(began))
	}
	return s, nil
}

// Addresses tells where the server listens.
func (s *Server) Addresses() Addresses { return s.bound.at }

// Failed gives the error of a part that ended by itself; then the server is
// to be stopped.
func (s *Server) Failed() <-chan error { return s.failed }

// Recovery tells what the start found.
func (s *Server) Recovery() streams.Recovery { return s.streams.Stats().Recovery }

// Stop takes no more, finishes what was taken, acknowledges it and closes the
// stores, in the reverse order of the start. The context bounds the wait for
// senders, which are cut off then; the stores are closed in any case.
func (s *Server) Stop(ctx context.Context) error {
	if s.http != nil {
		s.http.Drain()
	}
	var doors sync.WaitGroup
	errs := make([]error, len(s.stops))
	for i, p := range s.stops {
		if p.door { // all at once: a sender that hangs at one keeps none of the others open
			doors.Go(func() { errs[i] = s.stop(ctx, p) })
		}
	}
	doors.Wait()
	for i := len(s.stops) - 1; i >= 0; i-- {
		if p := s.stops[i]; !p.door {
			errs[i] = s.stop(ctx, p)
		}
	}
	s.stops = nil
	s.serves.Wait()
	return errors.Join(errs...)
}

// stop stops one part. What was not finished in time is cut off and told:
// nobody was promised it.
func (s *Server) stop(ctx context.Context, p step) error {
	if p.stop == nil {
		return nil
	}
	began := time.Now()
	err := p.stop(ctx)
	s.log.Debug("stopped", "part", p.name, "took", time.Since(began))
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("not finished in time, and cut off", "part", p.name, "error", err)
		return nil
	}
	return err
}

// serve runs a part until it is stopped; ended is the error that says so.
func (s *Server) serve(name string, ended error, run func() error) {
	s.serves.Go(func() {
		err := run()
		if err == nil || ended != nil && errors.Is(err, ended) {
			return
		}
		select {
		case s.failed <- fmt.Errorf("server: %s: %w", name, err):
		default:
		}
	})
}

func (s *Server) startFolder() (func(context.Context) error, error) {
	var fs vfs.OS
	if err := fs.MkdirAll(s.conf.Data); err != nil {
		return nil, fmt.Errorf("server: data: %w", err)
	}
	lock, err := fs.Lock(filepath.Join(s.conf.Data, "lock"))
	if err != nil {
		return nil, fmt.Errorf("server: data folder %s: %w", s.conf.Data, err)
	}
	return func(context.Context) error { return lock.Close() }, nil
}

func (s *Server) startStreams() (_ func(context.Context) error, err error) {
	o := s.conf.Streams.Options()
	o.Log, o.LogAge = s.log, logAge(s.conf.Router())
	o.Work = func(what string, do func() error) error { return s.jobs.Follow(what+"_streams", "streams", do) }
	if s.streams, err = streams.Open(filepath.Join(s.conf.Data, "streams"), o); err != nil {
		return nil, err
	}
	return func(context.Context) error { return s.streams.Close() }, nil
}

func (s *Server) startPolicies() (_ func(context.Context) error, err error) {
	s.router, err = policies.New(policies.Options{Policies: s.conf.Router(), Streams: s.streams, Catalog: s.catalog, Log: s.log})
	return nil, err
}

func (s *Server) startArrays() (_ func(context.Context) error, err error) {
	o := s.conf.Arrays.Options()
	o.Log, o.Refuse = s.log, s.refuse
	if s.arrays, err = arrays.Open(filepath.Join(s.conf.Data, "arrays"), o); err != nil {
		return nil, err
	}
	return func(context.Context) error { return s.arrays.Close() }, nil
}

// refuse keeps a range of a stream that a transform could not use as a dead
// letter of the stream's policy, once however often the transform sees it.
func (s *Server) refuse(ctx context.Context, r arrays.Refusal) error {
	p, _ := s.router.Of(r.Stream)
	s.log.Warn("a part of a stream cannot be used", "stream", r.Stream.Name(), "policy", p.Name,
		"offset", r.Offset, "length", r.Length, "reason", r.Reason, "detail", r.Detail)
	return s.router.DeadLetter(ctx, policies.Dead{
		Policy: p.Name, Tag: r.Stream.Name(), Reason: r.Reason, Detail: r.Detail,
		Stream: r.Stream.Name(), Generation: r.Generation, Offset: r.Offset, Length: r.Length, Data: r.Data,
		ID: fmt.Appendf(nil, "%s\x00%d\x00%d\x00%s", r.Stream.Name(), r.Generation, r.Offset, r.Reason),
	})
}

func (s *Server) startListeners() (_ func(context.Context) error, err error) {
	var secure security
	if secure.http, err = s.secure("http.tls", s.conf.HTTP.TLS); err != nil {
		return nil, err
	}
	if secure.forward, err = s.secure("forward.tls", s.conf.Forward.TLS); err != nil {
		return nil, err
	}
	if s.bound, err = listen(s.conf.HTTP, s.conf.Forward, secure); err != nil {
		return nil, err
	}
	return func(context.Context) error { s.bound.close(); return nil }, nil
}

func (s *Server) startForward() (_ func(context.Context) error, err error) {
	o := s.conf.Forward.Options()
	o.Handler, o.Log, o.AnyRecord = newKeeper(s.router), s.log, true
	if s.router.HasEnvelopes() {
		o.Check = s.check
	}
	if s.forward, err = forward.NewServer(o); err != nil {
		return nil, err
	}
	for _, l := range s.bound.forward {
		s.serve("forward", forward.ErrClosed, func() error { return s.forward.Serve(l) })
	}
	for _, p := range s.bound.packet {
		s.serve("forward heartbeats", forward.ErrClosed, func() error { return s.forward.ServePacket(p) })
	}
	return s.forward.Shutdown, nil
}

func (s *Server) startHTTP() (func(context.Context) error, error) {
	m, err := metrics.New(metrics.Sources{
		Forward: s.forward.Stats, Streams: s.streams.Stats, Policies: s.router.Stats, Arrays: s.arrays.Stats,
		HTTP: func() httpapi.Stats { return s.http.Stats() }, Version: s.version,
		Jobs:        s.jobStats,
		Lake:        s.lakeStats(),
		Retention:   s.retained.stats,
		Deployments: s.deployed,
	})
	if err != nil {
		return nil, err
	}
	guard, err := s.guard()
	if err != nil {
		return nil, err
	}
	h := s.conf.HTTP
	s.http, err = httpapi.New(httpapi.Options{
		Streams: s.streams, Policies: s.router, Arrays: s.arrays, Jobs: s.jobService(),
		Catalog: s.catalog, Access: guard, JobUsers: len(s.conf.Jobs.Users) > 0,
		// Instances' parameters, passwords among them, and jobs, which have owners.
		Deployments: s.shownDeployments, Private: []string{master.StateStream, jobs.StreamName},
		Metrics: m.Write, Version: s.version, Log: s.log,
		Lake: s.lake, LakePolicy: s.conf.Lake.Policy,
		MaxBody: int64(h.MaxBody), BodyMemory: int64(h.BodyMemory), BodyWait: h.BodyWait, MaxConns: h.MaxConnections,
		HeaderTimeout: h.HeaderTimeout, StallTimeout: h.StallTimeout, IdleTimeout: h.IdleTimeout,
	})
	if err != nil {
		return nil, err
	}
	s.serve("http", nil, func() error { return s.http.Serve(s.bound.http) })
	return s.http.Shutdown, nil
}

// check says how much of a tag's messages is looked at before they are kept.
func (s *Server) check(tag []byte) forward.CheckLevel {
	if s.router.ChecksEnvelope(tag) {
		return forward.CheckEnvelope
	}
	return forward.CheckEntries
}

// addressFile tells other programs where a server with port 0 listens.
const addressFile = "addresses.json"

func (s *Server) startAddresses() (func(context.Context) error, error) {
	b, err := json.MarshalIndent(s.bound.at, "", "  ")
	if err != nil {
		return nil, err
	}
	name := filepath.Join(s.conf.Data, addressFile)
	if err := replace.File(name, append(b, '\n'), 0o644); err != nil { // a full disk can be read all the same
		s.log.Error("the addresses could not be written", "file", name, "error", err)
		return nil, nil
	}
	return func(context.Context) error { return os.Remove(name) }, nil
}
