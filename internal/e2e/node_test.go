package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// nobody is who partitions belong to in tests that root runs: root does not
// run their programs as root.
const nobody = 65534

// A computer is a SlapOS node in a folder, run by weir.
type computer struct {
	t       testing.TB
	dir     string
	cfg     string
	release string // copy of testdata/release
	master  string
}

// newComputer makes a computer of a master; python is one that has
// slapos.core.
func newComputer(t testing.TB, master, python string, partitions int) *computer {
	t.Helper()
	dir := openDir(t)
	python = reachable(t, dir, python)
	c := &computer{t: t, dir: dir, cfg: filepath.Join(dir, "slapos.cfg"), release: filepath.Join(dir, "sr"), master: master}
	buildout := filepath.Join(dir, "buildout")
	c.write(buildout, 0o755, "#!%s\nimport sys\nfrom zc.buildout.buildout import main\nsys.exit(main())\n", python)
	text, user := "[computer]\naddress = 127.0.0.1/255.255.255.255\n", ""
	if os.Geteuid() == 0 {
		user = "nobody"
	}
	for k := range partitions {
		text += fmt.Sprintf("[partition_%d]\naddress = 127.0.0.1/255.255.255.255 ::1/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\npathname = slappart%d\nuser = %s\nnetwork_interface =\n", k, k, user)
	}
	c.write(filepath.Join(dir, "format.cfg"), 0o644, "%s", text)
	c.write(c.cfg, 0o644, `[slapos]
computer_id = local
master_url = %s
software_root = %s/soft
instance_root = %s/inst
buildout = %s
software_min_free_space = 1M
instance_min_free_space = 1M
[slapformat]
input_definition_file = %s/format.cfg
alter_user = false
[weir]
parallel = 1
`, master, dir, dir, buildout, dir)
	c.copyRelease()
	c.mkdir(filepath.Join(dir, "soft"))
	t.Cleanup(c.end)
	return c
}

// openDir is a folder that other users may look into.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-node-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// reachable gives a Python that other users can run, with the packages of the
// one given: that one, or, when it is in a folder that is closed to them, a
// copy on top of the system's.
func reachable(t testing.TB, dir, python string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		return python
	}
	home, err := filepath.EvalSymlinks(python)
	if err != nil {
		t.Fatal(err)
	}
	if openTo(home) && openTo(python) {
		return python
	}
	ask := func(program string) (version, packages string) {
		out, err := exec.Command(program, "-c", "import sys, sysconfig; print(*sys.version_info[:2]); print(sysconfig.get_paths()['purelib'])").Output()
		if err != nil {
			return "", ""
		}
		version, packages, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
		return version, packages
	}
	const system = "/usr/bin/python3"
	version, packages := ask(python)
	if other, _ := ask(system); other != version {
		missing(t, fmt.Sprintf("%s is closed to other users, and %s is no Python %s", python, system, version))
	}
	to := filepath.Join(dir, "python")
	if out, err := exec.Command(system, "-m", "venv", "--without-pip", to).CombinedOutput(); err != nil {
		t.Fatalf("copying Python: %v %s", err, out)
	}
	copied := filepath.Join(to, "bin", "python3")
	_, site := ask(copied)
	if out, err := exec.Command("cp", "-a", packages+"/.", site).CombinedOutput(); err != nil {
		t.Fatalf("copying Python's packages: %v %s", err, out)
	}
	return copied
}

// openTo tells whether other users may look into all folders of a path.
func openTo(path string) bool {
	for d := filepath.Dir(path); d != "/"; d = filepath.Dir(d) {
		if info, err := os.Stat(d); err != nil || info.Mode().Perm()&0o005 != 0o005 {
			return false
		}
	}
	return true
}

func (c *computer) write(path string, perm fs.FileMode, format string, args ...any) {
	c.t.Helper()
	if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), perm); err != nil {
		c.t.Fatal(err)
	}
	c.own(path)
}

func (c *computer) mkdir(path string) {
	c.t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		c.t.Fatal(err)
	}
	c.own(path)
}

func (c *computer) own(path string) {
	c.t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Lchown(path, nobody, nobody); err != nil {
		c.t.Fatal(err)
	}
}

// copyRelease puts the release where it may write, and tells it where that is.
func (c *computer) copyRelease() {
	c.t.Helper()
	from := filepath.Join("testdata", "release")
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		to := filepath.Join(c.release, rel)
		if d.IsDir() {
			c.mkdir(to)
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text := string(b)
		if filepath.Ext(path) == ".cfg" {
			text = strings.ReplaceAll(text, "@release@", c.release)
		}
		c.write(to, 0o644, "%s", text)
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *computer) path(parts ...string) string {
	return filepath.Join(append([]string{c.dir}, parts...)...)
}

// run runs a weir command and wants an exit code.
func (c *computer) run(want int, args ...string) string {
	c.t.Helper()
	out, code := c.try(args...)
	if code != want {
		c.t.Fatalf("weir %s: exit code %d, want %d\n%s", strings.Join(args, " "), code, want, out)
	}
	return out
}

func (c *computer) try(args ...string) (string, int) {
	cmd := exec.Command(program, args...)
	if args[0] == "node" {
		cmd.Args = append(cmd.Args, "--cfg", c.cfg)
	} else {
		cmd.Args = append(cmd.Args, "--master", c.master)
	}
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

// supervisors are the processes of the computer's supervisor.
func (c *computer) processes(word string) (pids []int) {
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range list {
		b, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(b), c.dir) && slices.Contains(strings.Split(string(b), "\x00"), word) {
			var pid int
			fmt.Sscanf(name, "/proc/%d/", &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}

func (c *computer) end() {
	for _, pid := range c.processes("supervisor") {
		syscall.Kill(pid, syscall.SIGTERM)
	}
	awaitFor(c.t, patience, "the supervisor ends", func() bool { return len(c.processes("supervisor")) == 0 })
}

// A posted is one POST that a master got.
type posted struct {
	path string
	form url.Values
}

// A recorder is in front of a master and notes the posts.
type recorder struct {
	*httptest.Server
	mu    sync.Mutex
	posts []posted
}

func record(t testing.TB, master string) *recorder {
	t.Helper()
	to, err := url.Parse(master)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	forward := httputil.NewSingleHostReverseProxy(to)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodPost {
			b, _ := io.ReadAll(q.Body)
			q.Body = io.NopCloser(strings.NewReader(string(b)))
			form, _ := url.ParseQuery(string(b))
			r.mu.Lock()
			r.posts = append(r.posts, posted{q.URL.Path, form})
			r.mu.Unlock()
		}
		forward.ServeHTTP(w, q)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) take() []posted {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.posts
	r.posts = nil
	return p
}

// slapproxy starts the real master of slapos.core.
func slapproxy(t testing.TB, python string) string {
	t.Helper()
	dir := t.TempDir()
	port := freePort(t)
	cfg := filepath.Join(dir, "slapos.cfg")
	text := fmt.Sprintf("[slapos]\ncomputer_id = local\n[slapproxy]\nhost = 127.0.0.1\nport = %d\ndatabase_uri = %s/proxy.db\n", port, dir)
	if err := os.WriteFile(cfg, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	daemon(t, filepath.Join(filepath.Dir(python), "slapos"), "proxy", "start", "--cfg", cfg)
	waitFor(t, fmt.Sprintf("127.0.0.1:%d", port))
	return fmt.Sprintf("http://127.0.0.1:%d/", port)
}

// recorded gives the posts of a captured step.
func recorded(t testing.TB, step string) (list []posted) {
	t.Helper()
	b, err := os.ReadFile(shared(t, "vectors", "slap", "node-"+step+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Exchanges []struct {
			Method, Path string
			Form         map[string]string `json:"request_form"`
		}
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	for _, e := range v.Exchanges {
		if e.Method == http.MethodPost {
			form := url.Values{}
			for k, v := range e.Form {
				form.Set(k, v)
			}
			list = append(list, posted{e.Path, form})
		}
	}
	return list
}

var digits = regexp.MustCompile(`\s+`)

// plain makes a post a line, without what is the machine's.
func (c *computer) plain(p posted) string {
	form := url.Values{}
	for k, v := range p.form {
		text := strings.ReplaceAll(v[0], c.dir, "${DIR}")
		if k == "error_log" { // of buildout, whose words differ by its version
			text, _, _ = strings.Cut(text, "\n")
			text = regexp.MustCompile(`soft/[0-9a-f]{32}`).ReplaceAllString(text, "soft/MD5")
		}
		if k == "xml" {
			text = "…"
		}
		form.Set(k, digits.ReplaceAllString(text, " "))
	}
	return p.path + " " + form.Encode()
}

// TestNodeVectors: with the real slapproxy and real buildout, weir's node
// tells the master what slapgrid told it, step by step.
func TestNodeVectors(t *testing.T) {
	t.Parallel()
	python := slapPython(t)
	shared(t, "vectors", "slap") // or skipped, before anything is built
	r := record(t, slapproxy(t, python))
	c := newComputer(t, r.URL+"/", python, 6)
	c.write(c.path("sr", "broken.cfg"), 0o644, "[buildout]\nparts = x\n[x]\nrecipe = weirdemo:file\nurl = ${absent:y}\n")
	sr := func(name string) string { return c.path("sr", name) }
	request := func(title, name string, more ...string) []string {
		return append([]string{"slap", "request", title, sr(name)}, more...)
	}
	node := func(args ...string) []string { return append([]string{"node"}, args...) }
	for _, s := range []struct {
		step string
		code int
		args []string
	}{
		{"01-format", 0, node("format")},
		{"02-supply", 0, []string{"slap", "supply", sr("software.cfg"), "local"}},
		{"03-supply-backend", 0, []string{"slap", "supply", sr("backend.cfg"), "local"}},
		{"04-supply-broken", 0, []string{"slap", "supply", sr("broken.cfg"), "local"}},
		{"05-node-software", 1, node("software")},
		{"06-remove-broken", 0, []string{"slap", "remove", sr("broken.cfg"), "local"}},
		{"07-node-software", 0, node("software")},
		{"08-node-software-nothing-to-do", 0, node("software")},
		{"09-request", 0, request("demo1", "software.cfg", "--parameters", "size=3")},
		{"10-node-instance-parent", 0, node("instance")},
		{"11-node-instance-child", 0, node("instance")},
		{"12-node-instance-parent-again", 0, node("instance")},
		{"13-node-instance-nothing-to-do", 0, node("instance")},
		{"20-node-bang", 0, node("bang", "-m", "hello")},
		{"21-watchdog", 0, nil},
		{"22-node-instance-after-bang", 0, node("instance")},
		{"", 0, request("demo1", "software.cfg", "--parameters", "size=4", "--state", "started")},
		{"", -1, node("instance")},
		{"", -1, node("instance")},
		{"27-node-instance-promise-fails", 2, node("instance", "--force", "--only-cp", "slappart0")},
		{"28-request-broken-instance", 0, request("lost", "absent.cfg")},
		{"30-destroy-lost", 0, request("lost", "absent.cfg", "--state", "destroyed")},
		{"31-destroy", 0, request("demo1", "software.cfg", "--parameters", "size=4", "--state", "destroyed")},
		{"32-node-instance-destroyed", 0, node("instance")},
		{"", 0, node("report")},
		{"35-remove", 0, []string{"slap", "remove", sr("software.cfg"), "local"}},
		{"36-node-software-removed", 0, node("software")},
	} {
		switch {
		case s.step == "21-watchdog":
			c.killService("slappart0:sleeper-on-watch")
			awaitFor(t, patience, "the watchdog tells the master", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.posts) > 0 })
		case s.code < 0:
			c.try(s.args...)
		default:
			if strings.HasPrefix(s.step, "27") {
				c.write(c.path("inst", "slappart0", "etc", "promise", "legacy2"), 0o700, "#!/bin/sh\necho it is broken; exit 1\n")
			}
			c.run(s.code, s.args...)
		}
		c.compare(s.step, r.take())
	}
	for k := range 6 {
		list, err := os.ReadDir(c.path("inst", fmt.Sprintf("slappart%d", k)))
		if err != nil || len(list) > 1 { // .slapos-resource is format's
			t.Errorf("slappart%d after the end: %v, %v", k, list, err)
		}
	}
}

// quieter are posts of slapgrid's that weir leaves out: to a master that does
// not say which state it knows, slapgrid repeats at each run that a partition
// is started.
var quieter = map[string][]string{
	"11-node-instance-child":         {"/startedComputerPartition slappart0"},
	"12-node-instance-parent-again":  {"/startedComputerPartition slappart1"},
	"13-node-instance-nothing-to-do": {"/startedComputerPartition slappart0", "/startedComputerPartition slappart1"},
}

// compare wants the posts of a step to be those that were captured.
func (c *computer) compare(step string, got []posted) {
	c.t.Helper()
	if step == "" {
		return
	}
	var want, have []string
	for _, p := range recorded(c.t, step) {
		if slices.Contains(quieter[step], p.path+" "+p.form.Get("computer_partition_id")) {
			continue
		}
		want = append(want, c.plain(p))
	}
	for _, p := range got {
		have = append(have, c.plain(p))
	}
	if !slices.Equal(want, have) {
		c.t.Errorf("step %s: posts\n%s\nwant\n%s", step, strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// killService ends a service of a partition as a fault would.
func (c *computer) killService(name string) {
	c.t.Helper()
	out := c.run(0, "node", "status", name)
	var pid int
	if _, after, ok := strings.Cut(out, "pid "); ok {
		fmt.Sscanf(after, "%d", &pid)
	}
	if pid < 2 {
		c.t.Fatalf("no process of the service: %s", out)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
}
