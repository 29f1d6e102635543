package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// execute runs an executor on a store until the test ends; stop stops it, does
// something meanwhile, and waits for its end.
func execute(t *testing.T, s *Store, actions map[string]Work, change ...func(*ExecutorOptions)) (x *Executor, stop func(meanwhile ...func()) time.Duration) {
	t.Helper()
	o := ExecutorOptions{Name: "test", Threads: 2, Queue: s.Queue(), API: s, Pause: 5 * time.Millisecond, Poll: 10 * time.Millisecond,
		Actions: func(name string) (Work, bool) { w, ok := actions[name]; return w, ok }}
	for _, c := range change {
		c(&o)
	}
	x = NewExecutor(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { x.Run(ctx); close(ended) }()
	stop = func(meanwhile ...func()) time.Duration {
		began := time.Now()
		cancel()
		for _, do := range meanwhile {
			do()
		}
		hear(t, "the executor's end", ended, o.Grace+2*patience)
		return time.Since(began)
	}
	t.Cleanup(func() { stop() })
	return x, stop
}

// ended waits for a job to come to a state that satisfies.
func reaches(t *testing.T, s *Store, id string, what func(Job) bool) Job {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		j, err := s.Get(t.Context(), id)
		if err == nil && what(j) {
			return j
		}
		if time.Now().After(end) {
			t.Fatalf("the job stays %+v, %v", j, err)
		}
	}
}

func final(j Job) bool { return j.State.Final() }

func emptied(t *testing.T, s *Store) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if n, _, _ := s.queue.Counts(); n == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("entries are left: %v", s.queue.all())
		}
	}
}

func TestExecutorRunsActions(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	half, msg := 50, "half way"
	execute(t, s, map[string]Work{
		"ok": func(_ context.Context, r *Run) (int, error) {
			return 0, r.Update(Change{Progress: &half, StatusMessage: &msg})
		},
		"code":  func(context.Context, *Run) (int, error) { return 3, nil },
		"fails": func(context.Context, *Run) (int, error) { return 0, errors.New("boom") },
		"panic": func(context.Context, *Run) (int, error) { panic("ouch") },
	})
	for action, want := range map[string]struct {
		state State
		code  int
		says  string
	}{
		"ok": {Success, 0, "half way"}, "code": {Failed, 3, ""}, "fails": {Failed, 1, "boom"},
		"panic": {Failed, 1, "ouch"}, "nothing": {Failed, 1, "Not implemented action: nothing"},
	} {
		j := create(t, s, `{"action":"`+action+`"}`)
		j = reaches(t, s, j.ID, final)
		if j.State != want.state || *j.ReturnCode != want.code || !strings.Contains(j.StatusMessage, want.says) || j.Progress != 100 {
			t.Errorf("%s: %+v, return code %d", action, j, *j.ReturnCode)
		}
	}
	emptied(t, s)
}

func TestEntriesWithoutWorkAreConsumed(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	var runs atomic.Int64
	execute(t, s, map[string]Work{"a": func(context.Context, *Run) (int, error) { runs.Add(1); return 0, nil }})
	if _, err := s.Queue().Put(t.Context(), "job/ghost", 1); err != nil {
		t.Fatal(err)
	}
	j := create(t, s, `{"action":"a"}`)
	reaches(t, s, j.ID, final)
	if _, err := s.Queue().Put(t.Context(), j.ID, 1); err != nil { // again, as after a crash
		t.Fatal(err)
	}
	emptied(t, s)
	if runs.Load() != 1 {
		t.Errorf("%d runs, want 1", runs.Load())
	}
}

func TestStopAndCancelReachTheAction(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*Store, string) (Job, error){
		"stop":   func(s *Store, id string) (Job, error) { return s.Stop(context.Background(), id) },
		"cancel": func(s *Store, id string) (Job, error) { return s.Cancel(context.Background(), id) },
		"delete": func(s *Store, id string) (Job, error) { return Job{}, s.Delete(context.Background(), id) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := openOn(t, memory())
			told := make(chan struct{})
			execute(t, s, map[string]Work{"long": func(ctx context.Context, _ *Run) (int, error) {
				<-ctx.Done()
				close(told)
				return 0, ctx.Err()
			}})
			j := create(t, s, `{"action":"long"}`)
			reaches(t, s, j.ID, func(j Job) bool { return j.State == Running })
			if _, err := f(s, j.ID); err != nil {
				t.Fatal(err)
			}
			hear(t, "the action's end", told, patience)
			emptied(t, s)
			if now, err := s.Get(t.Context(), j.ID); err == nil && now.State != Stopped && now.State != Canceled {
				t.Errorf("the job is %s", now.State)
			}
		})
	}
}

func TestTimeLimit(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	never := func(ctx context.Context, _ *Run) (int, error) { <-ctx.Done(); return 0, nil }
	slow := func(ctx context.Context, _ *Run) (int, error) { time.Sleep(40 * time.Millisecond); return 0, ctx.Err() }
	execute(t, s, map[string]Work{"long": never, "longer": never, "slow": slow}, func(o *ExecutorOptions) {
		o.Timeout, o.Timeouts = 20*time.Millisecond, map[string]time.Duration{"longer": 30 * time.Millisecond, "slow": 0}
	})
	for action, says := range map[string]string{"long": "action long took longer than 20ms", "longer": "action longer took longer than 30ms"} {
		if j := reaches(t, s, create(t, s, `{"action":"`+action+`"}`).ID, final); j.State != Failed || !strings.Contains(j.StatusMessage, says) {
			t.Errorf("%+v", j)
		}
	}
	if j := reaches(t, s, create(t, s, `{"action":"slow"}`).ID, final); j.State != Success {
		t.Errorf("an action without a bound: %+v", j)
	}
}

// TestGrace: an idle executor stops at once; a busy one takes no more, waits,
// and releases what does not end.
func TestGrace(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	_, stop := execute(t, s, nil)
	time.Sleep(20 * time.Millisecond)
	if took := stop(); took > time.Minute { // half the grace
		t.Errorf("an idle executor stopped after %v", took)
	}
	stopping := make(chan struct{})
	work := map[string]Work{
		"short": func(ctx context.Context, _ *Run) (int, error) {
			select {
			case <-stopping:
			case <-ctx.Done():
			}
			return 0, nil
		},
		"long": func(ctx context.Context, _ *Run) (int, error) { <-ctx.Done(); return 0, ctx.Err() },
	}
	short, long := create(t, s, `{"action":"short"}`), create(t, s, `{"action":"long"}`)
	const grace = 3 * time.Second
	_, stop = execute(t, s, work, func(o *ExecutorOptions) { o.Grace = grace })
	for _, j := range []Job{short, long} {
		reaches(t, s, j.ID, func(j Job) bool { return j.State == Running })
	}
	third := create(t, s, `{"action":"short"}`)
	if took := stop(func() { close(stopping) }); took < grace || took > time.Minute {
		t.Errorf("a busy executor stopped after %v", took)
	}
	for id, want := range map[string]State{short.ID: Success, long.ID: Running, third.ID: Queued} {
		if j, _ := s.Get(t.Context(), id); j.State != want {
			t.Errorf("%s is %s after the stop, want %s", j.Action, j.State, want)
		}
	}
	again := make(chan bool, 1)
	work["long"] = func(_ context.Context, r *Run) (int, error) { again <- r.Again; return 0, nil }
	execute(t, s, work)
	if j := reaches(t, s, long.ID, final); j.Attempt != 2 || !hear(t, "the second attempt", again, patience) {
		t.Errorf("the released job: %+v", j)
	}
	reaches(t, s, third.ID, final)
	emptied(t, s)
}

// An awayAPI is a store that cannot be reached for one edit.
type awayAPI struct {
	*Store
	away atomic.Bool
}

func (a *awayAPI) Edit(ctx context.Context, id string, c Change) (Job, error) {
	if a.away.CompareAndSwap(true, false) {
		return Job{}, errors.New("no route to host")
	}
	return a.Store.Edit(ctx, id, c)
}

// TestTheAPIAway: a job whose end cannot be stored is released and begun
// again; the threads live on.
func TestTheAPIAway(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	api := &awayAPI{Store: s}
	var runs atomic.Int64
	execute(t, s, map[string]Work{"a": func(context.Context, *Run) (int, error) {
		if runs.Add(1) == 1 {
			api.away.Store(true)
		}
		return 0, nil
	}}, func(o *ExecutorOptions) { o.API = api; o.Threads = 1 })
	j := reaches(t, s, create(t, s, `{"action":"a"}`).ID, final)
	if j.State != Success || j.Attempt != 2 || runs.Load() != 2 {
		t.Errorf("after %d runs: %+v", runs.Load(), j)
	}
	emptied(t, s)
}

func TestAttemptsAreBounded(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	j := create(t, s, `{"action":"a"}`)
	for range 3 {
		edit(t, s, j.ID, `{"state":"RUNNING"}`)
	}
	execute(t, s, map[string]Work{"a": func(context.Context, *Run) (int, error) { return 0, nil }}, func(o *ExecutorOptions) { o.Attempts = 3 })
	if j = reaches(t, s, j.ID, final); j.State != Failed || !strings.Contains(j.StatusMessage, "3 attempts") {
		t.Errorf("%+v", j)
	}
}

// script writes an executable.
func script(t *testing.T, dir, name, text string) {
	t.Helper()
	// It can be run at once: a process that another test makes meanwhile has
	// not got it open for writing.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestExecutables(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script(t, dir, "good.sh", `read job; case "$job" in *'"action":"good"'*) ;; *) exit 9;; esac
echo '{"progress":40}'; echo; echo garbage; echo '{"progress":"x"}'; echo '{"progress":900}'
echo '{"statusMessage":"attempt '$WEIR_JOB_ATTEMPT' again '$WEIR_JOB_AGAIN'","state":"FAILED","attempt":77}'`)
	script(t, dir, "bad.sh", `echo 'no such sensor' >&2; exit 4`)
	script(t, dir, "early.sh", `kill -9 $$`)
	script(t, dir, "long.sh", `sleep 60 & wait`)
	script(t, dir, "flood.sh", `head -c 3000000 /dev/zero | tr '\0' x; exit 0`)
	if err := os.WriteFile(filepath.Join(dir, "README"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	actions, err := Folder(dir, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil || len(actions) != 5 || !strings.Contains(log.String(), "README") {
		t.Fatalf("%d actions, %v, log %s", len(actions), err, &log)
	}
	s, _ := openOn(t, memory())
	execute(t, s, actions, func(o *ExecutorOptions) { o.Threads = 5 })
	long := create(t, s, `{"action":"long"}`)
	for action, want := range map[string]struct {
		state State
		code  int
		says  string
	}{
		"good": {Success, 0, "attempt 1 again false"}, "bad": {Failed, 4, "no such sensor"}, "early": {Failed, 1, "killed"},
		"flood": {Success, 0, ""},
	} {
		j := reaches(t, s, create(t, s, `{"action":"`+action+`"}`).ID, final)
		if j.State != want.state || *j.ReturnCode != want.code || !strings.Contains(j.StatusMessage, want.says) {
			t.Errorf("%s: %+v, return code %d", action, j, *j.ReturnCode)
		}
	}
	reaches(t, s, long.ID, func(j Job) bool { return j.State == Running })
	if _, err := s.Cancel(t.Context(), long.ID); err != nil {
		t.Fatal(err)
	}
	emptied(t, s)
	script(t, dir, "good.py", "exit 0")
	if _, err := Folder(dir, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "good") {
		t.Errorf("two files of one action: %v", err)
	}
	if _, err := Folder(filepath.Join(dir, "none"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a folder that is not there was taken")
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	x, _ := execute(t, s, map[string]Work{"long": func(ctx context.Context, _ *Run) (int, error) { <-ctx.Done(); return 0, nil }})
	j := create(t, s, `{"action":"long"}`)
	reaches(t, s, j.ID, func(j Job) bool { return j.State == Running })
	var out bytes.Buffer
	x.Stacks(&out)
	if !strings.Contains(out.String(), "runs "+j.ID) || !strings.Contains(out.String(), fmt.Sprintf("%q:%q", "job", j.ID)) || !strings.Contains(out.String(), "waits since "+stamp(time.Now())[:2]) {
		t.Errorf("the description lacks the job or its stack:\n%s", out.String())
	}
	s.Cancel(t.Context(), j.ID)
}

// A storeMaker lets a distributor work on a store.
type storeMaker struct{ *Store }

func (m storeMaker) Create(ctx context.Context, body []byte) (string, error) {
	j, err := m.Store.Create(ctx, body, admin)
	return j.ID, err
}

func (m storeMaker) Query(_ context.Context, q Query) (Page, error) { return m.Store.Query(q, nil) }

func TestDistributor(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	run := func(d Distribution) (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			NewDistributor(DistributorOptions{Name: "d", Elector: s.queue, Maker: storeMaker{s}}).Run(ctx, []Distribution{d})
			close(ended)
		}()
		return func() { cancel(); hear(t, "the distributor's end", ended, patience) }
	}
	count := func(filter string) int {
		p, err := s.Query(Query{Filters: []string{filter}, Last: "0"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p.Count
	}
	execute(t, s, map[string]Work{"tick": func(context.Context, *Run) (int, error) { return 0, nil }})
	stop := run(Distribution{Action: "tick", Schedule: Every(30 * time.Millisecond), Target: "x", Priority: 5})
	for end := time.Now().Add(patience); count("action='tick' and state='SUCCESS'") < 3; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d jobs were made", count("action='tick'"))
		}
	}
	stop()
	stop = run(Distribution{Action: "daily", Schedule: Every(time.Hour)})
	awaitTrue(t, func() bool { return count("action='daily'") > 0 })
	stop()
	stop = run(Distribution{Action: "daily", Schedule: Every(time.Hour)}) // a new leader does not begin anew
	time.Sleep(100 * time.Millisecond)
	stop()
	if n := count("action='daily'"); n != 1 {
		t.Errorf("%d jobs in a day, want 1", n)
	}
}

// A plainQueue hides that a queue is the store's own.
type plainQueue struct{ Queue }

func TestRestoreAndCleanup(t *testing.T) {
	t.Parallel()
	other, _ := openOn(t, memory())
	s, _ := openOn(t, memory())
	down := errors.New("ZooKeeper is away")
	q := &failingQueue{Queue: plainQueue{other.Queue()}, err: down}
	s.o.Queue = q
	now := time.Now()
	s.o.Now = func() time.Time { return now }
	ctx := t.Context()
	a := create(t, s, `{"action":"a","priority":7}`) // kept, and not queued
	q.err = nil
	b := create(t, s, `{"action":"b"}`)
	done := create(t, s, `{"action":"c"}`)
	edit(t, s, done.ID, `{"state":"SUCCESS"}`)
	for range 2 { // entries c and b are consumed, as by an engine that fails
		l, err := takeSoon(q)
		if err != nil {
			t.Fatal(err)
		}
		if l.ID() == done.ID {
			l.Consume(ctx)
		} else {
			defer l.Release(ctx, 0)
		}
	}
	if n, err := s.Restore(ctx); n != 0 || err != nil {
		t.Errorf("%d restored at once, %v", n, err)
	}
	now = now.Add(time.Minute)
	for want := range 2 { // the second finds nothing
		if n, err := s.Restore(ctx); n != 1-want || err != nil {
			t.Errorf("%d restored, %v; want %d", n, err, 1-want)
		}
	}
	got, _ := s.Get(ctx, a.ID)
	if !strings.HasPrefix(got.Properties[pathProperty], "/job/entries/entry-007-") {
		t.Errorf("restored as %v", got.Properties)
	}
	if entries, _ := q.Entries(ctx); len(entries) != 2 {
		t.Errorf("the entries are %v, want those of a and b (%s)", entries, b.ID)
	}
	if n, _ := s.Cleanup(ctx, time.Hour); n != 0 {
		t.Errorf("%d jobs cleaned up within the hour", n)
	}
	now = now.Add(2 * time.Hour)
	if n, err := s.Cleanup(ctx, time.Hour); n != 1 || err != nil {
		t.Errorf("%d jobs cleaned up, %v; want the ended one", n, err)
	}
	q.err = down
	if _, err := s.Restore(ctx); !errors.Is(err, down) {
		t.Errorf("restore without the queue: %v", err)
	}
}

type failingQueue struct {
	Queue
	err error
}

func (q *failingQueue) Put(ctx context.Context, id string, priority int) (string, error) {
	if q.err != nil {
		return "", q.err
	}
	return q.Queue.Put(ctx, id, priority)
}

func (q *failingQueue) Entries(ctx context.Context) (map[string]string, error) {
	if q.err != nil {
		return nil, q.err
	}
	return q.Queue.Entries(ctx)
}
