package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestNodeDeployment goes the whole way: a policy asks for a deployment, the
// node builds the release and starts a sender, whose numbers are an array.
func TestNodeDeployment(t *testing.T) {
	t.Parallel()
	python, reader := slapPython(t), registryPeer(t, "WEIR_PYTHON", "Python with zarr and xarray")
	port := freePort(t)
	master := fmt.Sprintf("http://127.0.0.1:%d/", port)
	c := newComputer(t, master, python, 4)
	w := configured(t, fmt.Sprintf(`
slap: {listen: "127.0.0.1:%d"}
policies:
  - name: station
    match: numbers.**
    keep: text
    array: {kind: numbers}
    deploy: {release: %q, computers: [local], tag: numbers.station, parameters: {period: ""}}
`, port, c.path("sr", "station.cfg")))
	c.run(0, "node", "format")
	c.run(0, "slap", "supply", c.path("sr", "sender.cfg"), "local")
	awaitFor(t, 2*patience, "the deployment is allocated", func() bool {
		_, v := w.api("GET", "deployments", "", nil)
		return strings.Contains(fmt.Sprint(v), "allocated") && strings.Contains(c.run(0, "slap", "status", "local"), "station.cfg  available")
	})
	c.run(0, "node", "software")
	awaitFor(t, 4*patience, "a run that has nothing left to do", func() bool {
		out, code := c.try("node", "instance")
		t.Log(out)
		return code == 0 && !strings.Contains(out, "processing")
	})
	awaitFor(t, patience, "numbers in the array", func() bool {
		code, v := w.api("GET", "arrays/numbers.station", "", nil)
		return code == http.StatusOK && !strings.Contains(fmt.Sprint(v), "shape:[0]")
	})
	c.compareSent(w, reader, "slappart1")
	first, err := os.ReadFile(c.path("inst", "slappart1", "first"))
	if err != nil || string(first) != "0\n" {
		t.Errorf("what the run script made: %q, %v", first, err)
	}
	c.write(c.path("inst", "slappart1", "first"), 0o600, "mine")
	c.run(0, "node", "instance", "--force")
	if again, err := os.ReadFile(c.path("inst", "slappart1", "first")); err != nil || string(again) != "mine" {
		t.Errorf("existing data was overwritten: %q, %v", again, err)
	}
}

// compareSent kills the sender in the middle, lets it be started again and
// send more, and wants the array to be what was sent: each number once, in
// order, and at the end one more at most, whose answer the sender missed.
func (c *computer) compareSent(w *weir, python, partition string) {
	c.t.Helper()
	sender := partition + ":sender-on-watch"
	sent := func() []string {
		b, err := os.ReadFile(c.path("inst", partition, "sent"))
		if err != nil {
			c.t.Fatal(err)
		}
		return strings.Fields(string(b))
	}
	c.killService(sender)
	before := len(sent())
	awaitFor(c.t, 2*patience, "the sender is started again and goes on", func() bool {
		c.try("node", "instance")
		return len(sent()) > before+20
	})
	c.run(0, "node", "stop", sender)
	want := sent()
	w.awaitRows("numbers.station", "value", len(want))
	const script = "import sys, xarray as xr; print(*(int(v) for v in xr.open_zarr(sys.argv[1]).value.values))"
	out, err := exec.Command(python, "-c", script, w.url("/arrays/numbers.station")).CombinedOutput()
	got := strings.Fields(string(out))
	if err == nil && len(got) == len(want)+1 {
		want = append(want, fmt.Sprint(len(want)))
	}
	if err != nil || !slices.Equal(got, want) {
		c.t.Fatalf("the array has %d values, and %d were sent: %v\n%s\nwant\n%s", len(got), len(want), err, out, strings.Join(want, " "))
	}
	for k, v := range want {
		if v != fmt.Sprint(k) {
			c.t.Fatalf("number %d that was sent is %s", k, v)
		}
	}
}
