package jobs

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestPull: a job of mode pull has no entry, is run by who asks for it, and by
// one alone.
func TestPull(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	j := create(t, s, `{"action":"a","executionMode":"pull"}`)
	if n, _, _ := s.queue.Counts(); n != 0 || j.Properties != nil {
		t.Errorf("a job of mode pull has an entry: %v", j.Properties)
	}
	s.o.Now = func() time.Time { return time.Now().Add(time.Hour) }
	if n, err := s.Restore(t.Context()); n != 0 || err != nil {
		t.Errorf("%d jobs were put into the queue, %v", n, err)
	}
	began, end := make(chan struct{}), make(chan struct{})
	x := NewExecutor(ExecutorOptions{Name: "edge", API: s, Pull: true, Actions: func(string) (Work, bool) {
		return func(context.Context, *Run) (int, error) { close(began); <-end; return 0, nil }, true
	}})
	first := make(chan error, 1)
	go func() { first <- x.RunOne(t.Context(), j.ID, nil) }()
	hear(t, "the beginning of a pulled job", began, patience)
	if err := x.RunOne(t.Context(), j.ID, nil); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "edge") {
		t.Errorf("a second run of it: %v", err)
	}
	close(end)
	if err := hear(t, "the end of a pulled job", first, patience); err != nil {
		t.Error(err)
	}
	if j := reaches(t, s, j.ID, final); j.State != Success || j.Executor != "edge" {
		t.Errorf("%+v", j)
	}
	if err := x.RunOne(t.Context(), j.ID, nil); err != nil {
		t.Errorf("one that has ended: %v", err)
	}
	if err := x.RunOne(t.Context(), "job/none", nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
}

// TestPulledJobsComeBack: a job whose executor is not heard any more is QUEUED
// again, and one of an engine without heart-beats is CANCELED after an hour.
func TestPulledJobsComeBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		executor string
		heard    bool
		after    time.Duration
		want     State
		says     string
	}{
		"heard":          {"edge", true, 2 * time.Hour, Running, ""},
		"just begun":     {"edge", false, 20 * time.Second, Running, ""},
		"dead":           {"edge", false, 31 * time.Second, Queued, "executor edge is not heard"},
		"silent":         {"", false, 59 * time.Minute, Running, ""},
		"silent an hour": {"", false, 61 * time.Minute, Canceled, "1h"},
	} {
		s, _ := openOn(t, memory())
		began := time.Now()
		j := create(t, s, `{"action":"a","executionMode":"pull"}`)
		push := create(t, s, `{"action":"a"}`)
		for _, id := range []string{j.ID, push.ID} {
			edit(t, s, id, `{"state":"RUNNING","executor":"`+c.executor+`"}`)
		}
		s.o.Now = func() time.Time { return began.Add(c.after) }
		heard := func(who string) bool { return c.heard && who == "edge" }
		n, err := s.RestorePulled(t.Context(), heard, began.Add(c.after))
		if n != 0 || err != nil {
			t.Errorf("%s: %d came back to a gateway that has just begun, %v", name, n, err)
		}
		if _, err := s.RestorePulled(t.Context(), heard, began.Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
		now, err := s.Get(t.Context(), j.ID)
		if err != nil || now.State != c.want || !strings.Contains(now.StatusMessage, c.says) {
			t.Errorf("%s: %s %q, want %s, %v", name, now.State, now.StatusMessage, c.want, err)
		}
		if other, _ := s.Get(t.Context(), push.ID); other.State != Running {
			t.Errorf("%s: a job of the queue is %s", name, other.State)
		}
		if c.want == Queued {
			x := NewExecutor(ExecutorOptions{Name: "other", API: s, Pull: true, Actions: func(string) (Work, bool) {
				return func(_ context.Context, r *Run) (int, error) {
					if !r.Again || r.Job.Attempt != 2 {
						t.Errorf("begun again it is %+v", r)
					}
					return 0, nil
				}, true
			}})
			if err := x.RunOne(t.Context(), j.ID, nil); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestPullIsGivenUp: with its hold an executor loses its job, and writes
// nothing more for it.
func TestPullIsGivenUp(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	j := create(t, s, `{"action":"a","executionMode":"pull"}`)
	lost := make(chan struct{})
	x := NewExecutor(ExecutorOptions{Name: "edge", API: s, Pull: true, Actions: func(string) (Work, bool) {
		return func(ctx context.Context, _ *Run) (int, error) { close(lost); <-ctx.Done(); return 0, nil }, true
	}})
	if err := x.RunOne(t.Context(), j.ID, lost); !errors.Is(err, ErrLost) {
		t.Errorf("a run that lost its hold: %v", err)
	}
	if now, _ := s.Get(t.Context(), j.ID); now.State != Running {
		t.Errorf("it wrote %s", now.State)
	}
}

// TestMixed: a job of mode mixed whose first attempt fails leaves the queue for
// who pulls it.
func TestMixed(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	fail := map[string]Work{"a": func(context.Context, *Run) (int, error) { return 3, errors.New("not from here") }}
	execute(t, s, fail)
	j := create(t, s, `{"action":"a","executionMode":"mixed"}`)
	j = reaches(t, s, j.ID, func(j Job) bool { return j.Mode == ModePull })
	if j.State != Queued || !strings.Contains(j.StatusMessage, "not from here") {
		t.Errorf("%+v", j)
	}
	emptied(t, s)
	if _, err := s.Queue().Put(t.Context(), j.ID, 1); err != nil { // as after a crash before the consume
		t.Fatal(err)
	}
	emptied(t, s)
	x := NewExecutor(ExecutorOptions{Name: "edge", API: s, Pull: true, Actions: func(name string) (Work, bool) { return fail[name], true }})
	if err := x.RunOne(t.Context(), j.ID, nil); err != nil {
		t.Error(err)
	}
	if j := reaches(t, s, j.ID, final); j.State != Failed || *j.ReturnCode != 3 || j.Attempt != 2 {
		t.Errorf("pulled: %+v", j)
	}
}

// TestVersions: jobs of an older version fail, those of a later one are left to
// others, with a pause.
func TestVersions(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	var runs atomic.Int64
	execute(t, s, map[string]Work{"a": func(context.Context, *Run) (int, error) { runs.Add(1); return 0, nil }}, func(o *ExecutorOptions) { o.Pause, o.MaxPause = time.Hour, time.Hour })
	later := create(t, s, `{"action":"a","version":3,"priority":1}`)
	if j := reaches(t, s, create(t, s, `{"action":"a","version":1}`).ID, final); j.State != Failed || j.StatusMessage != "Job v1 is not supported by Job engine v2" {
		t.Errorf("%+v", j)
	}
	if j := reaches(t, s, create(t, s, `{"action":"a","version":2}`).ID, final); j.State != Success {
		t.Errorf("%+v", j)
	}
	if j, err := s.Get(t.Context(), later.ID); err != nil || j.State != Queued || runs.Load() != 1 {
		t.Errorf("the later one is %+v; %d runs", j, runs.Load())
	}
	awaitTrue(t, func() bool { n, _, _ := s.queue.Counts(); return n == 1 }) // that of the later one
}

// TestCancelOfChildren: who cancels a job cancels those whose parent it is,
// also in a circle.
func TestCancelOfChildren(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	parent := create(t, s, `{"action":"a"}`)
	child := create(t, s, `{"action":"a","parentJob":"`+parent.ID+`"}`)
	grandchild := create(t, s, `{"action":"a","parentJob":"`+child.ID+`"}`)
	done := create(t, s, `{"action":"a","parentJob":"`+parent.ID+`"}`)
	edit(t, s, done.ID, `{"state":"SUCCESS"}`)
	edit(t, s, parent.ID, `{"parentJob":"`+grandchild.ID+`"}`)
	if _, err := s.Cancel(t.Context(), parent.ID); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]State{parent.ID: Canceled, child.ID: Canceled, grandchild.ID: Canceled, done.ID: Success} {
		if j, err := s.Get(t.Context(), id); err != nil || j.State != want {
			t.Errorf("%s is %s, want %s; %v", id, j.State, want, err)
		}
	}
}

// TestSpellings: names go from one engine's spelling to the other's and back.
func TestSpellings(t *testing.T) {
	t.Parallel()
	for camel, kebab := range map[string]string{"targetResource": "target-resource", "timeOfStatusChange": "time-of-status-change", "id": "id", "": "", "targetResource/href": "target-resource/href"} {
		if Camel(kebab) != camel || Kebab(camel) != kebab || Camel(camel) != camel {
			t.Errorf("%s and %s: %s, %s", camel, kebab, Camel(kebab), Kebab(camel))
		}
	}
	if Camel("a--b-") != "aB" {
		t.Error(Camel("a--b-"))
	}
}
