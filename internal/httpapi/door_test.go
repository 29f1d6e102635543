package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"weir/access"
)

// guarded starts a weir with users of different rights.
func guarded(t *testing.T, change ...func(*Options)) *weir {
	t.Helper()
	g, err := access.New(access.Options{
		Users: []access.User{
			{Name: "sender", Password: "pw", Grant: access.Grant{Rights: access.Ingest}},
			{Name: "reader", Password: "pw", Token: "0123456789abcdef", Grant: access.Grant{Rights: access.Read}},
			{Name: "both", Password: "pw", Grant: access.Grant{Rights: access.Ingest | access.Read}},
			{Name: "admin", Password: "pw", Grant: access.Grant{Rights: access.Admin}},
			{Name: "files", Password: "pw", Grant: access.Grant{Rights: access.Ingest | access.Read, Policies: []string{"files", "numbers"}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return start(t, append(change, func(o *Options) { o.Access = g })...)
}

// as is the header of a user whose password is pw.
func as(name string) []string {
	if name == "" {
		return nil
	}
	return []string{"Authorization", basicHeader(name, "pw")}
}

const ingestRaw = "/erp5/portal_ingestion_policies/raw/ingest?reference=raw.a"

func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.do("PUT", "/streams/raw.there", strings.NewReader("x"), as("admin")...).want(t, 201, "")
	w.do("PUT", "/streams/files/there", strings.NewReader("x"), as("admin")...).want(t, 201, "")
	w.do("PUT", "/streams/numbers.n", strings.NewReader("1\n2\n"), as("admin")...).want(t, 201, "")
	w.build("numbers.n")
	for _, c := range []struct {
		method, target string
		statuses       string // of nobody, sender, reader, both, admin, files
	}{
		{"GET", "/health", "200 200 200 200 200 200"},
		{"GET", "/ready", "200 200 200 200 200 200"},
		{"GET", "/", "401 403 200 200 200 403"},
		{"GET", "/api/status", "401 403 200 200 200 403"},
		{"GET", "/streams/", "401 403 200 200 200 403"},
		{"GET", "/arrays/", "401 403 200 200 200 403"},
		{"GET", "/streams/raw.there", "401 403 200 200 200 403"},
		{"GET", "/streams/files/there", "401 403 200 200 200 200"},
		{"GET", "/streams/files/there/chunks", "401 403 200 200 200 200"},
		{"GET", "/streams/raw.there/chunks", "401 403 200 200 200 403"},
		{"GET", "/streams/files/absent", "401 403 404 404 404 404"},
		{"GET", "/streams/nowhere", "401 403 404 404 404 403"},
		{"GET", "/arrays/numbers.n/zarr.json", "401 403 200 200 200 200"},
		{"GET", "/arrays/wavs.n/zarr.json", "401 403 404 404 404 403"},
		{"GET", "/arrays/numbers.n", "401 403 200 200 200 200"},
		{"GET", "/arrays/numbers.n/value?format=npy", "401 403 200 200 200 200"},
		{"GET", "/arrays/wavs.n", "401 403 404 404 404 403"},
		{"PUT", "/streams/files/new", "401 200 403 200 200 200"},
		{"PUT", "/streams/raw.new", "401 200 403 200 200 403"},
		{"POST", ingestRaw, "401 204 403 204 204 403"},
		{"POST", "/erp5/portal_ingestion_policies/files/ingest?reference=files/b", "401 204 403 204 204 204"},
		{"GET", "/api/deployments", "401 403 403 403 200 403"},
		{"GET", "/api/deploy%6Dents", "401 403 403 403 200 403"},
		{"GET", "/api/job", "401 403 403 403 404 403"}, // there is no job engine
		{"POST", "/api/job", "401 403 403 403 404 403"},
		{"GET", "/nothing/here", "401 403 404 404 404 403"},
		{"DELETE", "/nothing/here", "401 403 403 403 404 403"},
	} {
		want := strings.Fields(c.statuses)
		for i, who := range []string{"", "sender", "reader", "both", "admin", "files"} {
			body := ""
			if c.method != "GET" {
				body = string(entry("x"))
			}
			a := w.do(c.method, c.target, strings.NewReader(body), as(who)...)
			got := a.status
			if got == 201 {
				got = 200
			}
			if fmt.Sprint(got) != want[i] {
				t.Errorf("%s %s as %q: %d %s, want %s", c.method, c.target, who, got, a.body, want[i])
			}
			if challenged := a.header.Get("Www-Authenticate") != ""; challenged != (got == 401) {
				t.Errorf("%s %s as %q: status %d, WWW-Authenticate %q", c.method, c.target, who, got, a.header.Get("Www-Authenticate"))
			}
		}
	}
}

func TestATokenIsAUser(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	w.get("/streams/", "Authorization", "Bearer 0123456789abcdef").want(t, 200, "")
	w.get("/streams/", "Authorization", "Bearer 0123456789abcdeF").want(t, 401, "")
	w.ingest("raw", "raw.a", entry("x"), "Authorization", "Bearer 0123456789abcdef").want(t, 403, "user reader has no right ingest here; it has: read")
	w.absent("raw.a")
}

// What is refused at the door is counted by reason, and never a 3xx.
func TestRefusalsAtTheDoorAreCounted(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	data := entry("x")
	for _, c := range []struct {
		reason  string
		status  int
		headers []string
	}{
		{"no-credentials", 401, nil},
		{"bad-credentials", 401, []string{"Authorization", basicHeader("sender", "wrong")}},
		{"bad-credentials", 401, []string{"Authorization", basicHeader("nobody", "pw")}},
		{"bad-credentials", 401, []string{"Authorization", "Negotiate abc"}},
		{"forbidden", 403, as("reader")},
	} {
		before, _ := w.refused(c.reason)
		requests := w.s.Stats().Refused[c.reason]
		a := w.ingest("raw", "raw.a", data, c.headers...)
		a.want(t, c.status, "")
		after, _ := w.refused(c.reason)
		if after.Bytes-before.Bytes != int64(len(data)) || w.s.Stats().Refused[c.reason] != requests+1 {
			t.Errorf("%s: %d bytes and %d requests counted, want %d and 1", c.reason, after.Bytes-before.Bytes, w.s.Stats().Refused[c.reason]-requests, len(data))
		}
	}
	w.get("/streams/").want(t, 401, "curl -u")
	if n := w.s.Stats().Refused["no-credentials"]; n != 2 {
		t.Errorf("%d requests without credentials counted, want those that only read, too", n)
	}
	w.absent("raw.a")
}

func TestGuessesAreTold429(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	for i := range 20 {
		a := w.get("/streams/", "Authorization", basicHeader("reader", fmt.Sprint(i)))
		if a.status == 429 {
			if a.header.Get("Retry-After") == "" || a.header.Get("Www-Authenticate") != "" {
				t.Errorf("headers %v", a.header)
			}
			w.get("/streams/", as("reader")...).want(t, 200, "")
			return
		}
		a.want(t, 401, "")
	}
	t.Error("20 guesses were all heard")
}

// The credentials are looked at before the body is asked for.
func TestExpectIsAnsweredByTheDoor(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	for _, c := range []struct {
		who, target string
		status      int
	}{
		{"", ingestRaw, 401}, {"reader", ingestRaw, 403}, {"files", ingestRaw, 403}, {"files", "/streams/raw.x", 403},
		{"sender", "/portal_ingestion_policies/raw/ingest", 400}, {"sender", "/portal_ingestion_policies/no/ingest?reference=x", 404},
	} {
		conn := w.dial()
		head := "POST " + c.target + " HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 20000\r\n"
		if c.who != "" {
			head += "Authorization: " + basicHeader(c.who, "pw") + "\r\n"
		}
		conn.say(head + "\r\n")
		conn.hear("POST").want(t, c.status, "")
	}
	conn := w.dial()
	conn.say("POST " + ingestRaw + " HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\nAuthorization: " + basicHeader("sender", "pw") + "\r\n\r\n")
	line, err := conn.r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("the first line is %q, %v", line, err)
	}
}

// A job engine with users of its own asks for them itself.
func TestJobsWithUsersAskThemselves(t *testing.T) {
	t.Parallel()
	w := guarded(t, func(o *Options) { o.JobUsers = true })
	w.get("/api/job").want(t, 404, "") // the door lets it in, and there is no engine
	w.get("/api/status").want(t, 401, "")
}

// A refused upload neither blocks nor is read as the next request.
func TestARefusedBodyIsNoRequest(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	a := w.do("PUT", "/streams/raw.big", strings.NewReader(strings.Repeat("GET / HTTP/1.1\r\n\r\n", 50000)))
	a.want(t, 401, "")
	w.absent("raw.big")
}

// A user who is bounded to some policies takes no name by one of them that
// another policy is configured to take; nothing is made, with Expect or without.
func TestABoundedUserClaimsNoTagOfAnotherPolicy(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	at := "/portal_ingestion_policies/files/ingest?reference="
	for _, tag := range []string{"raw.theirs", "raw/../raw.theirs", "raw%2Etheirs"} {
		a := w.do("POST", at+tag, strings.NewReader("x"), as("files")...)
		if strings.Contains(tag, "/") { // it is no tag of raw
			a.want(t, 204, "")
			continue
		}
		a.want(t, 403, `user files may not take the tag "raw.theirs" for policy "files": it is one of policy "raw"'s`)
	}
	w.absent("raw.theirs")
	c := w.dial()
	c.say("POST " + at + "raw.theirs HTTP/1.1\r\nHost: x\r\nAuthorization: " + basicHeader("files", "pw") + "\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
	c.hear("POST").want(t, 403, "raw")
	if n, ok := w.refused(reasonForbidden); !ok || n.Bytes == 0 {
		t.Errorf("it was not counted: %v", w.router.Stats().Refused)
	}
	// Those of the user's own policies, and of none, are free.
	for _, tag := range []string{"numbers.mine", "elsewhere", "files/mine"} {
		w.do("POST", at+tag, strings.NewReader("x"), as("files")...).want(t, 204, "")
	}
	// Who is not bounded may, and then the stream is the policy's.
	w.do("POST", at+"raw.given", strings.NewReader("x"), as("sender")...).want(t, 204, "")
	w.do("POST", at+"raw.given", strings.NewReader("y"), as("files")...).want(t, 204, "")
	if got := w.content("raw.given"); got != "xy" {
		t.Errorf("the stream is %q", got)
	}
}
