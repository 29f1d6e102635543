package jobs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// A strictAPI fails the test when it is asked for what is no job.
type strictAPI struct {
	*Store
	t *testing.T
}

func (a strictAPI) Get(ctx context.Context, id string) (Job, error) {
	if !jobID.MatchString(id) {
		a.t.Errorf("the server is asked for %q", id)
		return Job{}, errors.New("no request")
	}
	return a.Store.Get(ctx, id)
}

// A lockedBuffer may be written to by several.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestMalformedEntries: an entry that names no job leaves the queue, is told of,
// and holds nothing up.
func TestMalformedEntries(t *testing.T) {
	t.Parallel()
	s, _ := openOn(t, memory())
	for i, id := range []string{"\xff\x00", "", "job/", "job/../session", "job/A B", "x", "job/" + strings.Repeat("a", 5000)} {
		if _, err := s.Queue().Put(t.Context(), id, i); err != nil {
			t.Fatal(err)
		}
	}
	var log lockedBuffer
	execute(t, s, map[string]Work{"a": func(context.Context, *Run) (int, error) { return 0, nil }}, func(o *ExecutorOptions) {
		o.API, o.Threads, o.Log = strictAPI{s, t}, 1, slog.New(slog.NewTextHandler(&log, nil))
	})
	if j := reaches(t, s, create(t, s, `{"action":"a"}`).ID, final); j.State != Success {
		t.Errorf("%+v", j)
	}
	emptied(t, s)
	if n := strings.Count(log.String(), "names no job and is removed"); n != 7 {
		t.Errorf("%d malformed entries were told of, want 7:\n%s", n, log.String())
	}
}
