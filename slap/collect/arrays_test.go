package collect

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"weir/conf"
	"weir/internal/server"
)

// TestIntoArrays: pushed samples arrive in the arrays that the monitor's
// policies make.
func TestIntoArrays(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../conf/examples/monitor.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config, found := conf.Parse("monitor.yaml", append(text, "\nhttp: {listen: \"127.0.0.1:0\"}\nforward: {listen: [\"127.0.0.1:0\"]}\n"...), conf.Source{})
	if len(found) > 0 {
		t.Fatal(found)
	}
	config.Data = t.TempDir()
	s, err := server.Start(server.Options{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	base := "http://" + s.Addresses().HTTP
	o := options(t, fake(t))
	o.Push = HTTP{URL: base + "/erp5/portal_ingestion_policies/slapos_{table}"}
	o.DiskEvery = time.Second
	c := New(o)
	for i := range 3 {
		if _, err := c.Collect(t.Context(), noon.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range []string{"user.COMP-1/cpu_percent", "user.COMP-1/memory_rss", "system.COMP-1/loadavg", "system.COMP-1/net_in_bytes", "computer.COMP-1/memory_size", "temperature.COMP-1/temperature", "disk.COMP-1/used", "folder.COMP-1/disk_used"} {
		rows := 3
		if strings.HasPrefix(a, "temperature") || strings.HasPrefix(a, "disk") {
			rows = 6 // two sensors, two disks
		}
		want := fmt.Sprintf(`"shape":[%d]`, rows)
		path := base + "/arrays/slapos.monitor.usage." + a + "/zarr.json"
		var got string
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			r, err := http.Get(path)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(r.Body)
			r.Body.Close()
			if got = strings.Join(strings.Fields(string(b)), ""); strings.Contains(got, want) {
				break
			}
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: no %s in %.300s", path, want, got)
		}
	}
}
