package requested

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var programs = []string{"cron", "mariadb_update", "httpd-on-watch", "both", "both-on-watch"}

// now is a time on a clock of the tests.
var now = time.Unix(1_795_000_000, 0)

type bench struct {
	t *testing.T
	Place
}

func open(t *testing.T) *bench {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return &bench{t, Place{Root: root, ID: "slappart7", UID: uint32(os.Getuid())}}
}

func (b *bench) path() string {
	return filepath.Join(b.Root.Name(), ".slappart7-requested-process-state")
}

func (b *bench) write(text string) {
	b.t.Helper()
	if err := os.WriteFile(b.path(), []byte(text), 0o640); err != nil {
		b.t.Fatal(err)
	}
}

// ask writes a request with a timestamp so many seconds from now.
func (b *bench) ask(after float64, restarted ...string) {
	b.t.Helper()
	text, err := json.Marshal(map[string]any{"restarted": restarted, "timestamp": seconds(now) + after})
	if err != nil {
		b.t.Fatal(err)
	}
	b.write(string(text))
}

func (b *bench) make(at time.Time) Plan { return Make(b.Place, true, programs, at) }

// processed is a processing that succeeds.
func (b *bench) processed(at time.Time) Plan {
	b.t.Helper()
	p := b.make(at)
	if err := p.Done(); err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (p Plan) text() string {
	return strings.Join(p.Stopped, ",") + "|" + strings.Join(p.Restarted, ",")
}

func TestNames(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                       "|",
		`{}`:                     "|",
		`{"stopped": ["cron"]}`:  "cron|",
		`{"stopped": ["httpd"]}`: "httpd-on-watch|",
		`{"stopped": ["httpd-on-watch", "httpd"]}`: "httpd-on-watch|",
		`{"stopped": ["both"]}`:                    "both,both-on-watch|",
		`{"stopped": ["mariadb_update", "httpd"], "restarted": ["cron"], "timestamp": 123456}`: "mariadb_update,httpd-on-watch|cron",
		`{"stopped": ["cron"], "restarted": ["cron", "httpd"], "timestamp": 1}`:                "cron|httpd-on-watch",
		`{"restarted": ["httpd"], "timestamp": 1794999999.25}`:                                 "|httpd-on-watch",
		`{"restarted": ["httpd"], "timestamp": 1795000000}`:                                    "|httpd-on-watch",
		`{"started": ["httpd"]}`:                                  "|",
		`{"stopped": null, "restarted": null, "timestamp": null}`: "|",
	} {
		b := open(t)
		if text != "" {
			b.write(text)
		}
		if p := b.make(now); p.text() != want || len(p.Notes) > 0 {
			t.Errorf("%s: %s, want %s; %q", text, p.text(), want, p.Notes)
		}
	}
}

func TestWrongContent(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		`{"stopped": ["cron"]`: {"|", "it is no JSON object"},
		` `:                    {"|", "it is no JSON object"},
		`[]`:                   {"|", "it is no JSON object"},
		`null`:                 {"|", "it is no JSON object"},
		`"stopped"`:            {"|", "it is no JSON object"},
		`{"stopped": "cron", "restarted": ["both"], "timestamp": 1}`:        {"|both,both-on-watch", "stopped is no list"},
		`{"stopped": ["cron", 5, null, {"a": 1}, ""]}`:                      {"cron|", "no text"},
		`{"stopped": ["cron"], "restarted": ["httpd"]}`:                     {"cron|", "needs a timestamp"},
		`{"stopped": ["cron"], "restarted": ["httpd"], "timestamp": "123"}`: {"cron|", "timestamp is no number"},
		`{"restarted": ["httpd"], "timestamp": -5}`:                         {"|", "timestamp is no number"},
		`{"restarted": ["httpd"], "timestamp": 1e400}`:                      {"|", "timestamp is no number"},
		`{"restarted": ["httpd"], "timestamp": true}`:                       {"|", "timestamp is no number"},
		`{"restarted": ["httpd"], "timestamp": 1795000001}`:                 {"|", "in the future"},
		`{"restarted": ["httpd"], "timestamp": 1795000000000}`:              {"|", "milliseconds?"},
		`{"stopped": ["nobody", "cron"]}`:                                   {"cron|", `no process "nobody"`},
		`{"stopped": ["../cron", "*", "cron\n"]}`:                           {"|", `no process "../cron"`},
		strings.Repeat(" ", maxFile) + `{"stopped": ["cron"]}`:              {"|", "more than"},
	} {
		b := open(t)
		b.write(text)
		p := b.make(now)
		if p.text() != want[0] || !strings.Contains(strings.Join(p.Notes, "\n"), want[1]) {
			t.Errorf("%.60s: %s, want %s; %q, want %s", text, p.text(), want[0], p.Notes, want[1])
		}
		if err := p.Done(); err != nil {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}

func TestRefusedFiles(t *testing.T) {
	t.Parallel()
	good := []byte(`{"stopped": ["cron"]}`)
	for what, prepare := range map[string]func(b *bench) error{
		"it is a symbolic link": func(b *bench) error {
			target := filepath.Join(b.Root.Name(), "target")
			if err := os.WriteFile(target, good, 0o640); err != nil {
				return err
			}
			return os.Symlink(target, b.path())
		},
		"second name": func(b *bench) error {
			b.write(string(good))
			return os.Link(b.path(), filepath.Join(b.Root.Name(), "other"))
		},
		"it belongs to the user": func(b *bench) error {
			b.write(string(good))
			b.UID++
			return nil
		},
		"others may write it": func(b *bench) error {
			b.write(string(good))
			return os.Chmod(b.path(), 0o660)
		},
		"no plain file":       func(b *bench) error { return syscall.Mkfifo(b.path(), 0o640) },
		"it is no plain file": func(b *bench) error { return os.Mkdir(b.path(), 0o750) },
	} {
		b := open(t)
		if err := prepare(b); err != nil {
			t.Fatal(err)
		}
		if p := b.make(now); p.text() != "|" || !strings.Contains(strings.Join(p.Notes, "\n"), what) {
			t.Errorf("%s: %s, %q", what, p.text(), p.Notes)
		}
		if Pending(b.Place, now) {
			t.Errorf("%s: it is a reason to process", what)
		}
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.processed(now.Add(-time.Hour))
	b.ask(-10, "cron")
	for range 3 { // processings that fail
		if p := b.make(now); p.text() != "|cron" {
			t.Fatalf("%s, %q", p.text(), p.Notes)
		}
	}
	b.processed(now)
	for i := range 3 {
		if p := b.processed(now.Add(time.Duration(i) * time.Minute)); p.text() != "|" || len(p.Notes) > 0 {
			t.Errorf("again: %s, %q", p.text(), p.Notes)
		}
	}
	b.ask(-10, "httpd") // other names, same time
	if p := b.make(now.Add(time.Hour)); p.text() != "|" {
		t.Errorf("with the same timestamp: %s", p.text())
	}
	b.ask(150, "cron")
	if p := b.processed(now.Add(time.Hour)); p.text() != "|cron" {
		t.Errorf("with a later one: %s", p.text())
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what      string
		last, ask float64 // seconds from now
		want      string
	}{
		{"older than the last processing", -60, -100, "|"},
		{"later than it", -60, -50, "|cron"},
		{"in its second", -59.5, -60, "|cron"},
		{"just now", -60, 0, "|cron"},
		{"in the future", -60, 1, "|"},
		{"the clock was set back", 1000, -10, "|cron"},
	} {
		b := open(t)
		b.processed(now.Add(time.Duration(c.last * 1e9)))
		b.ask(c.ask, "cron")
		if p := b.make(now); p.text() != c.want {
			t.Errorf("%s: %s, want %s; %q", c.what, p.text(), c.want, p.Notes)
		}
	}
}

// TestNotStarted: a stopped or destroyed instance does not heed the file.
func TestNotStarted(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.write(`{"stopped": ["cron"], "restarted": ["httpd"], "timestamp": 1}`)
	p := Make(b.Place, false, programs, now)
	if p.text() != "|" || len(p.Notes) > 0 {
		t.Errorf("%s, %q", p.text(), p.Notes)
	}
	if err := p.Done(); err != nil {
		t.Fatal(err)
	}
	// Started again: what is to be stopped is, the restart is past.
	if p := b.make(now.Add(time.Minute)); p.text() != "cron|" {
		t.Errorf("%s", p.text())
	}
}

func TestPending(t *testing.T) {
	t.Parallel()
	b := open(t)
	if Pending(b.Place, now) {
		t.Error("no file is a reason")
	}
	b.write(`{"stopped": ["cron"]}`)
	if !Pending(b.Place, now) {
		t.Error("a new file is none")
	}
	b.processed(now)
	if Pending(b.Place, now) {
		t.Error("a file that was seen is a reason")
	}
	if err := os.Remove(b.path()); err != nil {
		t.Fatal(err)
	}
	if !Pending(b.Place, now) {
		t.Error("a removed file is none, though it stopped something")
	}
	b.processed(now)
	b.ask(3600, "cron")
	b.processed(now)
	if Pending(b.Place, now.Add(time.Minute)) || !Pending(b.Place, now.Add(time.Hour)) {
		t.Error("a time in the future is a reason when it has come, and not before")
	}
	if p := b.processed(now.Add(time.Hour)); p.text() != "|cron" {
		t.Errorf("then %s", p.text())
	}
	if Pending(b.Place, now.Add(2*time.Hour)) {
		t.Error("and again")
	}
}

// TestHostileRecord: a partition that tampers with the record harms itself
// only.
func TestHostileRecord(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	for what, prepare := range map[string]func(b *bench) error{
		"folder out": func(b *bench) error { return os.Symlink(outside, filepath.Join(b.Root.Name(), ".slapgrid")) },
		"nonsense":   func(b *bench) error { return record0(b, "{{{") },
		"huge":       func(b *bench) error { return record0(b, strings.Repeat("[", 100_000)) },
		"pipe": func(b *bench) error {
			return syscall.Mkfifo(filepath.Join(b.Root.Name(), recordName), 0o644)
		},
		"link out": func(b *bench) error {
			return os.Symlink(filepath.Join(outside, "x"), filepath.Join(b.Root.Name(), recordName))
		},
	} {
		b := open(t)
		if what != "folder out" {
			if err := os.Mkdir(filepath.Join(b.Root.Name(), ".slapgrid"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := prepare(b); err != nil {
			t.Fatal(err)
		}
		b.ask(-5, "cron")
		p := b.make(now)
		if p.text() != "|cron" || len(p.Notes) != 1 {
			t.Errorf("%s: %s, %q", what, p.text(), p.Notes)
		}
		if err := p.Done(); (err != nil) != (what == "folder out") {
			t.Errorf("%s: %v", what, err)
		}
		if list, _ := os.ReadDir(outside); len(list) > 0 {
			t.Errorf("%s: outside there is %v", what, list)
		}
	}
}

func record0(b *bench, text string) error {
	return os.WriteFile(filepath.Join(b.Root.Name(), recordName), []byte(text), 0o644)
}

// TestModel: whatever is asked for, and however often processings fail, each
// restart whose time has come is done exactly once, the latest one counting.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp("", "weir-requested-")
		if err != nil {
			r.Fatal(err)
		}
		defer os.RemoveAll(dir)
		root, err := os.OpenRoot(dir)
		if err != nil {
			r.Fatal(err)
		}
		defer root.Close()
		p := Place{Root: root, ID: "p", UID: uint32(os.Getuid())}
		clock, asked, applied, done := 1_000_000.0, 0.0, 0.0, 0
		for range rapid.IntRange(1, 30).Draw(r, "steps") {
			clock += float64(rapid.IntRange(1, 50).Draw(r, "passes"))
			switch rapid.IntRange(0, 2).Draw(r, "what") {
			case 0: // somebody asks, now
				asked = clock
				text := fmt.Sprintf(`{"restarted": ["a"], "timestamp": %d}`, int64(clock))
				if err := os.WriteFile(filepath.Join(dir, ".p-requested-process-state"), []byte(text), 0o640); err != nil {
					r.Fatal(err)
				}
			default:
				plan := Make(p, true, []string{"a"}, time.Unix(int64(clock), 0))
				if want := asked > applied; slices.Contains(plan.Restarted, "a") != want {
					r.Fatalf("at %v, asked at %v, applied %v: %+v", clock, asked, applied, plan)
				}
				if rapid.Bool().Draw(r, "succeeds") {
					if err := plan.Done(); err != nil {
						r.Fatal(err)
					}
					if applied != asked {
						done++
					}
					applied = asked
				}
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"stopped": ["a"], "restarted": ["b"], "timestamp": 5}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse(b)
		if err == nil && (r.timestamp < 0 || r.timestamp != r.timestamp || slices.Contains(r.stopped, "") || len(r.notes) > 20) {
			t.Errorf("%q: %+v", b, r)
		}
	})
}
