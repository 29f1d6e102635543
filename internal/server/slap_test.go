package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/conf"
	"weir/slap"
)

const slapFile = `
http: {listen: "127.0.0.1:0"}
forward: {listen: ["127.0.0.1:0"], security: {self_hostname: h, shared_key: key}}
slap: {listen: "127.0.0.1:0", token: secret, products: {monitor: "http://sr/monitor.cfg"}}
policies:
  - {name: sensors, match: sensors.**, deploy: {release: product.monitor, computers: [COMP-1], parameters: {item: "True"}}}
`

func startWith(t *testing.T, text, dir string) *Server {
	t.Helper()
	c, found := conf.Parse("test.yaml", []byte(text), conf.Source{})
	if len(found) > 0 {
		t.Fatal(found)
	}
	c.Data = dir
	s, err := Start(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s
}

// deployment gives the only deployment's status once it is in a phase.
func deployment(t *testing.T, s *Server, phase string) map[string]any {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		status, body := get(t, s, "/api/deployments")
		var v struct{ Deployments []map[string]any }
		if err := json.Unmarshal([]byte(body), &v); err != nil || status != http.StatusOK || len(v.Deployments) != 1 {
			t.Fatalf("/api/deployments: %d %s, %v", status, body, err)
		}
		if v.Deployments[0]["phase"] == phase || time.Now().After(end) {
			return v.Deployments[0]
		}
	}
}

// TestDeployment: a policy's instance runs on the computer that offers room,
// and is told where to send.
func TestDeployment(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	s := startWith(t, slapFile, dir)
	if d := deployment(t, s, "failed"); !strings.Contains(d["error"].(string), "No free computer partition") {
		t.Fatalf("without a computer: %v", d)
	}
	url := "http://" + s.Addresses().Slap + "/"
	stranger, err := slap.NewClient(slap.ClientOptions{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Computer(ctx, "COMP-1"); !errors.Is(err, slap.ErrForbidden) {
		t.Errorf("without the token: %v", err)
	}
	c, err := slap.NewClient(slap.ClientOptions{URL: url, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Format(ctx, map[string]any{"reference": "COMP-1", "partition_list": []any{map[string]any{"reference": "p", "address_list": []any{}}}}); err != nil {
		t.Fatal(err)
	}
	d := deployment(t, s, "allocated")
	if d["computer"] != "COMP-1" || d["partition"] != "p" || d["release"] != "http://sr/monitor.cfg" || d["state"] != "started" {
		t.Errorf("the deployment: %v", d)
	}
	node, err := c.Computer(ctx, "COMP-1")
	if err != nil || len(node.Releases) != 1 || node.Releases[0].State != slap.Available {
		t.Fatalf("the computer: %+v, %v", node, err)
	}
	told := node.Partitions[0].Parameters
	if told["weir-tag"] != "sensors" || told["weir-shared-key"] != "key" || told["item"] != "True" || told["weir-policy"] != "sensors" {
		t.Errorf("the instance is told %v", told)
	}
	conn, err := net.Dial("tcp", told["weir-forward"].(string))
	if err != nil {
		t.Errorf("the address that it is told: %v", err)
	} else {
		conn.Close()
	}
	stop(t, s)

	s = startWith(t, strings.Replace(slapFile, "computers:", "state: destroyed, computers:", 1), dir)
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if d := deployment(t, s, "allocated"); d["state"] == "destroyed" || time.Now().After(end) {
			if d["state"] != "destroyed" || d["partition"] != "p" {
				t.Errorf("after a restart with the state destroyed: %v", d)
			}
			break
		}
	}
}

// TestDeploymentElsewhere: a stopped deployment is asked for stopped, of the
// own master, which passes the request on to the one that has the release.
func TestDeploymentElsewhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	far := startWith(t, strings.Replace(slapFile, "deploy: {release: product.monitor, computers: [COMP-1]", "deploy: {release: none, state: destroyed", 1), filepath.Join(dir, "far"))
	at := "http://" + far.Addresses().Slap + "/"
	c, err := slap.NewClient(slap.ClientOptions{URL: at, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Format(context.Background(), map[string]any{"reference": "local", "partition_list": []any{map[string]any{"reference": "p", "address_list": []any{}}}}); err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("token: secret", `forward: [{url: "`+at+`", releases: ["http://sr/monitor.cfg"]}]`, "computers: [COMP-1]", "state: stopped").Replace(slapFile)
	near := startWith(t, text, filepath.Join(dir, "near"))
	if d := deployment(t, near, "failed"); !strings.Contains(d["error"].(string), "403") {
		t.Fatalf("without a token for the other master: %v", d)
	}
	stop(t, near)
	near = startWith(t, strings.Replace(text, `releases: [`, `token: secret, releases: [`, 1), filepath.Join(dir, "near"))
	if d := deployment(t, near, "allocated"); d["state"] != "stopped" || d["computer"] != "local" || d["partition"] != "p" {
		t.Errorf("the deployment: %v", d)
	}
	node, err := c.Computer(context.Background(), "local")
	if err != nil || node.Partitions[0].State != slap.Stopped || node.Partitions[0].Title != "user_sensors" || node.Partitions[0].Parameters["weir-tag"] != "sensors" {
		t.Errorf("the other master's computer: %+v, %v", node, err)
	}
}

// TestDeploymentEach: every computer that registers gets an instance.
func TestDeploymentEach(t *testing.T) {
	t.Parallel()
	s := startWith(t, strings.Replace(slapFile, "computers: [COMP-1]", "each: true", 1), t.TempDir())
	c, err := slap.NewClient(slap.ClientOptions{URL: "http://" + s.Addresses().Slap, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"COMP-1", "COMP-2"} {
		if err := c.Format(context.Background(), map[string]any{"reference": id, "partition_list": []any{map[string]any{"reference": "p", "address_list": []any{}}}}); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			node, err := c.Computer(context.Background(), id)
			if err != nil {
				t.Fatal(err)
			}
			if p := node.Partitions[0]; p.Busy && p.Title == "sensors-"+id && p.Parameters["weir-tag"] == "sensors" && len(node.Releases) == 1 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s has %+v; %+v", id, node, s.deployed())
			}
		}
	}
	eventually(t, s, "/metrics", `weir_deployment_running{policy="sensors",reference="sensors-COMP-2"} 0`)
}

// TestOwnMasterAddressTaken: an address that is taken is an error of the start.
func TestOwnMasterAddressTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, found := conf.Parse("test.yaml", []byte(strings.Replace(slapFile, `slap: {listen: "127.0.0.1:0"`, `slap: {listen: "`+l.Addr().String()+`"`, 1)), conf.Source{})
	if len(found) > 0 {
		t.Fatal(found)
	}
	c.Data = t.TempDir()
	if s, err := Start(Options{Config: c}); err == nil || !strings.Contains(err.Error(), "slap.listen") {
		t.Errorf("%v, %v", s, err)
	}
}

// TestSlapOpenDoor: a master that asks nobody who he is takes what those may
// send who say nothing to the HTTP listener, and no more.
func TestSlapOpenDoor(t *testing.T) {
	t.Parallel()
	const users = `, users: [{username: u, token: "a-token-of-some-length", rights: [ingest]}]`
	for _, v := range []struct {
		http string
		want int
	}{
		{"", http.StatusNoContent},
		{users, http.StatusForbidden},
		{users + `, anonymous: {rights: [read]}`, http.StatusForbidden},
		{users + `, anonymous: {rights: [ingest], policies: [other]}`, http.StatusForbidden},
		{users + `, anonymous: {rights: [ingest], policies: [sensors]}`, http.StatusNoContent},
	} {
		s := startWith(t, `
http: {listen: "127.0.0.1:0"`+v.http+`}
forward: {listen: []}
slap: {listen: "127.0.0.1:0"}
policies: [{name: sensors, match: sensors.**}, {name: other, match: other.**}]
`, t.TempDir())
		a, err := http.Post("http://"+s.Addresses().Slap+"/ingestData?ingestion_policy=sensors&reference=sensors.one", "", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(a.Body)
		a.Body.Close()
		if a.StatusCode != v.want {
			t.Errorf("http%s: %s %s", v.http, a.Status, text)
		}
		if n := s.router.Stats().Refused["forbidden"].Bytes; (n == 1) != (v.want == http.StatusForbidden) {
			t.Errorf("http%s: %d bytes are counted as forbidden", v.http, n)
		}
	}
}

// TestSlapDoors: the state of the own master cannot be read or written by
// HTTP, what comes to its /ingestData is kept by the policies, and what nodes
// report becomes streams and arrays.
func TestSlapDoors(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := startWith(t, strings.Replace(slapFile, `slap: {`, `slap: {authority: true, async: true, attributes: {COMP-1: {region: eu}}, `, 1), t.TempDir())
	ca, err := os.ReadFile(filepath.Join(s.conf.Data, "slap", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	t.Cleanup(h.CloseIdleConnections)
	base := "https://" + s.Addresses().Slap
	c, err := slap.NewClient(slap.ClientOptions{URL: base, Token: "secret", HTTP: h})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Format(ctx, map[string]any{"reference": "COMP-1", "partition_list": []any{map[string]any{"reference": "p", "address_list": []any{}}}}); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost} {
		r, err := http.NewRequest(method, "http://"+s.Addresses().HTTP+"/streams/_slap", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if want := map[string]int{http.MethodGet: 404, http.MethodPut: 400, http.MethodPost: 400}[method]; a.StatusCode != want {
			t.Errorf("%s of the master's state: %s", method, a.Status)
		}
	}
	send := func(query, body, token string) (int, string) {
		r, err := http.NewRequest(http.MethodPost, base+"/ingestData?"+query, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Access-Token", token)
		a, err := h.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		text, _ := io.ReadAll(a.Body)
		return a.StatusCode, string(text)
	}
	entry := "\x92\x01\x81\xa1a\x01"
	for _, v := range []struct {
		query, body, token string
		status             int
	}{
		{"ingestion_policy=sensors&reference=sensors.one", entry, "secret", 204},
		{"ingestion_policy=sensors&reference=sensors.one", entry, "wrong", 403},
		{"ingestion_policy=none&reference=sensors.one", entry, "secret", 404},
		{"ingestion_policy=sensors&reference=_slap", entry, "secret", 400},
		{"ingestion_policy=sensors", entry, "secret", 400},
	} {
		if status, text := send(v.query, v.body, v.token); status != v.status {
			t.Errorf("/ingestData?%s %q: %d %s, want %d", v.query, v.body, status, text, v.status)
		}
	}
	if n := s.router.Stats().Refused["forbidden"].Bytes; n != int64(len(entry)) {
		t.Errorf("%d bytes are counted as forbidden", n)
	}
	if status, body := get(t, s, "/streams/sensors.one"); status != http.StatusOK || body != entry {
		t.Errorf("what was ingested: %d %q", status, body)
	}
	journal := `<journal><transaction type="x"><stop_date>2026-11-20 23:59:59</stop_date><movement><resource>cpu</resource><reference>p</reference><quantity>2.5</quantity></movement></transaction></journal>`
	if err := c.ReportUsage(ctx, "COMP-1", journal); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		status, body := get(t, s, "/api/arrays/_slap.accounts/quantity/slice")
		if status == http.StatusOK && strings.Contains(body, "\x00\x00\x00\x00\x00\x00\x04@") { // 2.5
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the array of accounts: %d %s", status, body)
		}
	}
}
