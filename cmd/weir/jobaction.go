package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"weir/jobs"
	"weir/jobs/cimi"
)

// Actions that each executor has; an executable of the same name takes the
// place of one.
const (
	actionCleanup = "cleanup_jobs"
	actionDummy   = "dummy_test_action"
)

// An actionSet finds actions by name, and can be given others.
type actionSet struct {
	built map[string]jobs.Work
	mu    sync.Mutex
	found map[string]jobs.Work
}

func newActionSet(found map[string]jobs.Work, api *cimi.Client) *actionSet {
	return &actionSet{found: found, built: map[string]jobs.Work{
		actionCleanup: func(ctx context.Context, r *jobs.Run) (int, error) { return cleanup(ctx, r, api) },
		actionDummy:   func(context.Context, *jobs.Run) (int, error) { return 0, nil },
	}}
}

func (s *actionSet) replace(found map[string]jobs.Work) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found = found
}

func (s *actionSet) find(name string) (jobs.Work, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w, ok := s.found[name]; ok {
		return w, true
	}
	w, ok := s.built[name]
	return w, ok
}

// runOne runs one job and exits 1 unless it ended well.
func runOne(ctx context.Context, e *engine, id string, found map[string]jobs.Work, o jobs.ExecutorOptions) error {
	api, err := e.client()
	if err != nil {
		return exit{exitUsage, err.Error()}
	}
	if err := api.Login(ctx); err != nil {
		return exit{exitUsage, err.Error()}
	}
	e.naming()
	o.Name, o.API, o.Actions, o.Pull, o.Threads = e.name, api, newActionSet(found, api).find, true, 1
	x := jobs.NewExecutor(o)
	lost, leave, err := e.heard(ctx, api, id, x, o.Log)
	if err != nil {
		return err
	}
	defer leave()
	if err := x.RunOne(ctx, id, lost); err != nil {
		return err
	}
	j, err := api.Get(ctx, id)
	if err != nil {
		return err
	}
	return ended(id, j)
}

// heard lets a gateway hear by heart-beats that the job is run; lost is closed
// when it may give the job to another. A server that knows no executors is told
// nothing.
func (e *engine) heard(ctx context.Context, api *cimi.Client, id string, x *jobs.Executor, log *slog.Logger) (lost <-chan struct{}, leave func(), err error) {
	hosts, lends, err := api.Queue(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(hosts) == 0 && !lends {
		return nil, func() {}, nil
	}
	remote := cimi.NewRemote(cimi.RemoteOptions{Client: api, Log: log, Status: func() jobs.ExecutorStatus {
		s := x.Status()
		s.Queue, s.Version = "pull", version()
		return s
	}})
	l, err := remote.Hold(ctx, id)
	if err != nil {
		return nil, nil, errors.Join(err, remote.Close())
	}
	return l.Lost(), func() { remote.Close() }, nil
}

// keepJobs is for how long jobs that have ended are kept.
const keepJobs = "7d"

// cleanup deletes jobs that ended long ago.
func cleanup(ctx context.Context, r *jobs.Run, api *cimi.Client) (int, error) {
	const page = 1000
	deleted := 0
	for {
		p, err := api.Query(ctx, jobs.Query{
			Filters: []string{"(state='SUCCESS' or state='FAILED' or state='CANCELED' or state='STOPPED') and created<'now-" + keepJobs + "'"},
			Last:    fmt.Sprint(page),
		})
		if err != nil {
			return 1, err
		}
		gone := 0
		for _, j := range p.Jobs {
			if j.Attempt == 0 && j.Properties == nil { // derived, not kept
				continue
			}
			if err := api.Delete(ctx, j.ID); err != nil {
				return 1, err
			}
			gone++
		}
		deleted += gone
		if gone == 0 || len(p.Jobs) < page {
			text := fmt.Sprintf("%d jobs deleted that ended more than %s ago", deleted, keepJobs)
			return 0, r.Update(jobs.Change{StatusMessage: &text})
		}
		time.Sleep(time.Millisecond)
	}
}
