package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir/internal/vfs"
	"weir/streams"
)

// admin owns the tests' jobs.
var admin = Principal{Principal: "ADMIN", Type: "ROLE"}

func memory() *vfs.Mem { return vfs.NewMem(1 << 30) }

// openOn opens a store of jobs on a file system.
func openOn(t testing.TB, fs vfs.FS) (*Store, func()) {
	t.Helper()
	kept, err := streams.Open("data", streams.Options{FS: fs, SegmentBytes: 64 << 10, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(StoreOptions{Streams: kept})
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	end := func() { once.Do(func() { s.Close(); kept.Close() }) }
	t.Cleanup(end)
	return s, end
}

func create(t testing.TB, s *Store, body string) Job {
	t.Helper()
	j, err := s.Create(t.Context(), []byte(body), admin)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func edit(t testing.TB, s *Store, id, body string) Job {
	t.Helper()
	j, err := s.EditJSON(t.Context(), id, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestAJobsLife(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	j := create(t, s, `{"action":"a","targetResource":{"href":"x/1"},"priority":50,"state":"SUCCESS","id":"job/mine"}`)
	if j.State != Queued || j.Progress != 0 || j.ID == "job/mine" || !jobID.MatchString(j.ID) ||
		len(j.Affected) != 1 || j.Affected[0].Href != "x/1" || j.Properties[pathProperty] != "/job/entries/entry-050-0000000000" || j.ACL.Owner != admin {
		t.Errorf("created %+v", j)
	}
	j = edit(t, s, j.ID, `{"state":"RUNNING"}`)
	if j.Attempt != 1 || j.Started == "" || j.Priority != nil {
		t.Errorf("started %+v", j)
	}
	j = edit(t, s, j.ID, `{"progress":50,"statusMessage":"half"}`)
	if j.Progress != 50 || j.TimeOfStatus != j.Updated || j.State != Running {
		t.Errorf("half way %+v", j)
	}
	j = edit(t, s, j.ID, `{"state":"SUCCESS","returnCode":10000}`)
	if j.Progress != 100 || *j.ReturnCode != 10000 || j.Duration == nil {
		t.Errorf("ended %+v", j)
	}
	for _, body := range []string{`{"state":"RUNNING"}`, `{"progress":1}`, `{}`} {
		if _, err := s.EditJSON(t.Context(), j.ID, []byte(body)); !errors.Is(err, ErrConflict) {
			t.Errorf("edit %s after the end: %v", body, err)
		}
	}
	if err := s.Delete(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), j.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("get after delete: %v", err)
	}
	if entries, _, _ := s.queue.Counts(); entries != 0 {
		t.Errorf("%d entries after delete", entries)
	}
}

func TestAnExecutorThatLostTheJobIsRefused(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	j := create(t, s, `{"action":"a"}`)
	edit(t, s, j.ID, `{"state":"RUNNING","attempt":0}`) // of the first
	edit(t, s, j.ID, `{"state":"RUNNING","attempt":1}`) // the second took it over
	for _, late := range []string{`{"state":"SUCCESS","attempt":1}`, `{"progress":3,"attempt":1}`, `{"state":"RUNNING","attempt":0}`} {
		if _, err := s.EditJSON(t.Context(), j.ID, []byte(late)); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: %v, want a conflict", late, err)
		}
	}
	if j = edit(t, s, j.ID, `{"state":"SUCCESS","attempt":2}`); j.State != Success || j.Attempt != 2 {
		t.Errorf("ended %+v", j)
	}
}

func TestStopAndCancel(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	ctx := t.Context()
	j := create(t, s, `{"action":"a"}`)
	if j, _ = s.Stop(ctx, j.ID); j.State != Queued {
		t.Errorf("a queued job stopped is %s", j.State)
	}
	run := edit(t, s, j.ID, `{"state":"RUNNING"}`)
	if j, _ = s.Stop(ctx, j.ID); j.State != Stopped || j.Updated != run.Updated {
		t.Errorf("a running job stopped is %+v", j)
	}
	if j, _ = s.Cancel(ctx, j.ID); j.State != Canceled || j.Progress != 100 {
		t.Errorf("canceled: %+v", j)
	}
	if _, err := s.Cancel(ctx, "job/none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("cancel of nothing: %v", err)
	}
}

func TestBadJobsAreRefusedByName(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	for body, says := range map[string]string{
		``: "no JSON", `[]`: "no JSON", `{`: "no JSON", `null`: "no JSON", `{}`: "action",
		`{"action":" "}`: "action", `{"action":1}`: "action", `{"action":"a","colour":"red"}`: `"colour"`,
		`{"action":"a","progress":101}`: "progress", `{"action":"a","progress":"x"}`: "progress",
		`{"action":"a","priority":1000}`: "priority", `{"action":"a","priority":-1}`: "priority",
		`{"action":"a","state":"ASLEEP"}`: "", `{"action":"a","parentJob":"x"}`: "job",
		`{"action":"a","targetResource":{"href":""}}`: "resource", `{"action":null}`: "null",
		`{"action":"a","acl":{"owner":{"principal":"x","type":"GOD"}}}`: "acl",
		`{"action":"a","targetResource":"x"}`:                           "targetResource",
	} {
		_, err := s.Create(t.Context(), []byte(body), admin)
		if says == "" {
			if err != nil { // the server sets the state, whatever was sent
				t.Errorf("create %s: %v", body, err)
			}
		} else if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("create %s: %v; want it to name %s", body, err, says)
		}
	}
	j := create(t, s, `{"action":"a","parentJob":"job/0b5fb4d1-0e2e-4f0a-9d52-6a0e3f3a4d11"}`)
	for body, says := range map[string]string{
		`{"state":"ASLEEP"}`: "ASLEEP", `{"action":"b"}`: "action", `{"targetResource":{"href":"other"}}`: "targetResource", `{"x":1}`: `"x"`,
	} {
		if _, err := s.EditJSON(t.Context(), j.ID, []byte(body)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("edit %s: %v", body, err)
		}
	}
	k := create(t, s, `{"action":"a","targetResource":{"href":"x"}}`)
	if _, err := s.EditJSON(t.Context(), k.ID, []byte(`{"affectedResources":[{}]}`)); !errors.Is(err, ErrInvalid) {
		t.Errorf("a resource without href took the one's that was there: %v", err)
	}
	after, _ := s.Get(t.Context(), j.ID)
	if after.State != Queued || after.Updated != j.Updated {
		t.Errorf("a refused edit changed the job: %+v", after)
	}
}

func TestConcurrentEditsAreAllKept(t *testing.T) {
	t.Parallel()
	fs := memory()
	s, end := openOn(t, fs)
	j := create(t, s, `{"action":"a"}`)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, err := s.EditJSON(context.Background(), j.ID, []byte(`{"state":"RUNNING"}`)); err != nil {
				t.Error(err)
			}
			if _, err := s.Create(context.Background(), fmt.Appendf(nil, `{"action":"n%d"}`, i), admin); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	end()
	s, _ = openOn(t, fs)
	if got, _ := s.Get(t.Context(), j.ID); got.Attempt != 20 || len(s.jobs) != 21 {
		t.Errorf("after a restart: attempt %d of %d jobs, want 20 and 21", got.Attempt, len(s.jobs))
	}
}

// TestNothingAnsweredIsLost runs random changes, kills the power at a random
// moment and compares with a model of what was answered.
func TestNothingAnsweredIsLost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		fs := memory()
		s, end := openOn(t, fs)
		model := map[string]State{}
		entries := map[string]string{}
		ctx := t.Context()
		var ids []string
		for range rapid.IntRange(1, 30).Draw(r, "steps") {
			switch rapid.IntRange(0, 5).Draw(r, "step") {
			case 0, 1:
				j := create(t, s, fmt.Sprintf(`{"action":"a","priority":%d}`, rapid.IntRange(0, 2).Draw(r, "priority")))
				ids = append(ids, j.ID)
				model[j.ID], entries[j.Properties[pathProperty]] = Queued, j.ID
			case 2:
				if len(ids) > 0 {
					id := rapid.SampledFrom(ids).Draw(r, "edited")
					state := rapid.SampledFrom([]State{Running, Success, Stopped}).Draw(r, "state")
					if _, err := s.Edit(ctx, id, Change{State: state}); err == nil {
						model[id] = state
					}
				}
			case 3:
				if len(entries) > 0 {
					l, err := takeSoon(s.Queue())
					if err != nil {
						r.Fatal(err)
					}
					if err := l.Consume(ctx); err != nil {
						r.Fatal(err)
					}
					delete(entries, l.Path())
				}
			case 4:
				if err := s.update(func(*tx) error { s.compact(); return nil }); err != nil {
					r.Fatal(err)
				}
			case 5:
				crashed := fs.CrashClone(rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1)))
				end()
				fs = crashed
				s, end = openOn(t, fs)
			}
		}
		end()
		s, end = openOn(t, fs)
		got := map[string]State{}
		for id, j := range s.jobs {
			got[id] = j.State
		}
		if !maps.Equal(got, model) || !maps.Equal(s.queue.all(), entries) {
			r.Errorf("after the last start %v and %v, want %v and %v", got, s.queue.all(), model, entries)
		}
		path, err := s.Queue().Put(ctx, "job/x", 7)
		if _, old := entries[path]; err != nil || old {
			r.Errorf("put gives %s, %v: an entry that was there", path, err)
		}
		end()
	})
}

func TestNoAnswerWithoutADisk(t *testing.T) {
	t.Parallel()
	fs := memory()
	kept, err := streams.Open("data", streams.Options{FS: fs, SegmentBytes: 64 << 10, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(StoreOptions{Streams: kept})
	if err != nil {
		t.Fatal(err)
	}
	kept.Close()
	if _, err := s.Create(t.Context(), []byte(`{"action":"a"}`), admin); !errors.Is(err, streams.ErrClosed) {
		t.Errorf("create without a stream store: %v", err)
	}
	if len(s.jobs) != 0 {
		t.Errorf("%d jobs that are not kept are shown", len(s.jobs))
	}
	s.Close()
	if _, err := s.Create(t.Context(), []byte(`{"action":"a"}`), admin); !errors.Is(err, ErrClosed) {
		t.Errorf("create after close: %v", err)
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	now := time.Now()
	tick := 0
	s.o.Now = func() time.Time { tick++; return now.Add(time.Duration(tick) * time.Millisecond) }
	for i := range 20 {
		j := create(t, s, fmt.Sprintf(`{"action":"a%d","targetResource":{"href":"t/%d"}}`, i%2, i))
		if i < 5 {
			edit(t, s, j.ID, fmt.Sprintf(`{"state":"FAILED","returnCode":%d,"statusMessage":"No route to host"}`, i))
		}
	}
	for q, want := range map[string]int{
		``: 20, `state='FAILED'`: 5, `state="FAILED" and action='a0'`: 3, `'FAILED'=state`: 5, `state!='FAILED'`: 15,
		`state='FAILED' or state='QUEUED' and action='a1'`: 13, `(state='FAILED' or state='QUEUED') and action='a1'`: 10,
		`targetResource/href='t/3'`: 1, `targetResource/href^='t/1'`: 11, `returnCode>=3`: 2, `3>returnCode`: 3,
		`returnCode=null`: 15, `returnCode!=null`: 5, `returnCode<0`: 0, `statusMessage=='route'`: 5, `created>'now-7d'`: 20,
		`created<'now-1h'`: 0, `state=['FAILED','QUEUED']`: 20, `nothing='x'`: 0, `nothing=null`: 20,
		`property['zookeeper-path']^='/job/entries/entry-999-'`: 20, `progress=100`: 5,
	} {
		query := Query{Last: "0"}
		if q != "" {
			query.Filters = []string{q}
		}
		if p, err := s.Query(query, nil); err != nil || p.Count != want || len(p.Jobs) != 0 {
			t.Errorf("%s: %d jobs, %v; want %d", q, p.Count, err, want)
		}
	}
	p, err := s.Query(Query{Filters: []string{"action='a1'", "state='QUEUED'"}, OrderBy: []string{"state,created:desc"}, First: "2", Last: "3"}, nil)
	if err != nil || p.Count != 8 || len(p.Jobs) != 2 || p.Jobs[0].Target.Href != "t/17" || p.Jobs[1].Target.Href != "t/15" {
		t.Errorf("page: %+v, %v", p, err)
	}
	for _, q := range []Query{
		{First: "0"}, {First: "x"}, {Last: "-1"}, {Last: "10001"}, {OrderBy: []string{"colour"}}, {OrderBy: []string{"state:up"}},
		{Filters: []string{"state"}}, {Filters: []string{"state="}}, {Filters: []string{"state='x"}}, {Filters: []string{"(state='x'"}},
		{Filters: []string{"state='x' state='y'"}}, {Filters: []string{"'a'='b'"}}, {Filters: []string{"a=b"}}, {Filters: []string{"state=['a'"}},
		{Filters: []string{strings.Repeat("(", 200)}}, {Filters: []string{"!"}}, {Filters: []string{strings.Repeat("a", 20000)}},
	} {
		if _, err := s.Query(q, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.60v: %v, want it refused", q, err)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, seed := range []string{"state='x' and (a=1 or b!=null)", "x=['a',\"b\"]", "property['k']^='v'", "created>now-7d", "((", "'"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		match, err := parseFilter(text, time.Now())
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		match(&Job{State: Queued})
	})
}
