package e2e

import (
	"encoding/json"
	"io"
	"maps"
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

	"github.com/go-zookeeper/zk"
)

// A slipstream is a server of jobs as the captured scenarios show SlipStream's:
// it refuses attributes that it does not know, and asks for a login.
type slipstream struct {
	*httptest.Server
	t     *testing.T
	known map[string]bool

	mu     sync.Mutex
	jobs   map[string]map[string]any
	edits  map[string][]map[string]any // by job
	refuse int                         // edits to answer with 503
	stop   string                      // a job that is stopped at its next edit
	logins int
}

func newSlipstream(t *testing.T) *slipstream {
	s := &slipstream{t: t, known: map[string]bool{}, jobs: map[string]map[string]any{}, edits: map[string][]map[string]any{}}
	for _, name := range strings.Fields("id resourceURI created updated name description properties acl operations state action progress " +
		"targetResource affectedResources returnCode statusMessage timeOfStatusChange parentJob nestedJobs priority started duration") {
		s.known[name] = true
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *slipstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/api/")
	body, _ := io.ReadAll(r.Body)
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
	if path == "session" {
		var sent map[string]map[string]string
		if json.Unmarshal(body, &sent) != nil || !maps.Equal(sent["sessionTemplate"], map[string]string{"href": "session-template/internal", "username": "super", "password": "secret"}) {
			s.t.Errorf("the login sends %s", body)
		}
		s.logins++
		http.SetCookie(w, &http.Cookie{Name: "com.sixsq.slipstream.cookie", Value: "token"})
		answer(201, map[string]any{"status": 201})
		return
	}
	if _, err := r.Cookie("com.sixsq.slipstream.cookie"); err != nil {
		answer(403, map[string]any{"status": 403, "message": "log in"})
		return
	}
	j := s.jobs[path]
	switch {
	case j == nil:
		answer(404, map[string]any{"status": 404, "message": path + " not found", "resource-id": path})
	case r.Method == "GET":
		answer(200, j)
	case r.Method == "PUT" && s.refuse > 0 && len(s.edits[path]) > 0:
		s.refuse--
		answer(503, map[string]any{"status": 503})
	case r.Method == "PUT":
		var change map[string]any
		if err := json.Unmarshal(body, &change); err != nil {
			s.t.Errorf("PUT %s sends %s", path, body)
		}
		for name, v := range change {
			if !s.known[name] {
				s.t.Errorf("PUT %s sends %s, which SlipStream's server refuses", path, name)
			}
			j[name] = v
		}
		s.edits[path] = append(s.edits[path], change)
		if s.stop == path {
			j["state"] = "STOPPED"
		}
		answer(200, j)
	default:
		s.t.Errorf("%s %s is nothing that the engine sends", r.Method, path)
		answer(405, map[string]any{"status": 405})
	}
}

// A replay is a captured scenario for the executor.
type replay struct {
	name    string
	script  string // of its action
	refuse  int
	stop    bool
	again   bool // the edits are those after the job was begun by another
	instead []string
}

// TestExecutorOnCapturedTraffic: against a server that holds the jobs of the
// captured scenarios, and an entry in ZooKeeper, the executor sends the edits
// that SlipStream's sent, and the entry is gone. instead tells where it does
// better.
func TestExecutorOnCapturedTraffic(t *testing.T) {
	t.Parallel()
	hosts := startEnsemble(t, 1).hosts
	folder := shared(t, "vectors", "jobs")
	c, _, err := zk.Connect(hosts, 20*time.Second, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := newSlipstream(t)
	replays := []replay{
		{name: "seed-success", script: `echo '{"progress":50}'
echo '{"statusMessage":"half way"}'
echo '{"affectedResources":[{"href":"dummy"},{"href":"virtual-machine/aaaa"}]}'`},
		{name: "seed-action-fails", script: `echo boom >&2; exit 1`},
		{name: "seed-not-implemented"},
		{name: "seed-ghost-404"},
		{name: "seed-already-final"},
		{name: "seed-kill-9-running", script: `[ "$WEIR_JOB_AGAIN" = true ]`, again: true},
		// The original leaves the job RUNNING when its last edit is refused, and
		// overwrites STOPPED with SUCCESS.
		{name: "seed-edit-api-down", script: `:`, refuse: 1, instead: []string{`{"state":"RUNNING"}`, `{"state":"RUNNING"}`, `{"returnCode":0,"state":"SUCCESS"}`}},
		{name: "seed-stop-operation", script: `sleep 60`, stop: true, instead: []string{`{"state":"RUNNING"}`}},
	}
	dir := t.TempDir()
	for _, r := range replays {
		t.Run(r.name, func(t *testing.T) { r.run(t, s, c, folder, dir, hosts) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.logins < len(replays) {
		t.Errorf("%d logins by %d executors", s.logins, len(replays))
	}
}

func (r replay) run(t *testing.T, s *slipstream, c *zk.Conn, folder, dir string, hosts []string) {
	id, document, want := r.scenario(t, folder)
	if r.instead != nil {
		want = r.instead
	}
	s.mu.Lock()
	if s.jobs[id] = document; document == nil {
		delete(s.jobs, id)
	}
	delete(s.edits, id)
	if s.refuse = r.refuse; r.stop {
		s.stop = id
	}
	s.mu.Unlock()
	actions := filepath.Join(dir, r.name)
	if err := os.Mkdir(actions, 0o755); err != nil {
		t.Fatal(err)
	}
	if action, _ := document["action"].(string); r.script != "" {
		if err := os.WriteFile(filepath.Join(actions, action), []byte("#!/bin/sh\n"+r.script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "job", "executor", "--ss-url="+s.URL, "--ss-user=super", "--ss-pass=secret", "--zk-hosts="+hosts[0], "--actions", actions)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("the executor ends with %v:\n%s", err, &log)
		}
	}()
	for _, parent := range []string{"/job", "/job/entries", "/job/taken"} {
		if _, err := c.Create(parent, nil, 0, zk.WorldACL(zk.PermAll)); err != nil && err != zk.ErrNodeExists {
			t.Fatal(err)
		}
	}
	entry, err := c.Create("/job/entries/entry-999-", []byte(id), zk.FlagSequence, zk.WorldACL(zk.PermAll))
	if err != nil {
		t.Fatal(err)
	}
	awaitFor(t, patience, "the entry is consumed", func() bool { there, _, err := c.Exists(entry); return err == nil && !there })
	if locks, _, err := c.Children("/job/taken"); err != nil || len(locks) > 0 {
		t.Errorf("locks are left: %v, %v", locks, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []string
	for _, e := range s.edits[id] {
		if text, ok := e["statusMessage"].(string); ok && strings.HasSuffix(text, ": boom") {
			e["statusMessage"] = "boom" // the name of the action stands before
		}
		if e["state"] == "FAILED" {
			delete(e, "returnCode") // the original gave none
		}
		b, _ := json.Marshal(e)
		got = append(got, string(b))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the edits are\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// scenario reads which job a scenario is about, what it was before, and which
// edits followed.
func (r replay) scenario(t *testing.T, folder string) (id string, document map[string]any, edits []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, r.name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var scenario struct{ HTTP []exchange }
	if err := json.Unmarshal(b, &scenario); err != nil {
		t.Fatal(err)
	}
	logins := 0
	for _, e := range scenario.HTTP {
		if strings.HasSuffix(e.Request.Path, "/session") {
			logins++
		}
		if r.again && logins == 0 {
			continue // the one that was killed
		}
		switch path := strings.TrimPrefix(e.Request.Path, "/api/"); {
		case e.Request.Method == "GET" && id == "" && strings.HasPrefix(path, "job/"):
			id = path
			if e.Response.Status == 200 {
				document = e.Response.Body
			}
		case e.Request.Method == "PUT" && path == id:
			text, _ := json.Marshal(e.Request.Body)
			edits = append(edits, string(text))
		}
	}
	if id == "" {
		t.Fatalf("%s is about no job", r.name)
	}
	return id, document, edits
}
