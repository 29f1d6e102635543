package cimi

import (
	"strings"
	"testing"
)

// TestKebab: the later engine's spelling, there and back, by the cookie.
func TestKebab(t *testing.T) {
	t.Parallel()
	s := service(t, User{Name: "super", Password: "secret", Admin: true})
	a, _ := ask(t, s, Request{Method: "POST", Path: "session", Body: []byte(`{"template":{"href":"session-template/password","username":"super","password":"secret"}}`)})
	cookie, _, _ := strings.Cut(a.SetCookie, ";")
	if a.Status != 201 || !strings.HasPrefix(cookie, kebabCookie+"=") {
		t.Fatalf("log in: %d %q", a.Status, a.SetCookie)
	}
	_, made := ask(t, s, Request{Method: "POST", Path: "job", Cookie: cookie,
		Body: []byte(`{"action":"a","target-resource":{"href":"x"},"execution-mode":"pull","version":2,"payload":"{}","acl":{"owners":["group/nuvla-admin","user/b"]},"tags":["mine"],"resource-type":"job"}`)})
	id := made["resource-id"].(string)
	for _, c := range []struct {
		method, path, query, contentType, body string
		status                                 int
		says                                   []string
	}{
		{"GET", id, "", "", "", 200, []string{`"resource-type":"job"`, `"target-resource":{"href":"x"}`, `"execution-mode":"pull"`, `"owners":["group/nuvla-admin","user/b"]`, `"created-by":"group/nuvla-admin"`}},
		{"PUT", id, "", "", `{"state":"RUNNING","status-message":"m","affected-resources":[{"href":"y"}]}`, 200, []string{`"status-message":"m"`, `"time-of-status-change"`, `"started"`, `"affected-resources":[{"href":"y"}]`}},
		{"PUT", id, "select=status-message", "", `{"progress":10}`, 200, []string{`"progress":10`}},
		{"PUT", "job", "", "application/x-www-form-urlencoded", "filter=execution-mode='pull' and target-resource/href='x'&last=1&orderby=time-of-status-change:desc&select=return-code,progress", 200,
			[]string{`"resources":[{`, `"count":1`, `"resource-type":"job-collection"`, `"progress":10`}},
		{"PUT", id, "", "", `{"colour":1}`, 400, []string{"colour"}},
		{"PUT", id, "", "", `[1]`, 400, []string{"no JSON object"}},
		{"PUT", id, "", "", `{"acl":{"owner":3}}`, 400, []string{"acl"}},
		{"PUT", id, "", "", `{"execution-mode":"push-me"}`, 400, []string{"push-me"}},
		{"POST", id + "/cancel", "", "", "", 200, []string{`"CANCELED"`, `"resource-type"`}},
	} {
		a, _ := ask(t, s, Request{Method: c.method, Path: c.path, Query: c.query, ContentType: c.contentType, Cookie: cookie, Body: []byte(c.body)})
		for _, says := range c.says {
			if a.Status != c.status || !strings.Contains(string(a.Body), says) {
				t.Errorf("%s %s %s: %d %s, want %d with %s", c.method, c.path, c.body, a.Status, a.Body, c.status, says)
			}
		}
	}
}
