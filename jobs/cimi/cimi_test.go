package cimi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"weir/internal/vfs"
	"weir/jobs"
	"weir/streams"
)

// derived is weir's own work.
type derived struct{}

func (derived) List() []jobs.Job {
	return []jobs.Job{{ID: "job/own", Action: "transform", State: jobs.Success, Target: &jobs.Reference{Href: "streams/a"}}}
}

func (d derived) Get(id string) (jobs.Job, bool) { return d.List()[0], id == "job/own" }

func (d derived) Cancel(id string) (jobs.Job, error) {
	j := d.List()[0]
	j.State = jobs.Canceled
	return j, nil
}

func (derived) Logs(id string, _ int64) (jobs.Log, bool) {
	return jobs.Log{ID: id, Lines: []jobs.Line{{Text: "own line"}}}, true
}

func service(t *testing.T, users ...User) *Service {
	t.Helper()
	kept, err := streams.Open("data", streams.Options{FS: vfs.NewMem(1 << 30), SegmentBytes: 64 << 10, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	store, err := jobs.OpenStore(jobs.StoreOptions{Streams: kept})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close(); kept.Close() })
	return NewService(Options{Store: store, Derived: derived{}, Users: users})
}

const asJSON = "application/json"

func ask(t *testing.T, s *Service, r Request) (Response, map[string]any) {
	t.Helper()
	if r.ContentType == "" {
		r.ContentType = asJSON
	}
	a := s.Serve(t.Context(), r)
	var out map[string]any
	if err := json.Unmarshal(a.Body, &out); err != nil {
		t.Fatalf("%+v: answer %q", r, a.Body)
	}
	return a, out
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	s := service(t)
	_, made := ask(t, s, Request{Method: "POST", Path: "job", Body: []byte(`{"action":"a"}`)})
	id := made["resource-id"].(string)
	for _, c := range []struct {
		method, path, query, contentType, body string
		status                                 int
		says                                   string
	}{
		{"GET", "cloud-entry-point", "", "", "", 200, `"jobs":{"href":"job"}`},
		{"POST", "cloud-entry-point", "", "", "", 405, "GET"},
		{"GET", "job", "", "", "", 200, `"count":2`},
		{"GET", "job", "$last=0", "", "", 200, `"jobs":[]`},
		{"GET", "job", "$filter=action%3D%27transform%27", "", "", 200, "job/own"},
		{"PUT", "job", "", "application/x-www-form-urlencoded", "filter=action%3D'a'&last=1", 200, `"count":1`},
		{"GET", "job", "$filter=%3D", "", "", 400, "filter"},
		{"GET", "job", "$filter=%zz", "", "", 400, "encoded"},
		{"GET", "job", "$aggregation=max:progress", "", "", 400, "aggregation"},
		{"DELETE", "job", "", "", "", 405, "POST"},
		{"POST", "job", "", "", `{"action":"a","colour":"red"}`, 400, "colour"},
		{"POST", "job", "", "text/plain", `{"action":"a"}`, 415, "application/json"},
		{"GET", id, "", "", "", 200, `"rel":"edit"`},
		{"GET", id, "$select=state", "", "", 200, `"state":"QUEUED"`},
		{"GET", "job/none", "", "", "", 404, "job/none not found"},
		{"GET", "job/own", "", "", "", 200, "transform"},
		{"PUT", "job/own", "", "", `{"progress":1}`, 405, "weir's own"},
		{"POST", "job/own/cancel", "", "", "", 200, "CANCELED"},
		{"POST", "job/own/stop", "", "", "", 405, "weir's own"},
		{"GET", "job/own/log", "", "", "", 200, "own line"},
		{"POST", "job/own/log", "", "", `{"lines":["x"]}`, 405, "weir's own"},
		{"POST", id + "/log", "", "", `{"attempt":1,"lines":["a line"]}`, 200, "added"},
		{"POST", id + "/log", "", "", `{"lines":"x"}`, 400, "lines"},
		{"POST", id + "/log", "", "", `{"colour":"x"}`, 400, "colour"},
		{"POST", id + "/log", "", "text/plain", `{"lines":["x"]}`, 415, "json"},
		{"GET", id + "/log", "", "", "", 200, "a line"},
		{"GET", id + "/log", "from=1", "", "", 200, `"lines":[]`},
		{"GET", id + "/log", "from=x", "", "", 400, "from=x"},
		{"GET", "job/none/log", "", "", "", 404, "job/none"},
		{"GET", "executor/nobody", "", "", "", 404, "nobody"},
		{"POST", "executor/stacks", "", "", "", 405, "GET"},
		{"PUT", id, "", "application/x-www-form-urlencoded", "progress=1", 415, "json"},
		{"PATCH", id, "", "", "", 405, "DELETE"},
		{"POST", id + "/dance", "", "", "", 404, "dance"},
		{"PUT", id, "$select=description", "", `{"state":"RUNNING"}`, 200, `"attempt":1`},
		{"POST", id + "/get-context", "", "", "", 200, `"` + id + `":{"id"`},
		{"GET", "job/none/get-context", "", "", "", 404, "job/none"},
		{"POST", id + "/stop", "", "application/x-www-form-urlencoded", "", 200, "STOPPED"},
		{"POST", id + "/cancel", "", "", "", 200, "CANCELED"},
		{"PUT", id, "", "", `{"progress":1}`, 409, "CANCELED"},
		{"DELETE", id, "", "", "", 200, "deleted"},
		{"DELETE", id, "", "", "", 404, "not found"},
		{"POST", "session", "", "", `{"sessionTemplate":{"username":"x","password":"y"}}`, 201, "session/"},
		{"POST", "session", "", "", `{`, 400, "JSON"},
		{"DELETE", "session", "", "", "", 405, "DELETE"},
		{"PUT", "session/x", "", "", "", 405, "PUT"},
		{"POST", "session/x", "", "", "", 405, "POST"},
	} {
		a, _ := ask(t, s, Request{Method: c.method, Path: c.path, Query: c.query, ContentType: c.contentType, Body: []byte(c.body), Host: "h"})
		if a.Status != c.status || !strings.Contains(string(a.Body), c.says) {
			t.Errorf("%s %s?%s %s: %d %s, want %d with %s", c.method, c.path, c.query, c.body, a.Status, a.Body, c.status, c.says)
		}
	}
}

// TestLaterEngine: what the engine that came after SlipStream's asks for beside.
func TestLaterEngine(t *testing.T) {
	t.Parallel()
	s := service(t, User{Name: "super", Password: "s", Admin: true}, User{Name: "alice", Password: "a"})
	cookie := func(name string) string {
		a, _ := ask(t, s, Request{Method: "POST", Path: "session", Body: []byte(`{"sessionTemplate":{"username":"` + name + `","password":"` + name[:1] + `"}}`)})
		text, _, _ := strings.Cut(a.SetCookie, ";")
		return text
	}
	super, alice := cookie("super"), cookie("alice")
	add := func(body string) string {
		_, made := ask(t, s, Request{Method: "POST", Path: "job", Cookie: super, Body: []byte(body)})
		return made["resource-id"].(string)
	}
	parent := add(`{"action":"a","acl":{"owner":{"principal":"alice","type":"USER"}}}`)
	child := add(`{"action":"b","parentJob":"` + parent + `"}`)
	for i, c := range []struct {
		method, path, cookie, bulk, contentType, body string
		status                                        int
		says, saysNot                                 string
	}{
		{"POST", parent + "/timeout", super, "", "", "", 409, "QUEUED", ""},
		{"PUT", parent, super, "", asJSON, `{"state":"RUNNING"}`, 200, "RUNNING", ""},
		{"GET", parent, super, "", "", "", 200, parent + "/timeout", ""},
		{"GET", parent, alice, "", "", "", 200, "RUNNING", parent + "/timeout"},
		{"POST", parent + "/timeout", alice, "", "", "", 403, "alice", ""},
		{"GET", parent + "/get-context", super, "", "", "", 200, child, ""},
		{"GET", parent + "/get-context", alice, "", "", "", 200, parent, child}, // who may not see the child
		{"POST", parent + "/timeout", super, "", "", "", 200, "timed out", ""},
		{"GET", child, super, "", "", "", 200, "CANCELED", ""},
		{"POST", parent + "/timeout", super, "", "", "", 409, "CANCELED", ""},
		{"DELETE", "job", alice, "yes", "application/x-www-form-urlencoded", "filter=action='a'", 403, "alice", ""},
		{"DELETE", "job", super, "yes", "application/x-www-form-urlencoded", "", 400, "filter", ""},
		{"DELETE", "job", super, "yes", "application/x-www-form-urlencoded", "filter=%3D", 400, "filter", ""},
		{"DELETE", "job", super, "", "application/x-www-form-urlencoded", "filter=action='a'", 405, "POST", ""},
		{"DELETE", "job", super, "yes", "application/x-www-form-urlencoded", "filter=action='a'", 200, `"deleted":1`, ""},
		{"GET", parent, super, "", "", "", 404, "not found", ""},
		{"GET", child, super, "", "", "", 200, "CANCELED", ""},
	} {
		a, _ := ask(t, s, Request{Method: c.method, Path: c.path, Cookie: c.cookie, Bulk: c.bulk, ContentType: c.contentType, Body: []byte(c.body)})
		if a.Status != c.status || !strings.Contains(string(a.Body), c.says) || c.saysNot != "" && strings.Contains(string(a.Body), c.saysNot) {
			t.Errorf("%d: %s %s %s: %d %s, want %d with %s", i, c.method, c.path, c.body, a.Status, a.Body, c.status, c.says)
		}
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	s := service(t, User{Name: "super", Password: "secret", Admin: true}, User{Name: "a.b", Password: "c"})
	login := func(name, password string) (int, string) {
		a, _ := ask(t, s, Request{Method: "POST", Path: "session", Body: encode(map[string]any{"sessionTemplate": map[string]string{"key": name, "secret": password}})})
		cookie, _, _ := strings.Cut(a.SetCookie, ";")
		return a.Status, cookie
	}
	for _, c := range [][2]string{{"super", "wrong"}, {"nobody", "secret"}, {"nobody", ""}, {"", ""}} {
		if status, cookie := login(c[0], c[1]); status != 403 || cookie != "" {
			t.Errorf("%v: %d %s", c, status, cookie)
		}
	}
	_, admin := login("super", "secret")
	_, user := login("a.b", "c")
	stranger := service(t, User{Name: "super", Password: "secret", Admin: true})
	foreign, _ := ask(t, stranger, Request{Method: "POST", Path: "session", Body: []byte(`{"sessionTemplate":{"username":"super","password":"secret"}}`)})
	other, _, _ := strings.Cut(foreign.SetCookie, ";")
	for cookie, want := range map[string]int{"": 403, "x=y": 403, cookieName + "=super": 403, cookieName + "=a.1.b": 403, admin + "x": 403,
		other: 403, admin: 200, user: 200, "a=b; " + admin: 200} {
		if a, _ := ask(t, s, Request{Method: "GET", Path: "job", Cookie: cookie}); a.Status != want {
			t.Errorf("cookie %q: %d, want %d", cookie, a.Status, want)
		}
	}
	_, made := ask(t, s, Request{Method: "POST", Path: "job", Cookie: admin,
		Body: []byte(`{"action":"a","acl":{"owner":{"principal":"ADMIN","type":"ROLE"},"rules":[{"principal":"a.b","type":"USER","right":"VIEW"}]}}`)})
	shared := made["resource-id"].(string)
	_, made = ask(t, s, Request{Method: "POST", Path: "job", Cookie: admin, Body: []byte(`{"action":"a"}`)})
	hidden := made["resource-id"].(string)
	for _, c := range []struct {
		method, path string
		status       int
	}{{"GET", shared, 200}, {"PUT", shared, 403}, {"DELETE", shared, 403}, {"GET", hidden, 403}, {"POST", hidden + "/stop", 403}, {"POST", "job", 403}} {
		if a, _ := ask(t, s, Request{Method: c.method, Path: c.path, Cookie: user, Body: []byte(`{"action":"a"}`)}); a.Status != c.status {
			t.Errorf("%s %s as a user: %d, want %d", c.method, c.path, a.Status, c.status)
		}
	}
	if _, list := ask(t, s, Request{Method: "GET", Path: "job", Cookie: user}); list["count"] != 1.0 || len(list["operations"].([]any)) != 0 {
		t.Errorf("a user sees %v", list)
	}
}

// TestClient: the client against the service, behind a server that forgets
// sessions and fails.
func TestClient(t *testing.T) {
	t.Parallel()
	s := service(t, User{Name: "super", Password: "secret", Admin: true})
	var down atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		body, _ := io.ReadAll(r.Body)
		a := s.Serve(r.Context(), Request{Method: r.Method, Path: strings.TrimPrefix(r.URL.Path, "/api/"), Query: r.URL.RawQuery,
			ContentType: r.Header.Get("Content-Type"), Cookie: r.Header.Get("Cookie"), Host: r.Host, Body: body})
		if a.SetCookie != "" {
			w.Header().Set("Set-Cookie", a.SetCookie)
		}
		w.WriteHeader(a.Status)
		w.Write(a.Body)
	}))
	defer server.Close()
	c, err := NewClient(ClientOptions{URL: server.URL, User: "super", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	id, err := c.Create(ctx, []byte(`{"action":"a"}`)) // logs in by itself
	if err != nil {
		t.Fatal(err)
	}
	s.sessions = newSessions([]User{{Name: "super", Password: "secret", Admin: true}}) // as after a restart
	if j, err := c.Get(ctx, id); err != nil || j.State != jobs.Queued {
		t.Errorf("get after a restart: %+v, %v", j, err)
	}
	none, late := 0, 5
	if j, err := c.Edit(ctx, id, jobs.Change{State: jobs.Running, Attempt: &none}); err != nil || j.Attempt != 1 {
		t.Errorf("edit: %+v, %v", j, err)
	}
	if _, err := c.Edit(ctx, id, jobs.Change{Attempt: &late}); !errors.Is(err, jobs.ErrConflict) {
		t.Errorf("edit of a lost job: %v", err)
	}
	bad := 101
	if _, err := c.Edit(ctx, id, jobs.Change{Progress: &bad}); !errors.Is(err, jobs.ErrInvalid) || !strings.Contains(err.Error(), "101") {
		t.Errorf("edit of nonsense: %v", err)
	}
	if _, err := c.Get(ctx, "job/none"); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("get of nothing: %v", err)
	}
	if p, err := c.Query(ctx, jobs.Query{Filters: []string{"state='RUNNING'", "action='a'"}, OrderBy: []string{"created:desc"}, Last: "1"}); err != nil || p.Count != 1 || p.Jobs[0].ID != id {
		t.Errorf("query: %+v, %v", p, err)
	}
	if j, err := c.Cancel(ctx, id); err != nil || j.State != jobs.Canceled {
		t.Errorf("cancel: %+v, %v", j, err)
	}
	down.Store(true)
	if err := c.Delete(ctx, id); err == nil || errors.Is(err, jobs.ErrNotFound) || !strings.Contains(err.Error(), "503") {
		t.Errorf("delete while the server is away: %v", err)
	}
	down.Store(false)
	if err := c.Delete(ctx, id); err != nil {
		t.Error(err)
	}
	wrong, _ := NewClient(ClientOptions{URL: server.URL, User: "super", Password: "x"})
	if err := wrong.Login(ctx); err == nil || !strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v", err)
	}
	for _, u := range []string{"", "host:1", "ftp://x", "http://"} {
		if _, err := NewClient(ClientOptions{URL: u}); err == nil {
			t.Errorf("%q was taken for a URL", u)
		}
	}
}
