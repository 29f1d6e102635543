package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fillSlap makes 2,000 busy partitions on 100 nodes, 200 of them on node-0.
const fillSlap = `
import sys, slapos.slap
from slapos.util import dumps
s = slapos.slap.slap(); s.initializeConnection(sys.argv[1])
for n in range(100):
    node, count = "node-%d" % n, 200 if n == 0 else 19 if n <= 18 else 18
    s.registerComputer(node).updateConfiguration(dumps({"reference": node, "address": "::1", "netmask": "::", "partition_list": [
        {"reference": "p%d" % i, "tap": {"name": "t"}, "address_list": [{"addr": "::1", "netmask": "::"}]} for i in range(count)]}))
    for i in range(count):
        s.registerOpenOrder().request("sr", "i%d.%d" % (n, i), {"size": 3, "_": '{"a": [1, 2, 3], "b": "text with <signs>"}'}, filter_kw={"computer_guid": node})
`

// BenchmarkSlap compares weir's master with slapproxy, both with 2,000 busy
// partitions on 100 nodes: full information of a node that has 200 of them, and
// requests of an instance that is there, from four connections.
func BenchmarkSlap(b *testing.B) {
	python := slapPython(b)
	mine, weir := slapMaster(b, b.TempDir())
	dir := b.TempDir()
	port := freePort(b)
	cfg := filepath.Join(dir, "slapos.cfg")
	text := fmt.Sprintf("[slapos]\ncomputer_id = local\n[slapproxy]\nhost = 127.0.0.1\nport = %d\ndatabase_uri = %s/proxy.db\n", port, dir)
	if err := os.WriteFile(cfg, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
	proxy := daemon(b, filepath.Join(filepath.Dir(python), "slapos"), "proxy", "start", "--cfg", cfg)
	theirs := fmt.Sprintf("http://127.0.0.1:%d/", port)
	waitFor(b, fmt.Sprintf("127.0.0.1:%d", port))
	for _, m := range []struct {
		name, url string
		pid       int
	}{{"weir", mine, weir.Process.Pid}, {"slapproxy", theirs, proxy.Process.Pid}} {
		began := time.Now()
		if out, err := exec.Command(python, "-c", fillSlap, m.url).CombinedOutput(); err != nil {
			b.Fatalf("%s: %v\n%s", m.name, err, out)
		}
		b.Logf("%s: 2,000 instances in %v", m.name, time.Since(began).Round(100*time.Millisecond))
		b.Run(m.name+"/full", func(b *testing.B) {
			for b.Loop() {
				slapExchange(b, http.DefaultClient, m.url+"getFullComputerInformation?computer_id=node-0", nil)
			}
		})
		b.Run(m.name+"/request", func(b *testing.B) {
			form := url.Values{"software_release": {"sr"}, "software_type": {"default"}, "partition_reference": {"i0.7"}, "state": {"<marshal><none/></marshal>"},
				"shared_xml": {"<marshal><bool>0</bool></marshal>"}, "filter_xml": {`<marshal><dictionary id="i2"><string>computer_guid</string><string>node-0</string></dictionary></marshal>`},
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
			b.ReportMetric(residentMiB(b, m.pid), "MiB-peak")
		})
	}
}

// residentMiB is the most memory that a process had.
func residentMiB(b *testing.B, pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kib) / 1024
		}
	}
	b.Fatal("/proc tells no VmHWM")
	return 0
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
