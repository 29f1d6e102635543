package collect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// fake makes a /proc and /sys with one process of this user and one of nobody
// that is known.
func fake(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"proc/stat":                          "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3\nbtime 1795000000\n",
		"proc/loadavg":                       "1.25 0.5 0.1 2/300 4711\n",
		"proc/meminfo":                       "MemTotal:       1000 kB\nMemFree: 100 kB\nMemAvailable:    250 kB\n",
		"proc/net/dev":                       "Inter-| Receive\n face |bytes\n    lo: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n  eth0: 1000 5 2 3 0 0 0 0 2000 6 4 5 0 0 0 0\n",
		"proc/cpuinfo":                       "processor\t: 0\nmodel name\t: Fast One\ncpu MHz\t\t: 2400.5\n",
		"proc/self/mounts":                   "/dev/disk1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/disk1 /again ext4 rw 0 0\n/dev/disk2 /with\\040blank ext4 rw 0 0\n",
		"proc/77/stat":                       "77 (a) b) S 1 77 77 0 -1 0 0 0 0 0 150 50 0 0 20 0 3 0 100000 0 2 0 0 0\n",
		"proc/77/io":                         "rchar: 5\nwchar: 6\nsyscr: 7\nsyscw: 8\nread_bytes: 4096\nwrite_bytes: 8192\n",
		"proc/78/stat":                       "78 (dead) Z 1 77 77 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 100000 0 2 0 0 0\n",
		"proc/79/stat":                       "nonsense",
		"proc/not-a-pid/stat":                "",
		"with blank/x":                       "",
		"sys/class/hwmon/hwmon0/name":        "coretemp\n",
		"sys/class/hwmon/hwmon0/temp1_input": "45500\n",
		"sys/class/hwmon/hwmon0/temp1_label": "Core 0\n",
		"sys/class/hwmon/hwmon0/temp2_input": "99000\n",
		"sys/class/hwmon/hwmon0/temp2_max":   "80000\n",
		"sys/class/hwmon/hwmon0/temp2_crit":  "95000\n",
		"sys/class/hwmon/hwmon0/temp3_input": "unreadable\n",
	} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func options(t *testing.T, root string) Options {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "data"), make([]byte, 100_000), 0o644); err != nil {
		t.Fatal(err)
	}
	return Options{
		Dir: filepath.Join(t.TempDir(), "collect"), Computer: "COMP-1", Root: root, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Partitions: func() []Partition {
			return []Partition{{ID: "slappart0", Folder: folder, User: "slapuser0", UID: uint32(os.Getuid())}}
		},
	}
}

func TestSample(t *testing.T) {
	t.Parallel()
	root := fake(t)
	c := New(options(t, root))
	s, err := c.Collect(t.Context(), noon)
	if err != nil {
		t.Fatal(err)
	}
	if want := (System{1.25, 20, 750 << 10, 250 << 10, 1010, 2, 3, 2020, 4, 5}); s.System != want {
		t.Errorf("system %+v, want %+v", s.System, want)
	}
	if k := s.Computer; k.Type != "Fast One" || k.Frequency != 2400.5 || k.MemorySize != 1000<<10 || !strings.HasPrefix(k.Partitions, "/dev/disk1=") || strings.Count(k.Partitions, ";") != 1 {
		t.Errorf("computer %+v", k)
	}
	if len(s.Disks) != 2 || s.Disks[1].Mountpoint != "/with blank" || s.Disks[0].Free <= 0 {
		t.Errorf("disks %+v", s.Disks)
	}
	if len(s.Temperatures) != 2 || s.Temperatures[0] != (Temperature{"coretemp Core 0", 45.5, 0}) || s.Temperatures[1] != (Temperature{"coretemp temp2", 99, 2}) {
		t.Errorf("temperatures %+v", s.Temperatures)
	}
	if len(s.Processes) != 1 {
		t.Fatalf("processes %+v", s.Processes)
	}
	p := s.Processes[0]
	rss := 2 * int64(os.Getpagesize())
	if p.Partition != "slapuser0" || p.PID != 77 || p.Name != "77-1795001000.00" || p.CPUTime != 2 || p.Threads != 3 || p.RSS != rss || p.IOBytes != 12288 || p.IOCalls != 15 {
		t.Errorf("process %+v", p)
	}
	if len(s.Folders) != 1 || s.Folders[0].Used < 98 || s.Folders[0].Used > 150 {
		t.Errorf("folders %+v", s.Folders)
	}
	// A minute later: differences are taken, the disk is not measured again.
	for name, text := range map[string]string{
		"proc/stat":    "cpu  400 0 100 1000 100 0 0 0 0 0\nbtime 1795000000\n",
		"proc/77/stat": "77 (a) b) S 1 77 77 0 -1 0 0 0 0 0 3150 50 0 0 20 0 3 0 100000 0 2 0 0 0\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err = New(c.o).Collect(t.Context(), noon.Add(time.Minute))
	if err != nil || s.System.CPUPercent != 50 || len(s.Processes) != 1 || s.Processes[0].CPUPercent != 50 || len(s.Folders) != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	// Another process with the same number.
	text := "77 (b) S 1 77 77 0 -1 0 0 0 0 0 60 0 0 0 20 0 3 0 10007000000 0 2 0 0 0\n"
	if err := os.WriteFile(filepath.Join(root, "proc/77/stat"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err = c.Collect(t.Context(), noon.Add(2*time.Minute)); err != nil || s.Processes[0].CPUPercent < 0 || s.Processes[0].CPUPercent > 100 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestThisMachine: the real /proc, and a process that is known to be busy.
func TestThisMachine(t *testing.T) {
	t.Parallel()
	o := options(t, "/")
	c := exec.Command("sh", "-c", "while :; do :; done")
	own := fmt.Sprintf("slappart-%d", os.Getpid()) // no other test's on this machine
	c.Env = append(os.Environ(), "SUPERVISOR_GROUP_NAME="+own)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	folder := t.TempDir()
	o.Partitions = func() []Partition { // two that share a user
		return []Partition{{ID: own + "-other", Folder: folder, User: "u0", UID: uint32(os.Getuid())}, {ID: own, Folder: folder, User: "u1", UID: uint32(os.Getuid())}}
	}
	k := New(o)
	if _, err := k.Collect(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	var s Sample
	var err error
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); { // until it had its turn
		time.Sleep(1100 * time.Millisecond)
		if s, err = k.Collect(t.Context(), time.Now()); err != nil || len(s.Processes) != 1 {
			t.Fatalf("%+v, %v", s.Processes, err)
		}
		if s.Processes[0].CPUPercent > 0 {
			break
		}
	}
	if p := s.Processes[0]; p.Partition != "u1" || p.PID != c.Process.Pid || p.CPUTime <= 0 || p.CPUPercent <= 0 || p.RSS <= 0 || p.Threads != 1 {
		t.Errorf("%+v", p)
	}
	if s.System.MemoryUsed <= 0 || s.Computer.Cores <= 0 {
		t.Errorf("%+v %+v", s.System, s.Computer)
	}
}

func TestDiskUse(t *testing.T) {
	t.Parallel()
	folder, outside := t.TempDir(), t.TempDir()
	for _, d := range []string{folder, outside} {
		if err := os.WriteFile(filepath.Join(d, "file"), make([]byte, 1<<20), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	deep := folder
	for range 20 { // longer than the longest path
		deep = filepath.Join(deep, strings.Repeat("d", 180))
	}
	if err := errors.Join(os.MkdirAll(deep, 0o755), os.Symlink(outside, filepath.Join(folder, "out")), os.Link(filepath.Join(folder, "file"), filepath.Join(folder, "again")),
		os.Symlink("loop", filepath.Join(folder, "loop"))); err != nil {
		t.Fatal(err)
	}
	got, err := diskUse(t.Context(), folder)
	out, e := exec.Command("du", "-s", folder).Output()
	var want int64
	if _, scan := fmt.Sscan(string(out), &want); err != nil || e != nil || scan != nil || got != want {
		t.Errorf("%d kB, %v; du says %d, %v", got, err, want, e)
	}
	if _, err := diskUse(t.Context(), filepath.Join(folder, "absent")); err == nil {
		t.Error("a folder that there is not is measured")
	}
}

// A gateway is what is pushed to.
type gateway struct {
	fail   error
	refuse string // a table
	got    map[string][]Record
	keys   map[string]int
}

func (g *gateway) Push(_ context.Context, table, tag, key string, at time.Time, records []Record) error {
	if g.fail != nil {
		return g.fail
	}
	if table == g.refuse {
		return ErrRefused
	}
	if g.keys == nil {
		g.got, g.keys = map[string][]Record{}, map[string]int{}
	}
	if g.keys[key]++; g.keys[key] == 1 {
		g.got[tag] = append(g.got[tag], records...)
	}
	return nil
}

// TestPush: what cannot be pushed waits, and is sent later, each sample once.
func TestPush(t *testing.T) {
	t.Parallel()
	g := &gateway{fail: errors.New("nobody there")}
	o := options(t, fake(t))
	o.Push, o.UID = g, "uid"
	c := New(o)
	for i := range 3 {
		if s, err := c.Collect(t.Context(), noon.Add(time.Duration(i)*time.Minute)); !errors.Is(err, g.fail) || s.Time.IsZero() {
			t.Errorf("%v", err)
		}
	}
	g.fail = nil
	if _, err := c.Collect(t.Context(), noon.Add(3*time.Minute)); err != nil {
		t.Fatal(err)
	}
	list := g.got["slapos.monitor.usage.system.uid"]
	if len(list) != 4 {
		t.Fatalf("%d records of 4 samples: %v", len(list), g.got)
	}
	for i, r := range list {
		if f := r[len(r)-2]; f.Name != "time" || f.Value != noon.Add(time.Duration(i)*time.Minute).Format(time.TimeOnly) {
			t.Errorf("record %d: %v", i, r)
		}
	}
	var names []string
	for _, f := range g.got["slapos.monitor.usage.user.uid"][0] {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, ", "); got != "partition, pid, process, cpu_percent, cpu_time, cpu_num_threads, memory_percent, memory_rss, io_rw_counter, io_cycles_counter, date, time, reported" {
		t.Errorf("columns of user: %s", got)
	}
	if left, _ := os.ReadDir(filepath.Join(o.Dir, spool)); len(left) > 0 {
		t.Errorf("what was sent waits: %v", left)
	}
}

// TestRefused: records that are refused for good hold up nothing else.
func TestRefused(t *testing.T) {
	t.Parallel()
	g := &gateway{refuse: "system"}
	o := options(t, fake(t))
	o.Push = g
	if _, err := New(o).Collect(t.Context(), noon); err != nil {
		t.Fatal(err)
	}
	if len(g.got["slapos.monitor.usage.computer.COMP-1"]) != 1 || len(g.got["slapos.monitor.usage.system.COMP-1"]) != 0 {
		t.Errorf("%v", g.got)
	}
	if left, _ := os.ReadDir(filepath.Join(o.Dir, spool)); len(left) > 0 {
		t.Errorf("%v", left)
	}
}

// TestBounds: what waits is bounded, and so are the days.
func TestBounds(t *testing.T) {
	t.Parallel()
	g := &gateway{fail: errors.New("nobody there")}
	o := options(t, fake(t))
	o.Push, o.KeepBytes, o.KeepDays = g, 3000, 3
	c := New(o)
	for i := range 10 {
		_, _ = c.Collect(t.Context(), noon.AddDate(0, 0, i))
	}
	waiting, err := os.ReadDir(filepath.Join(o.Dir, spool))
	if err != nil || len(waiting) == 0 || len(waiting) > 3 {
		t.Errorf("%d samples wait, %v", len(waiting), err)
	}
	days, err := filepath.Glob(filepath.Join(o.Dir, "day-*"))
	if err != nil || len(days) != 4 {
		t.Errorf("%v, %v", days, err)
	}
	// Files of a crash and of somebody else.
	for _, name := range []string{"1.json.new", "000000000001.json"} {
		if err := os.WriteFile(filepath.Join(o.Dir, spool, name), []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	g.fail = nil
	if err := os.WriteFile(filepath.Join(o.Dir, "state.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Collect(t.Context(), noon.AddDate(0, 0, 11)); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Join(o.Dir, spool)); len(left) > 0 {
		t.Errorf("%v", left)
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	var seen *http.Request
	var body []byte
	status := 204
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(status)
		fmt.Fprint(w, "so it is")
	}))
	defer s.Close()
	h := HTTP{URL: s.URL + "/portal_ingestion_policies/{table}", User: "u", Password: "p"}
	push := func() error {
		return h.Push(t.Context(), "system", "a.b c", "key", noon, []Record{{{"x", "1"}, {"y", "\xff"}}})
	}
	if err := push(); err != nil {
		t.Fatal(err)
	}
	if seen.URL.Path != "/portal_ingestion_policies/system/ingest" || seen.URL.Query().Get("reference") != "a.b c" || seen.Header.Get("Idempotency-Key") != "key" {
		t.Errorf("%s %v", seen.URL, seen.Header)
	}
	if u, p, _ := seen.BasicAuth(); u != "u" || p != "p" {
		t.Errorf("%s %s", u, p)
	}
	if want := "\x92\xd2" + string([]byte{byte(noon.Unix() >> 24), byte(noon.Unix() >> 16), byte(noon.Unix() >> 8), byte(noon.Unix())}) + "\x82\xa1x\xa11\xa1y\xa3\uFFFD"; string(body) != want {
		t.Errorf("body %q, want %q", body, want)
	}
	for _, status = range []int{301, 401, 404, 413, 429, 500, 503} {
		final := status == 404 || status == 413
		if err := push(); err == nil || status != 301 && !strings.Contains(err.Error(), "so it is") || errors.Is(err, ErrRefused) != final {
			t.Errorf("%d: %v", status, err)
		}
	}
	s.Close()
	if err := push(); err == nil {
		t.Error("nobody acknowledged")
	}
}

func TestJournal(t *testing.T) {
	t.Parallel()
	o := options(t, fake(t))
	o.Computer = `COMP-<1> & "co"`
	c := New(o)
	if _, err := c.Journal(noon); !errors.Is(err, ErrNoSamples) {
		t.Errorf("a day without samples: %v", err)
	}
	for i := range 2 {
		if _, err := c.Collect(t.Context(), noon.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	b, err := c.Journal(noon)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"<?xml version='1.0' encoding='utf-8'?><journal><transaction type=\"Sale Packing List\"><title>Eco Information for COMP-&lt;1&gt;",
		"<start_date>2026-11-21 00:00:00</start_date><stop_date>2026-11-21 23:59:59</stop_date><reference>2026-11-21-global</reference><currency></currency>",
		`<arrow type="Destination"></arrow><movement><resource>service_module/cpu_load_percent</resource>`,
		"<title>Memory Used Average for slapuser0</title><reference>slapuser0</reference><quantity>0.0078125</quantity><price>0.0</price><VAT></VAT><category></category>",
		"<resource>service_module/disk_used</resource>",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in\n%s", want, b)
		}
	}
	folder := filepath.Join(t.TempDir(), "xml_report", "COMP-1")
	for range 2 { // each once
		written, err := c.WriteJournals(folder, noon.AddDate(0, 0, 1))
		if err != nil || len(written) > 1 {
			t.Errorf("%v, %v", written, err)
		}
		if len(written) == 1 {
			if text, err := os.ReadFile(written[0]); err != nil || string(text) != string(b) || filepath.Base(written[0]) != "2026-11-21.xml" {
				t.Errorf("%v %q, %v", written, text, err)
			}
			if err := os.Remove(written[0]); err != nil { // it was sent
				t.Fatal(err)
			}
		}
	}
	if list, _ := os.ReadDir(folder); len(list) > 0 {
		t.Errorf("written again: %v", list)
	}
}

// TestSchema holds the journal against the schema that slapos.core ships.
func TestSchema(t *testing.T) {
	t.Parallel()
	python := os.Getenv("WEIR_PYTHON_SLAPOS")
	if python == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("WEIR_PYTHON_SLAPOS is not set; internal/e2e/peers.sh sets it")
		}
		t.Skip("WEIR_PYTHON_SLAPOS is not set; internal/e2e/peers.sh sets it")
	}
	c := New(options(t, fake(t)))
	if _, err := c.Collect(t.Context(), noon); err != nil {
		t.Fatal(err)
	}
	b, err := c.Journal(noon)
	if err != nil {
		t.Fatal(err)
	}
	validate := exec.Command(python, "-c", `
import os, sys, slapos.slap
from lxml import etree
schema = etree.XMLSchema(file=os.path.join(os.path.dirname(slapos.slap.__file__), "doc", "computer_consumption.xsd"))
document = etree.fromstring(sys.stdin.buffer.read())
schema.assertValid(document)
print(len(document.findall("transaction/movement")))`)
	validate.Stdin = strings.NewReader(string(b))
	if out, err := validate.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "5" {
		t.Errorf("%v\n%s\n%s", err, out, b)
	}
}

// TestFullDisk: a sample that cannot be kept is told, and nothing is broken.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("mount: %v %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	o := options(t, fake(t))
	o.Dir = filepath.Join(dir, "collect")
	c := New(o)
	if _, err := c.Collect(t.Context(), noon); err != nil {
		t.Fatal(err)
	}
	before, err := c.Journal(noon)
	if err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(dir, "filler")
	_ = os.WriteFile(filler, make([]byte, 1<<20), 0o644)
	if s, err := c.Collect(t.Context(), noon.Add(time.Minute)); err == nil || s.Time.IsZero() {
		t.Errorf("%+v, %v", s.Time, err)
	}
	if after, err := c.Journal(noon); err != nil || string(after) != string(before) {
		t.Errorf("%v\n%s\n%s", err, before, after)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Collect(t.Context(), noon.Add(2*time.Minute)); err != nil {
		t.Error(err)
	}
	if now, err := c.Journal(noon); err != nil || string(now) == "" || math.Abs(float64(len(now)-len(before))) > 200 {
		t.Errorf("%v\n%s", err, now)
	}
}
