package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// BenchmarkSlap compares weir's master with slapproxy, both with a node of 200
// busy partitions: full information of the node, and requests of an instance
// that is there, from four connections.
func BenchmarkSlap(b *testing.B) {
	python := slapPython(b)
	mine, _ := slapMaster(b, b.TempDir())
	dir := b.TempDir()
	port := freePort(b)
	cfg := filepath.Join(dir, "slapos.cfg")
	text := fmt.Sprintf("[slapos]\ncomputer_id = local\n[slapproxy]\nhost = 127.0.0.1\nport = %d\ndatabase_uri = %s/proxy.db\n", port, dir)
	if err := os.WriteFile(cfg, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
	daemon(b, filepath.Join(filepath.Dir(python), "slapos"), "proxy", "start", "--cfg", cfg)
	theirs := fmt.Sprintf("http://127.0.0.1:%d/", port)
	waitFor(b, fmt.Sprintf("127.0.0.1:%d", port))
	for _, m := range []struct{ name, url string }{{"weir", mine}, {"slapproxy", theirs}} {
		fill := exec.Command(python, "-c", `
import sys, slapos.slap
from slapos.util import dumps
s = slapos.slap.slap(); s.initializeConnection(sys.argv[1])
s.registerComputer("local").updateConfiguration(dumps({"reference": "local", "address": "::1", "netmask": "::", "partition_list": [
    {"reference": "p%d" % i, "tap": {"name": "t"}, "address_list": [{"addr": "::1", "netmask": "::"}]} for i in range(200)]}))
for i in range(200):
    s.registerOpenOrder().request("sr", "i%d" % i, {"size": 3, "_": '{"a": [1, 2, 3], "b": "text with <signs>"}'})
`, m.url)
		if out, err := fill.CombinedOutput(); err != nil {
			b.Fatalf("%s: %v\n%s", m.name, err, out)
		}
		b.Run(m.name+"/full", func(b *testing.B) {
			for b.Loop() {
				slapExchange(b, http.DefaultClient, m.url+"getFullComputerInformation?computer_id=local", nil)
			}
		})
		b.Run(m.name+"/request", func(b *testing.B) {
			form := url.Values{"software_release": {"sr"}, "software_type": {"default"}, "partition_reference": {"i7"}, "state": {"<marshal><none/></marshal>"},
				"shared_xml": {"<marshal><bool>0</bool></marshal>"}, "filter_xml": {`<marshal><dictionary id="i2"/></marshal>`},
				"partition_parameter_xml": {`<marshal><dictionary id="i2"><string>_</string><string>{"a": [1, 2, 3], "b": "text with &amp;lt;signs&amp;gt;"}</string><string>size</string><int>3</int></dictionary></marshal>`}}
			work := make(chan struct{})
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for range work {
						slapExchange(b, http.DefaultClient, m.url+"requestComputerPartition", form)
					}
				})
			}
			for b.Loop() {
				work <- struct{}{}
			}
			close(work)
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// slapExchange gets a URL, or posts a form, and wants success.
func slapExchange(b *testing.B, c *http.Client, url string, form url.Values) {
	get := func() (*http.Response, error) { return c.Get(url) }
	if form != nil {
		get = func() (*http.Response, error) {
			return c.Post(url, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
		}
	}
	answer, err := get()
	if err != nil {
		b.Error(err)
		return
	}
	defer answer.Body.Close()
	if n, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK || n < 100 {
		b.Errorf("%s: %s, %d bytes, %v", url, answer.Status, n, err)
	}
}
