package server

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
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
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
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
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if d := deployment(t, s, "allocated"); d["state"] == "destroyed" || time.Now().After(end) {
			if d["state"] != "destroyed" || d["partition"] != "p" {
				t.Errorf("after a restart with the state destroyed: %v", d)
			}
			break
		}
	}
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
