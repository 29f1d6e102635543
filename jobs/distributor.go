package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// A Distribution makes a job of one action again and again.
type Distribution struct {
	Action   string
	Schedule Schedule
	Target   string // of the jobs; empty is none
	Priority int    // 0 is the default
}

// A Maker is the job resource as a distributor needs it.
type Maker interface {
	Create(ctx context.Context, body []byte) (id string, err error)
	Query(ctx context.Context, q Query) (Page, error)
}

// DistributorOptions of a Distributor. Elector and Maker must be set.
type DistributorOptions struct {
	Name    string
	Elector Elector
	Maker   Maker
	// Pause is how long to wait after an error; default 1 s.
	Pause time.Duration
	Log   *slog.Logger // default discards
}

// A Distributor makes jobs when they are due, while it leads their action.
type Distributor struct{ o DistributorOptions }

// NewDistributor makes a distributor.
func NewDistributor(o DistributorOptions) *Distributor {
	orDefault(&o.Pause, time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Distributor{o: o}
}

// Run distributes until the context ends.
func (d *Distributor) Run(ctx context.Context, list []Distribution) {
	var all sync.WaitGroup
	for _, one := range list {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := d.lead(ctx, one); err != nil && ctx.Err() == nil {
					d.o.Log.Error("a distribution pauses", "action", one.Action, "error", err)
					sleep(ctx, d.o.Pause)
				}
			}
		})
	}
	all.Wait()
}

// lead waits for its term and makes jobs until it is over.
func (d *Distributor) lead(ctx context.Context, one Distribution) error {
	term, err := d.o.Elector.Lead(ctx, one.Action, d.o.Name)
	if err != nil {
		return err
	}
	d.o.Log.Info("leads", "action", one.Action, "name", d.o.Name)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer term.Resign(context.Background())
	go func() {
		select {
		case <-term.Lost():
			cancel()
		case <-ctx.Done():
		}
	}()
	var own time.Time // of the last one made here, whatever the server says
	for {
		due, err := d.due(ctx, one, own)
		if err == nil {
			sleep(ctx, time.Until(due))
			if ctx.Err() == nil {
				err = d.make(ctx, one)
			}
			if err == nil {
				own = time.Now()
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			d.o.Log.Error("a job could not be distributed; it is tried again", "action", one.Action, "error", err)
			sleep(ctx, d.o.Pause)
		}
	}
}

// due tells when the next job is to be made: after the newest one, whoever made
// it, so that a new leader does not begin anew.
func (d *Distributor) due(ctx context.Context, one Distribution, own time.Time) (time.Time, error) {
	p, err := d.o.Maker.Query(ctx, Query{Filters: []string{one.filter()}, OrderBy: []string{"created:desc"}, Last: "1"})
	if err != nil {
		return time.Time{}, err
	}
	now, last := time.Now(), own
	if len(p.Jobs) > 0 {
		made, err := time.Parse(time.RFC3339, p.Jobs[0].Created)
		if err != nil {
			return now, fmt.Errorf("jobs: %s was created at %q, which is no time", p.Jobs[0].ID, p.Jobs[0].Created)
		}
		// A server whose clock is ahead must not hold the distribution up.
		if made.After(now) {
			made = now
		}
		if made.After(last) {
			last = made
		}
	}
	due, ok := one.Schedule.Next(last, now)
	if !ok {
		return now, fmt.Errorf("jobs: the schedule of %s has no time", one.Action)
	}
	return due, nil
}

func (one Distribution) filter() string {
	f := "action='" + one.Action + "'"
	if one.Target != "" {
		f += " and targetResource/href='" + one.Target + "'"
	}
	return f
}

// make adds a job, unless one of the kind waits already.
func (d *Distributor) make(ctx context.Context, one Distribution) error {
	waiting, err := d.o.Maker.Query(ctx, Query{Filters: []string{one.filter() + " and state='QUEUED'"}, Last: "0"})
	if err != nil {
		return err
	}
	if waiting.Count > 0 {
		return nil
	}
	j := map[string]any{"action": one.Action}
	if one.Target != "" {
		j["targetResource"] = Reference{one.Target}
	}
	if one.Priority > 0 {
		j["priority"] = one.Priority
	}
	body, err := json.Marshal(j)
	if err != nil {
		return err
	}
	id, err := d.o.Maker.Create(ctx, body)
	if err == nil {
		d.o.Log.Info("job distributed", "action", one.Action, "job", id)
	}
	return err
}
