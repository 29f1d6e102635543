package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"weir/access"
	"weir/arrays"
	"weir/buckets"
	"weir/catalog"
	"weir/lake"
	"weir/policies"
	"weir/streams"
)

// Options of a Server. Streams, Policies and Arrays must be set.
type Options struct {
	Streams  *streams.Store
	Policies *policies.Router
	Arrays   *arrays.Store
	Jobs     Jobs // nil serves no /api/job and no /api/session
	// Private are streams that are as if they were not there.
	Private []string
	// Catalog holds data supplies, products and ingestions; nil has none.
	Catalog *catalog.Store
	// Access knows who may do what; nil lets everybody do everything.
	Access *access.Guard
	// JobUsers says that Jobs has users of its own, whom it asks itself.
	JobUsers bool
	// Lake is the data lake, which uploads reach under the name LakePolicy as
	// if it were a policy's; nil is none.
	Lake       *lake.Lake
	LakePolicy string
	// Deployments are shown by /api/deployments, as JSON; nil is an empty list.
	Deployments func() any
	// Metrics writes the Prometheus text format; nil serves no /metrics.
	Metrics func(io.Writer) error
	// Conditions are what /ready needs besides appends that work and a server
	// that does not drain, such as listeners being bound.
	Conditions func() []Condition
	Version    string       // shown on the page and by /api/status
	Log        *slog.Logger // default discards

	// MaxBody is the size, in bytes, of the largest chunk that may be
	// ingested; default 16 GiB. Large ones go to the disk as they come. Uploads
	// to /streams are not bounded by it.
	MaxBody int64
	// BodyMemory bounds the bytes of all bodies in memory at once; default
	// 256 MiB. Decoders of compressed bodies may take half as much on top.
	BodyMemory int64
	// BodyWait is how long a body waits for its share of BodyMemory before it
	// is refused; default 10 s.
	BodyWait time.Duration
	// MaxConns bounds the connections served at once; default 8192.
	MaxConns int
	// HeaderTimeout is how long a request's header may take; default 30 s.
	HeaderTimeout time.Duration
	// StallTimeout is how long a client may neither send nor take a byte in
	// the middle of a request; default 60 s.
	StallTimeout time.Duration
	// IdleTimeout is how long a connection may rest between two requests;
	// default 20 min, since fluentd's clients are known to rest for 15.
	IdleTimeout time.Duration
}

// A Condition is one thing that readiness needs.
type Condition struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Text string `json:"text,omitempty"` // what is wrong, or what is right
}

// A Server serves HTTP. All methods are safe for concurrent use.
type Server struct {
	Options
	http     *fasthttp.Server
	budget   *budget // of bodies
	answers  *budget // of slices on their way out
	count    counters
	refusals refusals
	uploads  atomic.Int64 // kept
	requests sync.Pool    // of *request
	decoders decoders
	buckets  *buckets.Store
	contract contract
	watch    *watch
	ending   chan struct{} // closed when Shutdown begins: live tails end
	// heartbeat is how often a live tail says something.
	heartbeat time.Duration
	started   time.Time
	draining  atomic.Bool
	ctx       context.Context // of the appends; ends when a Shutdown is given up
	stop      context.CancelFunc

	mu        sync.Mutex
	listeners []*listener
	shut      bool
}

// answerMemory bounds the bytes of slices on their way to clients.
const answerMemory = 64 << 20

// New makes a server.
func New(o Options) (*Server, error) {
	if o.Streams == nil || o.Policies == nil || o.Arrays == nil {
		return nil, errors.New("httpapi: new server: Streams, Policies and Arrays must be set")
	}
	setDefaults(&o)
	s := &Server{Options: o, budget: newBudget(o.BodyMemory), answers: newBudget(answerMemory), started: time.Now(), requests: newRequestPool(), count: newCounters(),
		watch: newWatch(o.Streams), ending: make(chan struct{}), heartbeat: heartbeatTime}
	var err error
	if s.contract, err = newContract(); err != nil {
		return nil, err
	}
	s.buckets = buckets.New(o.Streams, nil)
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.decoders.bound(s.ctx, o.BodyMemory, o.BodyWait)
	s.http = s.newFasthttp()
	return s, nil
}

func setDefaults(o *Options) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 16 << 30
	}
	if o.BodyMemory <= 0 {
		o.BodyMemory = 256 << 20
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 8192
	}
	orDefault(&o.BodyWait, 10*time.Second)
	orDefault(&o.HeaderTimeout, 30*time.Second)
	orDefault(&o.StallTimeout, 60*time.Second)
	orDefault(&o.IdleTimeout, 20*time.Minute)
}

func orDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

func (s *Server) newFasthttp() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                      s.serve,
		ErrorHandler:                 s.unreadable,
		HeaderReceived:               beforeBody,
		ExpectHandler:                s.expect,
		Name:                         "weir",
		Concurrency:                  s.MaxConns,
		ReadBufferSize:               16 << 10, // also the bound of a request's header
		ReadTimeout:                  s.HeaderTimeout,
		IdleTimeout:                  s.IdleTimeout,
		MaxRequestBodySize:           math.MaxInt, // bodies are streams; their bound is each route's
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		NoDefaultContentType:         true,
		CloseOnShutdown:              true,
		Logger:                       serverLog{s.Log, &s.refusals},
	}
}

// Serve answers requests that come to the listener until Shutdown, and closes
// it. It may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	wrapped := &listener{Listener: l, stall: s.StallTimeout, failed: s.handshakeFailed}
	if !s.open(wrapped) {
		return wrapped.Close()
	}
	if err := s.http.Serve(wrapped); err != nil {
		return fmt.Errorf("httpapi: serve %s: %w", l.Addr(), err)
	}
	return nil
}

// open takes note of a listener; it is false after Shutdown. fasthttp knows a
// listener only some time after Serve, so that a Shutdown in between would
// leave it open for ever.
func (s *Server) open(l *listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		return false
	}
	s.listeners = append(s.listeners, l)
	return true
}

// close closes the listeners, and those to come.
func (s *Server) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.shut {
		close(s.ending)
	}
	s.shut = true
	var err error
	for _, l := range s.listeners {
		err = errors.Join(err, l.Close())
	}
	return err
}

// Drain turns /ready to 503, so that balancers leave. Requests are served on.
func (s *Server) Drain() { s.draining.Store(true) }

// Shutdown drains: it accepts no more connections, lets requests in hand
// finish, and closes the rest. When the context ends first, appends that still
// wait for room are given up and the context's error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	err := errors.Join(s.close(), s.http.ShutdownWithContext(ctx))
	s.stop()
	if err != nil {
		return fmt.Errorf("httpapi: shutdown: %w", err)
	}
	return nil
}

// serverLog gives fasthttp's own messages, which are about connections, to
// slog: not often, and without the client's bytes.
type serverLog struct {
	log   *slog.Logger
	often *refusals
}

func (l serverLog) Printf(format string, args ...any) {
	silent, ok := l.often.tell("http connection", time.Now())
	if !ok {
		return
	}
	text, _, _ := strings.Cut(fmt.Sprintf(format, args...), clientBytes)
	l.log.Warn("http connection", "error", text, "more_since_last", silent)
}
