package server

import (
	"context"
	"errors"
	"io"
	"time"

	"weir/jobs"
	"weir/jobs/cimi"
	"weir/jobs/zookeeper"
)

// Work on the jobs themselves, which nobody asks for: how often.
const (
	restoreEvery = 30 * time.Second
	cleanupEvery = time.Hour
	keepEnded    = 7 * 24 * time.Hour // jobs that have ended
)

// startJobs opens the job resources and starts the derived work: transforms
// follow from the streams, so they are not kept, and made again at each start.
func (s *Server) startJobs() (_ func(context.Context) error, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	var stops []func(context.Context) error
	stop := func(stopping context.Context) error {
		cancel()
		var errs []error
		for i := len(stops) - 1; i >= 0; i-- {
			errs = append(errs, stops[i](stopping))
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, stop(context.Background()))
		}
	}()
	queue, err := s.openQueue(&stops)
	if err != nil {
		return nil, err
	}
	if s.resources, err = jobs.OpenStore(jobs.StoreOptions{Streams: s.streams, Queue: queue, Log: s.log}); err != nil {
		return nil, err
	}
	stops = append(stops, func(context.Context) error { return s.resources.Close() })
	s.jobs = jobs.New(jobs.Options{Log: s.log})
	stops = append(stops, s.jobs.Close)
	if err := errors.Join(s.defineTransform(), s.defineUpkeep()); err != nil {
		return nil, err
	}
	changes := s.streams.Changes()
	s.serve("following the streams", nil, func() error { return s.follow(ctx, changes) })
	s.serve("upkeep of jobs", nil, func() error { return s.upkeep(ctx) })
	return stop, s.startExecutor(ctx, &stops)
}

// openQueue gives the queue in ZooKeeper, nil for the embedded one.
func (s *Server) openQueue(stops *[]func(context.Context) error) (jobs.Queue, error) {
	if len(s.conf.Jobs.ZooKeeper) == 0 {
		return nil, nil
	}
	c, err := zookeeper.Open(zookeeper.Options{Hosts: s.conf.Jobs.ZooKeeper, Log: s.log})
	if err != nil {
		return nil, err
	}
	*stops = append(*stops, func(context.Context) error { return c.Close() })
	return c, nil
}

// startExecutor runs jobs in this process when there is a folder of actions.
func (s *Server) startExecutor(ctx context.Context, stops *[]func(context.Context) error) error {
	j := s.conf.Jobs
	if j.Actions == "" {
		return nil
	}
	if _, err := s.Reload(); err != nil {
		return err
	}
	s.executor = jobs.NewExecutor(jobs.ExecutorOptions{
		Name: "weir", Threads: j.Threads, Queue: s.resources.Queue(), API: s.resources, Timeout: j.Timeout, Grace: j.Grace, Log: s.log,
		Actions: func(name string) (jobs.Work, bool) { w, ok := (*s.actions.Load())[name]; return w, ok },
	})
	ended := make(chan struct{})
	go func() { defer close(ended); s.executor.Run(ctx) }()
	*stops = append(*stops, func(context.Context) error { <-ended; return nil })
	return nil
}

// Reload reads the folder of actions anew, and tells how many there are. When it
// cannot be read they stay as they are.
func (s *Server) Reload() (int, error) {
	if s.conf.Jobs.Actions == "" {
		return 0, nil
	}
	found, err := jobs.Folder(s.conf.Jobs.Actions, s.log)
	if err == nil {
		s.actions.Store(&found)
	}
	return len(found), err
}

// Stacks writes what each thread of the job engine does, and all stacks.
func (s *Server) Stacks(w io.Writer) {
	if s.executor != nil {
		s.executor.Describe(w)
	}
	s.jobs.Describe(w)
	jobs.Stacks(w)
}

// Names of the upkeep's actions, and the target that they have.
const (
	actionRestore = "restore_jobs"
	actionCleanup = "cleanup_jobs"
	allJobs       = "job"
)

// defineUpkeep makes the actions known that look after the jobs themselves.
func (s *Server) defineUpkeep() error {
	return errors.Join(
		s.jobs.Define(jobs.Action{Name: actionRestore, Run: func(ctx context.Context, _ string) (bool, error) {
			_, err := s.resources.Restore(ctx)
			return false, err
		}}),
		s.jobs.Define(jobs.Action{Name: actionCleanup, Run: func(ctx context.Context, _ string) (bool, error) {
			_, err := s.resources.Cleanup(ctx, keepEnded)
			return false, err
		}}),
	)
}

// upkeep wakes those actions now and then, until the context ends.
func (s *Server) upkeep(ctx context.Context) error {
	restore, cleanup := time.NewTicker(restoreEvery), time.NewTicker(cleanupEvery)
	defer restore.Stop()
	defer cleanup.Stop()
	for {
		action := actionRestore
		select {
		case <-restore.C:
		case <-cleanup.C:
			action = actionCleanup
		case <-ctx.Done():
			return nil
		}
		if err := s.jobs.Wake(action, allJobs); err != nil {
			return err
		}
	}
}

// jobService answers the requests of job engines.
func (s *Server) jobService() *cimi.Service {
	o := cimi.Options{Store: s.resources, Derived: s.jobs, Stacks: s.Stacks}
	for _, u := range s.conf.Jobs.Users {
		o.Users = append(o.Users, cimi.User{Name: u.Username, Password: u.Password.Value(), Admin: u.Admin})
	}
	return cimi.NewService(o)
}
