package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPutKilled uploads a file in parts while both the command and the server
// are killed again and again; at last the stream is the file.
func TestPutKilled(t *testing.T) {
	t.Parallel()
	w := start(t)
	data := noise(9, 40<<20)
	file := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	killed := 0
	awaitFor(t, 2*patience, "the file has arrived", func() bool {
		cmd := exec.Command(program, "put", "--part", "1", file, w.url("/streams/up.big"))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if killed < 6 {
			time.Sleep(time.Duration(30+20*killed) * time.Millisecond)
			killed++
			if killed%2 == 0 {
				w.kill()
				w.up()
			} else if err := cmd.Process.Kill(); err != nil {
				t.Log(err)
			}
		}
		err := cmd.Wait()
		t.Logf("%v: %s", err, out.Bytes())
		return err == nil
	})
	if got := w.stream("up.big"); !bytes.Equal(got, data) {
		t.Errorf("%d bytes arrived, or others", len(got))
	}
	out, err := exec.Command(program, "put", file, w.url("/streams/up.big")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "were there already") {
		t.Errorf("the same again: %v %s", err, out)
	}
}

// TestPutFolder uploads files and folders, and says which did not arrive.
func TestPutFolder(t *testing.T) {
	t.Parallel()
	w := start(t)
	dir := t.TempDir()
	for name, data := range map[string]string{"set/a b.txt": "a", "set/deep/c%.txt": "c", "one.txt": "one"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put := exec.Command(program, "put", "set", "one.txt", "missing", w.url("/streams/files."))
	put.Dir = dir
	out, err := put.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "put missing:") || !strings.Contains(string(out), "1 of 4 files did not arrive") {
		t.Errorf("%v: %s", err, out)
	}
	for name, data := range map[string]string{"files.set/a b.txt": "a", "files.set/deep/c%.txt": "c", "files.one.txt": "one"} {
		if got := w.stream(strings.NewReplacer("%", "%25", " ", "%20").Replace(name)); string(got) != data {
			t.Errorf("%s holds %q", name, got)
		}
	}
	put = exec.Command(program, "put", "set/deep/c%.txt", w.url("/streams/star.*"))
	put.Dir = dir
	if out, err := put.CombinedOutput(); err != nil || string(w.stream("star.set.deep.c%25.txt")) != "c" {
		t.Errorf("%v: %s", err, out)
	}
}

// TestPutWatch follows a file that grows and is rotated, through kills of the
// command and of the server: nothing is lost and nothing comes twice.
func TestPutWatch(t *testing.T) {
	t.Parallel()
	w := start(t)
	dir := t.TempDir()
	log := filepath.Join(dir, "app.log")
	var cmd *exec.Cmd
	var said bytes.Buffer
	follow := func() {
		cmd = exec.Command(program, "put", "--watch", filepath.Join(dir, "*.log"), "--position", filepath.Join(dir, "position"), "--every", "10ms", w.url("/streams/logs."))
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	kill := func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it says that it was killed
	}
	follow()
	defer func() { kill() }()
	var want strings.Builder
	for i := range 3000 {
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(line); err != nil {
			t.Fatal(err)
		}
		f.Close()
		switch {
		case i%500 == 250:
			kill()
			follow()
		case i%1000 == 700:
			w.kill()
			w.up()
		case i%1000 == 999:
			w.await("the file was found before it is renamed", func() bool { return w.status("/streams/logs.app.log") == 200 })
			if err := os.Rename(log, fmt.Sprintf("%s.%d", log, i)); err != nil {
				t.Fatal(err)
			}
			if i == 1999 { // also while nobody looks
				kill()
				follow()
			}
		}
		time.Sleep(200 * time.Microsecond)
	}
	awaitFor(t, patience, "all has arrived", func() bool {
		a := w.do("HEAD", "/streams/logs.app.log", nil)
		return a.Header.Get("Content-Length") == fmt.Sprint(want.Len())
	})
	time.Sleep(300 * time.Millisecond) // for what should not come
	if got := w.stream("logs.app.log"); string(got) != want.String() {
		t.Errorf("%d bytes arrived of %d, or others; it said:\n%s", len(got), want.Len(), said.Bytes())
	}
}
