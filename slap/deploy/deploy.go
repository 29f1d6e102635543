package deploy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"weir/slap"
)

// A Deployment is an instance that a policy wants.
type Deployment struct {
	Policy     string
	Reference  string // title of the instance
	Release    string // URL, or product.NAME
	Type       string
	State      string // started, stopped or destroyed
	Parameters map[string]string
	Filter     map[string]string // such as computer_guid
	Computers  []string          // to which the release is supplied, with computer_guid
	// Each makes one instance on each of Computers, or, without any, on each
	// that the master lists, those to come included. Its reference is
	// Reference-COMPUTER.
	Each bool
}

// Phases of a deployment.
const (
	Waiting   = "waiting"   // the master has not answered yet, or says "please wait"
	Allocated = "allocated" // the master answered; for a destroyed one, that it is gone or going
	Failed    = "failed"    // the last attempt; it is tried again
)

// A Status is how far a deployment is.
type Status struct {
	Policy     string         `json:"policy"`
	Reference  string         `json:"reference"`
	Release    string         `json:"release"` // the URL, once it is known
	Asked      string         `json:"asked"`   // the state asked for
	Phase      string         `json:"phase"`
	State      string         `json:"state,omitempty"` // as the master says
	Computer   string         `json:"computer,omitempty"`
	Partition  string         `json:"partition,omitempty"`
	Report     string         `json:"report,omitempty"` // the computer's last: "#access …", or "#error …" with the end of its log
	Connection map[string]any `json:"connection,omitempty"`
	Error      string         `json:"error,omitempty"`
	Attempts   int64          `json:"attempts"`
	Since      time.Time      `json:"since"` // when anything but attempts last changed
}

// Broken tells whether the last attempt failed, or the computer reports that
// the instance does not work.
func (s Status) Broken() bool { return s.Phase == Failed || strings.HasPrefix(s.Report, "#error") }

// Running tells whether the computer reports that the instance is started.
func (s Status) Running() bool {
	return s.Phase == Allocated && s.State == slap.Started && strings.HasPrefix(s.Report, "#access")
}

// Options of a Deployer.
type Options struct {
	Client      *slap.Client
	Deployments []Deployment
	// Every is how often an instance that runs is asked for again; default 1
	// min. Before that, pauses grow from 1 s to it.
	Every time.Duration
	// Work runs a question about a policy's deployment, so that the owner sees
	// it; default runs it.
	Work func(policy string, ask func() error) error
	Log  *slog.Logger // default discards
}

// A Deployer asks for its deployments until it is stopped.
type Deployer struct {
	o Options

	mu    sync.Mutex
	items []*item
}

// An item is one instance, or, before any computer is known, the wish for one
// on each.
type item struct {
	Deployment
	status Status // guarded by the deployer's mu
}

// New makes a deployer; Run starts it.
func New(o Options) (*Deployer, error) {
	if o.Client == nil {
		return nil, errors.New("deploy: no client of a master is given")
	}
	if o.Every == 0 {
		o.Every = time.Minute
	}
	if o.Work == nil {
		o.Work = func(_ string, ask func() error) error { return ask() }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &Deployer{o: o}
	for _, v := range o.Deployments {
		d.add(v)
	}
	return d, nil
}

// add takes note of an instance that is to be asked for.
func (d *Deployer) add(v Deployment) *item {
	i := &item{Deployment: v, status: v.status()}
	i.status.Since = time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.items = append(d.items, i)
	return i
}

// status is what is known before the first answer.
func (v Deployment) status() Status {
	return Status{Policy: v.Policy, Reference: v.Reference, Release: v.Release, Asked: v.State, Phase: Waiting}
}

// Run asks until the context ends.
func (d *Deployer) Run(ctx context.Context) {
	d.mu.Lock()
	items := slices.Clone(d.items)
	d.mu.Unlock()
	var all sync.WaitGroup
	for _, i := range items {
		all.Go(func() {
			if i.Each {
				d.spread(ctx, i, &all)
			} else {
				d.keep(ctx, i)
			}
		})
	}
	all.Wait()
}

// Status tells how far the deployments are, in their order.
func (d *Deployer) Status() []Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]Status, 0, len(d.items))
	for _, i := range d.items {
		if i.Each && i.status.Phase == Allocated {
			continue // its instances tell
		}
		s := i.status
		s.Connection = maps.Clone(s.Connection)
		list = append(list, s)
	}
	return list
}

// keep asks for one instance again and again.
func (d *Deployer) keep(ctx context.Context, i *item) {
	pause := min(time.Second, d.o.Every)
	for ctx.Err() == nil {
		if d.attempt(ctx, i).settled() {
			d.sleep(ctx, d.o.Every)
			pause = min(time.Second, d.o.Every)
			continue
		}
		d.sleep(ctx, pause)
		pause = min(2*pause, d.o.Every)
	}
}

// sleep waits, by a fifth more or less, so that gateways do not ask in step.
func (d *Deployer) sleep(ctx context.Context, pause time.Duration) {
	t := time.NewTimer(pause*4/5 + rand.N(pause*2/5+1))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// settled tells whether nothing is about to change.
func (s Status) settled() bool {
	return s.Phase == Allocated && (s.Asked != slap.Started || s.Running())
}

// attempt asks once, notes what came of it, and gives that.
func (d *Deployer) attempt(ctx context.Context, of *item) Status {
	s := of.Deployment.status()
	var i *slap.Instance
	var url string
	var err error
	d.o.Work(of.Policy, func() error {
		if i, url, err = d.ask(ctx, of.Deployment); errors.Is(err, slap.ErrNotReady) {
			return nil // "please wait" is no failure
		}
		return err
	})
	if url != "" {
		s.Release = url
	}
	switch {
	case ctx.Err() != nil:
		return s
	case errors.Is(err, slap.ErrNotReady):
	case err != nil:
		s.Phase, s.Error = Failed, err.Error()
	default:
		s.Phase, s.State, s.Computer, s.Partition, s.Report, s.Connection = Allocated, i.State, i.Computer, i.Partition, i.Status, i.Connection
	}
	d.note(of, s)
	return s
}

// ask supplies the release where that is said, and requests the instance.
func (d *Deployer) ask(ctx context.Context, v Deployment) (*slap.Instance, string, error) {
	url, err := d.release(ctx, v.Release)
	if err != nil {
		return nil, "", err
	}
	for _, computer := range v.computers() {
		if err := d.o.Client.Supply(ctx, url, computer, slap.Available); err != nil {
			return nil, url, fmt.Errorf("supply to %s: %w", computer, err)
		}
	}
	i, err := d.o.Client.Request(ctx, slap.Request{
		Reference: v.Reference, Software: url, Type: v.Type, State: v.State, Parameters: values(v.Parameters), Filter: values(v.Filter),
	})
	return i, url, err
}

// computers are those that are to have the release; for an instance that is
// to go, none is.
func (v Deployment) computers() []string {
	if v.State == slap.Destroyed {
		return nil
	}
	list := slices.Clone(v.Computers)
	if c := v.Filter["computer_guid"]; c != "" && !slices.Contains(list, c) {
		list = append(list, c)
	}
	return list
}

func (d *Deployer) release(ctx context.Context, text string) (string, error) {
	name, ok := strings.CutPrefix(text, "product.")
	if !ok {
		return text, nil
	}
	list, err := d.o.Client.Product(ctx, name)
	if err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", fmt.Errorf("deploy: the master has no product %q: add it to slap.products, or write the release's URL", name)
	}
	return list[0], nil
}

func values(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// note keeps a status, and logs it when it is news.
func (d *Deployer) note(i *item, s Status) {
	d.mu.Lock()
	old := i.status
	s.Attempts, s.Since = old.Attempts+1, old.Since
	if news := s.Phase != old.Phase || s.State != old.State || s.Computer != old.Computer || s.Partition != old.Partition || s.Error != old.Error || s.Report != old.Report ||
		!reflect.DeepEqual(s.Connection, old.Connection); news {
		s.Since = time.Now()
		defer d.o.Log.Info("deployment", "policy", s.Policy, "reference", s.Reference, "phase", s.Phase, "state", s.State,
			"computer", s.Computer, "partition", s.Partition, "error", s.Error, "report", s.Report) // what it publishes may be secret
	}
	i.status = s
	d.mu.Unlock()
}
