package supervise

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// TestNoFoldersLeft: a supervisor that was told to stop leaves no cgroups, and
// none of another place, in which a supervisor before it was.
func TestNoFoldersLeft(t *testing.T) {
	t.Parallel()
	b := open(t, false)
	if i, err := b.Info(b.ctx()); err != nil || !i.Confined {
		t.Skip("no cgroups here:", err)
	}
	b.apply("g", b.sh("p", "exec sleep 100000"), b.sh("q", "exec sleep 100000"))
	b.begin("g:p", "g:q")
	b.kill()
	files, err := filepath.Glob(filepath.Join(b.dir, "programs", "g.p.*.json"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil || len(r.Process.Folders) == 0 {
		t.Fatalf("%s: %v", text, err)
	}
	all := append([]string{}, r.Process.Folders...)
	for k, f := range r.Process.Folders {
		base := filepath.Dir(filepath.Dir(f))
		moved := filepath.Join(base+"-other", filepath.Base(filepath.Dir(f)), filepath.Base(f))
		if err := os.MkdirAll(moved, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(moved, "cgroup.procs"), []byte(strconv.Itoa(r.Process.PID)), 0); err != nil {
			t.Fatal(err)
		}
		r.Process.Folders[k] = moved
		all = append(all, moved)
	}
	if text, err = json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	if err := b.Shutdown(b.ctx()); err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Wait(); err != nil {
		t.Error(err)
	}
	for _, f := range all {
		for range 3 { // the program's, the group's and the supervisor's
			if _, err := os.Stat(f); err == nil {
				t.Errorf("%s is left", f)
			}
			f = filepath.Dir(f)
		}
	}
}
