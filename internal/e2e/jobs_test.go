package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// api sends JSON below /api and gives the answer's status and body.
func (w *weir) api(method, path, contentType string, body any) (int, map[string]any) {
	w.t.Helper()
	var text []byte
	switch b := body.(type) {
	case nil:
	case string:
		text = []byte(b)
	default:
		text, _ = json.Marshal(b)
	}
	req, err := http.NewRequest(method, "http://"+w.HTTP+"/api/"+path, bytes.NewReader(text))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if w.cookie != "" {
		req.Header.Set("Cookie", w.cookie)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(all, &out); err != nil {
		w.t.Fatalf("%s %s answers %d %q", method, path, resp.StatusCode, all)
	}
	return resp.StatusCode, out
}

const asJSON = "application/json"

// addJob makes a job and gives its id.
func (w *weir) addJob(job any) string {
	w.t.Helper()
	status, answer := w.api("POST", "job", asJSON, job)
	id, _ := answer["resource-id"].(string)
	if status != 201 || id == "" {
		w.t.Fatalf("POST job: %d %v", status, answer)
	}
	return id
}

// An exchange is one of a captured scenario.
type exchange struct {
	Request struct {
		Method, Path string
		Headers      map[string]string
		Body         any
	}
	Response struct {
		Status int
		Body   map[string]any
	}
}

// TestJobEngineTraffic replays what SlipStream's job engine sent to its server,
// and compares the answers but for times and ids.
func TestJobEngineTraffic(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(shared(t, "vectors", "jobs"), "*.json"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var scenario struct{ HTTP []exchange }
			if err := json.Unmarshal(b, &scenario); err != nil {
				t.Fatal(err)
			}
			w := start(t)
			if strings.HasPrefix(filepath.Base(file), "nuvla-") {
				w.cookie = "com.sixsq.nuvla.cookie=any" // the server has no users
			}
			ids := map[string]string{} // of the scenario to weir's
			for i, e := range scenario.HTTP {
				if e.Response.Status != 503 { // a fault of that server, on command
					replayExchange(t, w, ids, i, e)
				}
			}
		})
	}
}

func replayExchange(t *testing.T, w *weir, ids map[string]string, i int, e exchange) {
	t.Helper()
	path := strings.TrimPrefix(e.Request.Path, "/api/")
	want := e.Response.Body
	if id, _ := want["id"].(string); strings.HasPrefix(id, "job/") && ids[id] == "" {
		if want["state"] != "QUEUED" { // the scenario begins with an older job
			ids[id] = w.addJob(jobLike(want))
			w.api("PUT", ids[id], asJSON, map[string]any{"state": "RUNNING"})
			w.api("PUT", ids[id], asJSON, map[string]any{"state": want["state"], "statusMessage": want["statusMessage"],
				"returnCode": want["returnCode"], "affectedResources": want["affectedResources"]})
		} else {
			ids[id] = w.addJob(jobLike(want))
		}
	}
	for old, id := range ids {
		path = strings.Replace(path, old, id, 1)
	}
	body := e.Request.Body
	if form, ok := body.(map[string]any); ok && strings.Contains(e.Request.Headers["Content-Type"], "form") {
		var fields []string
		for k, v := range form {
			fields = append(fields, fmt.Sprintf("%s=%s", strings.ReplaceAll(k, "$", "%24"), v))
		}
		body = strings.Join(fields, "&")
	}
	status, got := w.api(e.Request.Method, path, e.Request.Headers["Content-Type"], body)
	if status != e.Response.Status {
		t.Errorf("exchange %d: %s %s answers %d %v, want %d", i, e.Request.Method, path, status, got, e.Response.Status)
		return
	}
	if status >= 400 && got["message"] != want["message"] {
		t.Errorf("exchange %d: message %q, want %q", i, got["message"], want["message"])
	}
	compareJobs(t, i, got, want)
}

func jobLike(j map[string]any) map[string]any {
	out := map[string]any{}
	for _, k := range []string{"action", "targetResource", "priority", "target-resource", "execution-mode", "version"} {
		if v, ok := j[k]; ok {
			out[k] = v
		}
	}
	return out
}

// compareJobs: all attributes of the captured answer are there, and those that
// are neither times nor ids are equal.
func compareJobs(t *testing.T, i int, got, want map[string]any) {
	t.Helper()
	vary := []string{"id", "resource-id", "message", "created", "updated", "started", "timeOfStatusChange", "duration", "properties",
		"operations", "baseURI", "credentials", "count", "tags", "created-by", "time-of-status-change"}
	for k, v := range want {
		g, ok := got[k]
		if !ok && k != "credentials" && (k != "duration" || got["started"] != nil) {
			t.Errorf("exchange %d: the answer has no %s", i, k)
		}
		a, _ := json.Marshal(g)
		b, _ := json.Marshal(v)
		if !slices.Contains(vary, k) && !bytes.Equal(a, b) {
			t.Errorf("exchange %d: %s is %s, want %s", i, k, a, b)
		}
	}
}

// TestJobsPythonClient works with SlipStream's own client library, as its
// engine does, with users that must log in.
func TestJobsPythonClient(t *testing.T) {
	t.Parallel()
	python := registryPeer(t, "WEIR_PYTHON", "Python")
	config := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(config, []byte("jobs:\n  users:\n    - {username: super, password: secret, admin: true}\n    - {username: alice, password: wonder}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, "--config", config)
	cmd := exec.Command(python, filepath.Join(root, "internal", "e2e", "testdata", "cimi.py"), "http://"+w.HTTP)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cimi.py: %v\n%s", err, out)
	}
}

// TestJobsSurviveKill: what was answered is there after a kill, in the queue's order.
func TestJobsSurviveKill(t *testing.T) {
	t.Parallel()
	w := start(t)
	var ids []string
	for i := range 20 {
		ids = append(ids, w.addJob(map[string]any{"action": fmt.Sprint("a", i)}))
	}
	w.api("PUT", ids[3], asJSON, map[string]any{"state": "RUNNING", "statusMessage": "half"})
	w.api("DELETE", ids[4], asJSON, nil)
	w.kill()
	w.up()
	_, list := w.api("PUT", "job", "application/x-www-form-urlencoded", "%24filter=state%3D'QUEUED'&%24orderby=created:desc&%24last=5")
	if list["count"] != 18.0 || len(list["jobs"].([]any)) != 5 {
		t.Errorf("after a kill %v are queued, want 18", list["count"])
	}
	_, j := w.api("GET", ids[3], asJSON, nil)
	if j["state"] != "RUNNING" || j["statusMessage"] != "half" || j["attempt"] != 1.0 {
		t.Errorf("the running job is %v", j)
	}
	if status, _ := w.api("GET", ids[4], asJSON, nil); status != 404 {
		t.Errorf("the deleted job answers %d", status)
	}
	resp, err := http.Get("http://" + w.HTTP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); !strings.Contains(string(text), `weir_jobs{state="QUEUED"} 18`) || !strings.Contains(string(text), "weir_job_entries 19") {
		t.Errorf("the metrics lack 18 queued jobs and 19 entries:\n%s", text)
	}
	if status, a := w.api("POST", "job", "text/plain", `{"action":"a"}`); status != 415 {
		t.Errorf("a job as plain text answers %d %v", status, a)
	}
}
