package master

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"weir/slap"
	"weir/slap/authority"
	"weir/streams"
)

// Options of a Master.
type Options struct {
	// Streams keeps the state, in the stream _slap.
	Streams *streams.Store
	// Computer is the default node: it exists from the start, and requests
	// that name no computer go to it first.
	Computer string
	// Products are aliases: the release's URL by the product's name.
	Products map[string]string
	// Attributes of computers, by computer and name: what filters such as
	// network_guid, group or region are compared with.
	Attributes map[string]map[string]string
	// Forward lists the masters that requests may be passed on to.
	Forward []Forward
	// Async makes the first request of an instance be answered with "please
	// wait", as production does; the next one finds it allocated.
	Async bool
	// Access says who may ask.
	Access Access
	// Authority issues certificates, which speak for their subjects; nil
	// issues none.
	Authority *authority.Authority
	// Ingest keeps what comes to /ingestData; nil takes nothing.
	Ingest func(context.Context, Ingestion) error
	// Refused counts what came to /ingestData and was refused before it was
	// handed on, by the status and the bytes that were announced; nil counts
	// nothing.
	Refused func(status int, bytes int64)
	// MaxBody bounds a request's body; default 4 MiB. MaxIngest bounds what
	// comes to /ingestData, of which at most four are taken at once; default 64 MiB.
	MaxBody, MaxIngest int64
	// Client reaches other masters; default one with a time limit of 60 s.
	Client *http.Client
	Now    func() time.Time // default time.Now
	Log    *slog.Logger     // default discards
}

// A Forward is another master.
type Forward struct {
	URL      string
	Releases []string // whose requests go there unasked
	// Computer and Partition, when set, are whom requests there come from.
	Computer, Partition string
	// Key and Cert are files of a client certificate.
	Key, Cert string
	// CA is a file of certificates that the master's has to be signed by;
	// default those of the system.
	CA string
	// Token is sent as X-Access-Token.
	Token string
}

// A Master is an http.Handler that answers SLAP.
type Master struct {
	o     Options
	state *state
	runID string
	log   *slog.Logger

	endpoints map[string]endpoint
	methods   map[string]method

	ingesting chan struct{} // full while as many ingestions are under way as may be

	mu      sync.Mutex
	clients map[string]*slap.Client // of other masters, by URL
}

// New reads the state and gives a master that is ready to answer.
func New(o Options) (*Master, error) {
	if o.Streams == nil {
		return nil, errors.New("slap: master: no stream store is given")
	}
	if o.Computer == "" {
		o.Computer = "local"
	}
	if o.MaxBody == 0 {
		o.MaxBody = 4 << 20
	}
	if o.MaxIngest == 0 {
		o.MaxIngest = 64 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := openState(o.Streams, o.Log, o.Now)
	if err != nil {
		return nil, err
	}
	return &Master{o: o, state: s, log: o.Log, runID: rand.Text() + rand.Text()[:6], clients: map[string]*slap.Client{}, endpoints: endpoints(), methods: methods(), ingesting: make(chan struct{}, 4)}, nil
}
