package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"weir/internal/metrics"
	"weir/jobs"
	"weir/jobs/cimi"
	"weir/jobs/zookeeper"
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
	own := s.ownWork()
	s.isOwn = func(action string) bool { return own[action] != nil }
	if s.resources, err = jobs.OpenStore(jobs.StoreOptions{Streams: s.streams, Queue: queue, Own: s.isOwn, Log: s.log}); err != nil {
		return nil, err
	}
	stops = append(stops, func(context.Context) error { return s.resources.Close() })
	s.lender = jobs.NewLender(jobs.LenderOptions{Queue: s.resources.Queue(), Get: s.resources.Get, Log: s.log})
	s.hearing = time.Now()
	stops = append(stops, s.jobs.Close)
	if err := errors.Join(s.defineTransform(), s.jobs.Define(jobs.Action{Name: actionRestore, Run: func(ctx context.Context, _ string) (bool, error) {
		_, err := s.restore(ctx)
		return false, err
	}})); err != nil {
		return nil, err
	}
	changes := s.streams.Changes()
	s.serve("following the streams", nil, func() error { return s.follow(ctx, changes) })
	s.serve("upkeep of jobs", nil, func() error { return s.upkeep(ctx) })
	s.serve("distribution of jobs", nil, func() error { return s.distribute(ctx) })
	s.startOwn(ctx, own, &stops)
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

// startEngine starts the engine of derived work, which the parts that are
// started next report to.
func (s *Server) startEngine() (func(context.Context) error, error) {
	s.jobs = jobs.New(jobs.Options{Log: s.log})
	return s.jobs.Close, nil
}

// ownThreads is how many jobs of weir's own actions run at the same time.
const ownThreads = 2

// startOwn runs the jobs of weir's own actions. They have no grace at a stop:
// they begin anew after the next start.
func (s *Server) startOwn(ctx context.Context, own map[string]jobs.Work, stops *[]func(context.Context) error) {
	s.own = jobs.NewExecutor(jobs.ExecutorOptions{
		Name: s.name() + "/own", Threads: ownThreads, Queue: s.resources.OwnQueue(), API: s.resources, Grace: time.Nanosecond, Log: s.log,
		Actions: func(name string) (jobs.Work, bool) { w, ok := own[name]; return w, ok },
	})
	s.run(ctx, s.own, stops)
}

// run runs an executor until the context ends; the stop waits for its end.
func (s *Server) run(ctx context.Context, x *jobs.Executor, stops *[]func(context.Context) error) {
	ended := make(chan struct{})
	go func() { defer close(ended); x.Run(ctx) }()
	*stops = append(*stops, func(context.Context) error { <-ended; return nil })
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
		Name: s.name(), Threads: j.Threads, Queue: s.resources.Queue(), API: s.resources, Grace: j.Grace, Log: s.log,
		Timeout: j.Timeout, Timeouts: j.Timeouts,
		Actions: func(name string) (jobs.Work, bool) { w, ok := (*s.actions.Load())[name]; return w, ok },
	})
	s.run(ctx, s.executor, stops)
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
	for _, x := range []*jobs.Executor{s.executor, s.own} {
		if x != nil {
			x.Describe(w)
		}
	}
	s.jobs.Describe(w)
	jobs.Stacks(w)
}

// restoreEvery is how often jobs without an entry are looked for.
const restoreEvery = 30 * time.Second

// upkeep looks for jobs without an entry now and then, until the context ends.
func (s *Server) upkeep(ctx context.Context) error {
	restore := time.NewTicker(restoreEvery)
	defer restore.Stop()
	for {
		select {
		case <-restore.C:
		case <-ctx.Done():
			return nil
		}
		if err := s.jobs.Wake(actionRestore, allJobs); err != nil {
			return err
		}
	}
}

// restore puts jobs without an entry into their queue, and brings those back
// that were pulled by an executor that is not heard any more.
func (s *Server) restore(ctx context.Context) (int, error) {
	pulled, err := s.resources.RestorePulled(ctx, s.lender.Heard, s.hearing)
	if err != nil {
		return pulled, err
	}
	queued, err := s.resources.Restore(ctx)
	return pulled + queued, err
}

// localExecutors tells what the executors of this process do.
func (s *Server) localExecutors() []jobs.ExecutorStatus {
	var list []jobs.ExecutorStatus
	add := func(x *jobs.Executor, queue string) {
		if x != nil {
			st := x.Status()
			st.Queue, st.Version = queue, s.version
			list = append(list, st)
		}
	}
	queue := "embedded"
	if len(s.conf.Jobs.ZooKeeper) > 0 {
		queue = "zookeeper"
	}
	add(s.executor, queue)
	add(s.own, "embedded")
	return list
}

// jobStats is what the metrics tell of the job engine.
func (s *Server) jobStats() metrics.Jobs {
	remote, lost := s.lender.List()
	return metrics.Jobs{Derived: s.jobs.Stats(), Kept: s.resources.Stats(), Executors: append(s.localExecutors(), remote...), ExecutorsLost: lost}
}

// allJobs is the target of work on the jobs themselves.
const allJobs = "job"

// distribute makes the jobs of the schedules when they are due, until the
// context ends. Jobs of weir's own actions are each process's own; for the
// others one leads of all gateways that share a queue.
func (s *Server) distribute(ctx context.Context) error {
	own, shared := []jobs.Distribution{}, []jobs.Distribution{}
	for _, d := range s.conf.Jobs.Distributions() {
		if d.Action == actionExpire && !s.retains() {
			continue // there is nothing to give up, and so no job to look at
		}
		if s.isOwn(d.Action) {
			own = append(own, d)
		} else {
			shared = append(shared, d)
		}
	}
	var all sync.WaitGroup
	for _, part := range []struct {
		queue jobs.Queue
		list  []jobs.Distribution
	}{{s.resources.OwnQueue(), own}, {s.resources.Queue(), shared}} {
		if elector, ok := part.queue.(jobs.Elector); ok && len(part.list) > 0 {
			d := jobs.NewDistributor(jobs.DistributorOptions{Name: s.name(), Elector: elector, Maker: maker{s.resources}, Log: s.log})
			all.Go(func() { d.Run(ctx, part.list) })
		}
	}
	all.Wait()
	return nil
}

// A maker makes jobs as an administrator does.
type maker struct{ *jobs.Store }

func (m maker) Create(ctx context.Context, body []byte) (string, error) {
	j, err := m.Store.Create(ctx, body, jobs.Principal{Principal: "ADMIN", Type: "ROLE"})
	return j.ID, err
}

func (m maker) Query(_ context.Context, q jobs.Query) (jobs.Page, error) {
	return m.Store.Query(q, nil)
}

// name is what this process is called among executors.
func (s *Server) name() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s%s-%d", jobs.LocalPrefix, host, os.Getpid())
}

// jobService answers the requests of job engines.
func (s *Server) jobService() *cimi.Service {
	o := cimi.Options{Store: s.resources, Derived: s.jobs, Stacks: s.Stacks, Lender: s.lender, Local: s.localExecutors, Hosts: s.conf.Jobs.ZooKeeper}
	for _, u := range s.conf.Jobs.Users {
		o.Users = append(o.Users, cimi.User{Name: u.Username, Password: u.Password.Value(), Admin: u.Admin})
	}
	return cimi.NewService(o)
}
