package node

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestCollect: samples are pushed, a day that is over is told to the master
// once, and a master that is away is told it later.
func TestCollect(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2, "true")
	var mu sync.Mutex
	var pushed []string
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		pushed = append(pushed, r.URL.Path+" "+r.URL.Query().Get("reference"))
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(gateway.Close)
	h.c.Collect = CollectConfig{Push: gateway.URL + "/{table}", KeepDays: 3}
	if err := h.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(pushed, "/system/ingest slapos.monitor.usage.system.local") {
		t.Errorf("pushed %q", pushed)
	}
	// The sample was taken yesterday.
	days, err := filepath.Glob(h.state("collect", "day-*.json"))
	if err != nil || len(days) != 1 {
		t.Fatalf("%v, %v", days, err)
	}
	yesterday := time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)
	if err := os.Rename(days[0], h.state("collect", "day-"+yesterday+".json")); err != nil {
		t.Fatal(err)
	}
	h.fake.told()
	h.fake.set(func() { h.fake.status = http.StatusServiceUnavailable })
	if err := h.Collect(t.Context()); err == nil {
		t.Error("a master that is away is no error")
	}
	h.fake.set(func() { h.fake.status = 0 })
	for range 2 {
		if err := h.Collect(t.Context()); err != nil {
			t.Error(err)
		}
	}
	usage := slices.DeleteFunc(h.fake.told(), func(p string) bool { return !strings.HasPrefix(p, "useComputer") })
	if len(usage) != 1 {
		t.Errorf("the master was told %q", usage)
	}
}

func TestCollectConfig(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "slapos.cfg")
	text := "[slapos]\ncomputer_id = c\nmaster_url = http://127.0.0.1:1/\nsoftware_root = /s\ninstance_root = /i\n%s"
	load := func(more string) (*Config, error) {
		if err := os.WriteFile(file, fmt.Appendf(nil, text, more), 0o644); err != nil {
			t.Fatal(err)
		}
		return LoadConfig(file, nil)
	}
	c, err := load("collect_cache = 4\n[collect]\nreport_disk_usage = False\n[weir]\npush = http://a/{table}/\npush_user = u\n")
	if want := (CollectConfig{KeepDays: 4, DiskEvery: -1, Push: "http://a/{table}", User: "u"}); err != nil || c.Collect != want {
		t.Errorf("%+v, %v", c.Collect, err)
	}
	for _, wrong := range []string{"collect_cache = 0\n", "[collect]\nreport_disk_usage = maybe\n", "[weir]\npush = gateway:8880\n"} {
		if _, err := load(wrong); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}
