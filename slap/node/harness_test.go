package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/slap"
	"weir/slap/supervise"
)

// patience is how long a test waits for what must happen: in vain on a machine
// that is broken, not on one that is slow.
const patience = 2 * time.Minute

// A test binary is its own supervisor, and becomes its programs.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "test-supervisor":
		err := supervise.Serve(context.Background(), supervise.Options{Dir: os.Args[2], Exec: []string{os.Args[0], "test-exec"}})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	case len(os.Args) == 3 && os.Args[1] == "test-agent":
		os.Exit(agent(os.Args[2]))
	case len(os.Args) == 3 && os.Args[1] == "test-lock":
		os.Exit(holdLock(os.Args[2]))
	case len(os.Args) == 2 && os.Args[1] == "test-exec":
		fmt.Fprintln(os.Stderr, supervise.Exec())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// holdLock takes a lock, gives its file to a process that it makes, prints the
// id of that, and waits. Both end with standard input.
func holdLock(path string) int {
	l := locks{held: map[string]bool{}}
	k, err := l.take(path)
	made := exec.Command("cat")
	if err == nil {
		made.Stdin, made.ExtraFiles = os.Stdin, []*os.File{k.file}
		err = made.Start()
	}
	if err != nil {
		fmt.Print(err)
		return 1
	}
	fmt.Print(made.Process.Pid)
	made.Wait()
	return 0
}

// A fake is a master that says what a test wants and notes what it is told.
type fake struct {
	*httptest.Server
	mu         sync.Mutex
	partitions []*slap.Partition
	releases   []slap.Release
	posts      []string // path partition text
	status     int      // of all answers; 0 is 200
	answer     string   // to destroyed
	journals   []string // by useComputer
	usage      int      // status of the answer to useComputer; 0 is 200
}

func newFake(t *testing.T) *fake {
	f := &fake{}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status != 0 {
		w.WriteHeader(f.status)
		return
	}
	if r.Method == http.MethodGet {
		if r.URL.Path != "/getFullComputerInformation" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		b, err := slap.Marshal(f.computer())
		if err != nil {
			panic(err)
		}
		w.Write(b)
		return
	}
	r.ParseForm()
	text := r.Form.Get("error_log") + r.Form.Get("message")
	f.posts = append(f.posts, strings.TrimSpace(strings.TrimPrefix(r.URL.Path, "/")+" "+r.Form.Get("computer_partition_id")+r.Form.Get("url")+" "+text))
	if r.URL.Path == "/useComputer" {
		f.journals = append(f.journals, r.Form.Get("use_string"))
		if f.usage != 0 {
			w.WriteHeader(f.usage)
		}
	}
	if r.URL.Path == "/destroyedComputerPartition" {
		w.Write([]byte(f.answer))
	}
}

func (f *fake) computer() *slap.Object {
	var partitions, releases []any
	for _, p := range f.partitions {
		d := map[string]any{"instance_title": p.Title, "ip_list": []any{}}
		if p.Timestamp != "" {
			d["timestamp"] = p.Timestamp
		}
		a := map[string]any{"_computer_id": "local", "_partition_id": p.Place.Partition, "_requested_state": p.State, "_parameter_dict": d, "_filter_dict": p.Filter}
		if p.Software != "" {
			a["_software_release_document"] = &slap.Object{Class: "SoftwareRelease", Args: slap.Tuple{p.Software, "local"}, Attributes: map[string]any{"_software_release": p.Software}}
		}
		if p.Status != "" {
			a["_access_status"] = p.Status
		}
		partitions = append(partitions, &slap.Object{Class: "ComputerPartition", Args: slap.Tuple{"local", p.Place.Partition, nil}, Attributes: a})
	}
	for _, r := range f.releases {
		releases = append(releases, &slap.Object{Class: "SoftwareRelease", Args: slap.Tuple{r.URL, "local"}, Attributes: map[string]any{"_software_release": r.URL, "_requested_state": r.State}})
	}
	return &slap.Object{Class: "Computer", Args: slap.Tuple{"local"}, Attributes: map[string]any{
		"_computer_id": "local", "_computer_partition_list": partitions, "_software_release_list": releases}}
}

// told gives and forgets what the master was told.
func (f *fake) told() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.posts
	f.posts = nil
	return p
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// A house is a computer in a folder, with its master.
type house struct {
	*Node
	t    *testing.T
	fake *fake
	dir  string
}

const testRelease = "http://example.org/software.cfg"

// newHouse makes a computer of so many partitions that run the script in the
// place of buildout.
func newHouse(t *testing.T, partitions int, script string) *house {
	t.Helper()
	dir, err := os.MkdirTemp("", "node")
	if err != nil {
		t.Fatal(err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, fake: newFake(t), dir: dir}
	t.Cleanup(func() {
		if c, err := supervise.Dial(context.Background(), h.SupervisorDir()); err == nil {
			c.Shutdown(context.Background())
		}
		os.RemoveAll(dir)
	})
	h.must(os.Chmod(dir, 0o755))
	c := &Config{
		Computer: "local", Master: h.fake.URL, Software: filepath.Join(dir, "soft"), Instances: filepath.Join(dir, "inst"),
		Periodicity: 24 * time.Hour, PromiseTimeout: time.Minute, Parallel: 4, Pidfiles: map[string]string{},
	}
	for _, d := range []string{c.Software, c.Instances} {
		h.must(makeDir(d, 0o755))
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	n, err := New(Options{Config: c, Log: log, Supervisor: []string{os.Args[0], "test-supervisor", filepath.Join(c.Instances, "var", "weir", "supervisor")}})
	h.must(err)
	h.Node = n
	h.release(testRelease, script)
	for k := range partitions {
		h.partition(fmt.Sprintf("part%d", k))
	}
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// release puts a release in place, as if it were built.
func (h *house) release(url, script string) {
	h.t.Helper()
	dir := h.releasePath(url)
	h.must(os.MkdirAll(filepath.Join(dir, "bin"), 0o755))
	h.must(os.WriteFile(filepath.Join(dir, "instance.cfg"), []byte("[buildout]\nparts =\n"), 0o644))
	h.must(writeProgram(filepath.Join(dir, "bin", "buildout"), []byte("#!/bin/sh\n"+script), 0o755))
}

// writeProgram writes a file that can be run at once: a process that another
// test makes meanwhile has not got it open for writing.
func writeProgram(path string, b []byte, perm os.FileMode) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, b, perm)
}

// partition makes a partition that is started, of a user who is not root.
func (h *house) partition(name string) *slap.Partition {
	h.t.Helper()
	path := h.path(name)
	h.must(os.Mkdir(path, 0o750))
	if os.Geteuid() == 0 {
		h.must(os.Chown(path, 65534, 65534))
	}
	p := &slap.Partition{Place: slap.Place{Computer: "local", Partition: name}, State: slap.Started, Software: testRelease, Title: "of " + name, Timestamp: "1"}
	h.fake.set(func() { h.fake.partitions = append(h.fake.partitions, p) })
	return p
}

func (h *house) path(parts ...string) string {
	return filepath.Join(append([]string{h.c.Instances}, parts...)...)
}

// put writes a file into a partition, as its owner would.
func (h *house) put(partition, name, text string, perm os.FileMode) {
	h.t.Helper()
	path := h.path(partition, name)
	for d := filepath.Dir(path); d != h.path(partition); d = filepath.Dir(d) {
		h.must(os.MkdirAll(d, 0o755))
		if os.Geteuid() == 0 {
			h.must(os.Chown(d, 65534, 65534))
		}
	}
	h.must(writeProgram(path, []byte(text), perm))
	h.must(os.Chmod(path, perm))
	if os.Geteuid() == 0 {
		h.must(os.Chown(path, 65534, 65534))
	}
}

// instance runs and wants an exit code and, where they are given, reports.
func (h *house) instance(r Run, code int, posts ...string) {
	h.t.Helper()
	o, err := h.Instance(h.t.Context(), r)
	if err != nil {
		h.t.Fatal(err)
	}
	if o.Exit() != code {
		h.t.Errorf("exit code %d, want %d: %+v", o.Exit(), code, o)
	}
	h.toldAre(posts...)
}

func (h *house) toldAre(posts ...string) {
	h.t.Helper()
	if got := h.fake.told(); !slices.EqualFunc(got, posts, func(g, w string) bool { return strings.HasPrefix(g, w) }) {
		h.t.Errorf("the master was told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(posts, "\n"))
	}
}

// text gives a file of a partition, "" without one.
func (h *house) text(parts ...string) string {
	b, _ := os.ReadFile(h.path(parts...))
	return string(b)
}

// within waits for something that other processes do.
func (h *house) within(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
