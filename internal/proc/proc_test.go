package proc

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	t.Parallel()
	s, err := Parse([]byte("42 (a) b (c)) S 1 42 40 0 -1 4194560 1 2 3 4 17 5 0 0 20 0 3 0 777 1000 256 18446744073709551615 1 1\n"))
	want := Stat{ID: ID{42, 777}, Name: "a) b (c)", State: 'S', Parent: 1, Group: 42, Session: 40, User: 17, System: 5, Threads: 3, Pages: 256}
	if err != nil || s != want {
		t.Errorf("Parse = %+v, %v\nwant %+v", s, err, want)
	}
	for _, bad := range []string{"", "42", "x (a) S", "42 (a S 1", "42 (a) S 1 2 3", ")(", "42 (a) S x 42 40 0 -1 4194560 1 2 3 4 17 5 0 0 20 0 3 0 777 1000 256"} {
		if s, err := Parse([]byte(bad)); err == nil {
			t.Errorf("Parse(%q) = %+v", bad, s)
		}
	}
}

func FuzzParse(f *testing.F) {
	b, _ := os.ReadFile("/proc/self/stat")
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := Parse(b); err == nil && s.PID < 0 && b[0] != '-' {
			t.Errorf("Parse(%q) = %+v", b, s)
		}
	})
}

func start(t *testing.T, args ...string) (*exec.Cmd, ID) {
	t.Helper()
	c := exec.Command(args[0], args[1:]...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	s, err := Read("/", c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return c, s.ID
}

func TestWaitChild(t *testing.T) {
	t.Parallel()
	_, id := start(t, "sh", "-c", "exit 7")
	fd, err := syscallPidfd(id.PID)
	if err != nil {
		t.Skip("no pidfd:", err)
	}
	h, err := Hold(id, fd)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ws, known, err := h.Wait()
	if err != nil || !known || ws.ExitStatus() != 7 {
		t.Errorf("Wait = %v, %v, %v", ws, known, err)
	}
	if err := h.Signal(syscall.SIGTERM); !errors.Is(err, ErrGone) {
		t.Errorf("a signal to what has ended: %v", err)
	}
}

// TestWaitStranger waits for a grandchild, whose parent is another.
func TestWaitStranger(t *testing.T) {
	t.Parallel()
	c := exec.Command("sh", "-c", "sleep 60 & echo $!; wait $!; sleep 60")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	b := make([]byte, 20)
	n, err := out.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	for _, d := range b[:n] {
		if d >= '0' && d <= '9' {
			pid = pid*10 + int(d-'0')
		}
	}
	s, err := Read("/", pid)
	if err != nil {
		t.Fatal(err)
	}
	h, err := Open(s.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ws, known, err := h.Wait()
	if err != nil || known && ws.Signal() != syscall.SIGKILL {
		t.Errorf("Wait = %v, %v, %v", ws, known, err)
	}
	t.Logf("the kernel keeps the status of strangers: %v", known)
}

// TestReuse: a number with another start is another process.
func TestReuse(t *testing.T) {
	t.Parallel()
	_, id := start(t, "sleep", "60")
	h, err := Open(id)
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	if h, err := Open(ID{id.PID, id.Start + 1}); !errors.Is(err, ErrGone) {
		t.Errorf("Open of another start = %v, %v", h, err)
	}
	if h, err := Open(ID{1 << 22, 1}); !errors.Is(err, ErrGone) {
		t.Errorf("Open of no process = %v, %v", h, err)
	}
}

func TestSignalGroup(t *testing.T) {
	t.Parallel()
	c, id := start(t, "sh", "-c", "sleep 61 & sleep 62 & wait")
	h, err := Open(id)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for members := 0; members < 3; { // until the shell has made them
		members = 0
		all, err := All("/")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if s.Group == id.PID {
				members++
			}
		}
	}
	if err := h.SignalGroup(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	for end := time.Now().Add(10 * time.Second); ; {
		all, err := All("/")
		if err != nil {
			t.Fatal(err)
		}
		alive := 0
		for _, s := range all {
			if s.Group == id.PID && s.State != 'Z' {
				alive++
			}
		}
		if alive == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d of the group live on", alive)
		}
	}
}

func TestHasEnv(t *testing.T) {
	t.Parallel()
	_, id := start(t, "env", "-i", "A=b", "sleep", "60")
	for end := time.Now().Add(10 * time.Second); !HasEnv(id.PID, "A=b"); {
		if time.Now().After(end) {
			t.Fatal("A=b is not found")
		}
	}
	for _, v := range []string{"A=", "A=bc", "", "B=b"} {
		if v != "" && HasEnv(id.PID, v) {
			t.Errorf("HasEnv(%q)", v)
		}
	}
}
