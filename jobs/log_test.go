package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func logOf(t *testing.T, s *Store, id string) []string {
	t.Helper()
	l, err := s.Logs(t.Context(), id, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i, line := range l.Lines {
		if line.Number != l.Cut+int64(i) {
			t.Errorf("line %d has number %d after %d that are gone", i, line.Number, l.Cut)
		}
		out = append(out, fmt.Sprint(line.Attempt, " ", line.Text))
	}
	return out
}

// TestLog: changes of a job and lines of its action are in its log, in order,
// also after a restart and a snapshot.
func TestLog(t *testing.T) {
	t.Parallel()
	fs := memory()
	s, end := openOn(t, fs)
	j := create(t, s, `{"action":"a"}`)
	edit(t, s, j.ID, `{"state":"RUNNING","executor":"one"}`)
	if err := s.Log(t.Context(), j.ID, 1, []string{"a line", "\xffbad\xff"}); err != nil {
		t.Fatal(err)
	}
	edit(t, s, j.ID, `{"progress":50,"statusMessage":"half"}`)
	edit(t, s, j.ID, `{"description":"no line"}`)
	edit(t, s, j.ID, `{"state":"FAILED","returnCode":3,"statusMessage":"no sensor"}`)
	want := []string{"1 RUNNING, by one", "1 a line", "1 \uFFFDbad\uFFFD", "1 progress 50%: half", "1 FAILED, return code 3: no sensor"}
	if got := logOf(t, s, j.ID); !slices.Equal(got, want) {
		t.Errorf("the log is %q, want %q", got, want)
	}
	if l, err := s.Logs(t.Context(), j.ID, 3); err != nil || len(l.Lines) != 2 || l.Lines[0].Number != 3 {
		t.Errorf("from line 3: %+v, %v", l, err)
	}
	end()
	s, end = openOn(t, fs)
	if got := logOf(t, s, j.ID); !slices.Equal(got, want) {
		t.Errorf("after a restart: %q", got)
	}
	if err := s.update(func(*tx) error { s.compact(); return nil }); err != nil {
		t.Fatal(err)
	}
	end()
	s, _ = openOn(t, fs)
	if got := logOf(t, s, j.ID); !slices.Equal(got, want) {
		t.Errorf("after a snapshot: %q", got)
	}
	if err := s.Delete(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Logs(t.Context(), j.ID, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("the log of a deleted job: %v", err)
	}
	if err := s.Log(t.Context(), j.ID, 1, []string{"x"}); !errors.Is(err, ErrNotFound) || s.logs.bytes != 0 {
		t.Errorf("a line for a deleted job: %v; %d bytes are held", err, s.logs.bytes)
	}
}

// TestLogsAreBounded: a job that talks loses its first lines, and too many that
// talk lose the logs of the first; numbers go on, also after a snapshot.
func TestLogsAreBounded(t *testing.T) {
	t.Parallel()
	fs := memory()
	s, end := openOn(t, fs)
	first, j := create(t, s, `{"action":"a"}`), create(t, s, `{"action":"a"}`)
	if err := s.Log(t.Context(), first.ID, 1, []string{"first"}); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("é", maxLogLine)
	for range 100 {
		if err := s.Log(t.Context(), j.ID, 1, []string{long}); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		l, err := s.Logs(t.Context(), j.ID, 0)
		if err != nil || l.Cut == 0 || l.Cut+int64(len(l.Lines)) != 100 {
			t.Errorf("%d lines after %d that are gone, %v; want 100", len(l.Lines), l.Cut, err)
		}
		if text := l.Lines[0].Text; len(text) > maxLogLine || !utf8.ValidString(text) {
			t.Errorf("a line has %d bytes", len(text))
		}
		if held := s.logs.byJob[j.ID].bytes; held > maxLogBytes {
			t.Errorf("the log holds %d bytes", held)
		}
	}
	check()
	if err := s.update(func(*tx) error { s.compact(); return nil }); err != nil {
		t.Fatal(err)
	}
	end()
	s, _ = openOn(t, fs)
	check()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range 2 * maxLogs / maxLogBytes {
		s.logs.add(fmt.Sprint("job/", i), []Line{{Text: strings.Repeat("x", maxLogBytes-lineCost)}})
	}
	if s.logs.bytes > maxLogs || s.logs.byJob[first.ID] != nil {
		t.Errorf("the logs hold %d bytes; the first one's is %v", s.logs.bytes, s.logs.byJob[first.ID])
	}
}

// TestActionsPrint: what actions print is in the log of their job when it ends;
// what is too fast is counted.
func TestActionsPrint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script(t, dir, "talk.sh", `echo garbage; echo '{"progress":900}'; echo trouble >&2; printf 'no end' >&2`)
	script(t, dir, "leaves.sh", `sleep 60 & echo left`)
	actions, err := Folder(dir, discard)
	if err != nil {
		t.Fatal(err)
	}
	actions["flood"] = func(_ context.Context, r *Run) (int, error) {
		for range 2000 {
			r.Print(strings.Repeat("x", 1000))
		}
		return 0, nil
	}
	s, _ := openOn(t, memory())
	execute(t, s, actions, func(o *ExecutorOptions) { o.Threads = 3 })
	for action, want := range map[string][]string{
		"talk": {"garbage", "refused: ", "trouble", "no end", "SUCCESS"}, "leaves": {"left", "SUCCESS"}, "flood": {"lines came too fast"},
	} {
		j := reaches(t, s, create(t, s, `{"action":"`+action+`"}`).ID, final)
		text := strings.Join(logOf(t, s, j.ID), "\n")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("the log of %s lacks %q:\n%.2000s", action, w, text)
			}
		}
	}
	emptied(t, s)
}

// TestEngineLog: a derived job tells of its failures, and that they are over.
func TestEngineLog(t *testing.T) {
	t.Parallel()
	e := New(Options{Retry: 1, MaxRetry: 1, Pause: 1})
	t.Cleanup(func() { e.Close(context.Background()) })
	n := 0
	if err := e.Define(Action{Name: "a", Run: func(context.Context, string) (bool, error) {
		if n++; n <= taskLines+3 {
			return false, fmt.Errorf("failure %d", n)
		}
		return false, nil
	}}); err != nil {
		t.Fatal(err)
	}
	if err := e.Wake("a", "b"); err != nil {
		t.Fatal(err)
	}
	id := e.List()[0].ID
	awaitTrue(t, e.Idle)
	l, ok := e.Logs(id, 0)
	if !ok || len(l.Lines) != taskLines || l.Cut != 4 || l.Lines[0].Text != "FAILED: failure 5" || l.Lines[taskLines-1].Text != "SUCCESS" {
		t.Errorf("the log: %+v", l)
	}
	if l, _ := e.Logs(id, 1000); len(l.Lines) != 0 {
		t.Errorf("lines beyond the end: %+v", l)
	}
	if _, ok := e.Logs("job/none", 0); ok {
		t.Error("a job that is not there has a log")
	}
}
