package supervise

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// resident is the memory of a process in bytes.
func resident(t testing.TB, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// many are groups of ten programs each, with logs.
func (b *bench) many(groups int) {
	for g := range groups {
		var list []Program
		for p := range 10 {
			list = append(list, b.sh(fmt.Sprintf("p%d-on-watch", p), "echo started; exec sleep 100000", func(k *Program) {
				k.Watch, k.Log = true, b.path(fmt.Sprintf("%d.%d.log", g, p))
			}))
		}
		b.apply(fmt.Sprintf("slappart%d", g), list...)
	}
}

// TestMany: five hundred processes, their supervisor's memory, also after it
// has adopted them.
func TestMany(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts 500 processes")
	}
	const bound = 60 << 20
	b := open(t, false)
	b.many(50)
	began := time.Now()
	for g := range 50 {
		b.begin(fmt.Sprintf("slappart%d:*", g))
	}
	took := time.Since(began)
	list, err := b.Status(b.ctx())
	if err != nil || len(list) != 500 {
		t.Fatalf("%d programs, %v", len(list), err)
	}
	for _, s := range list {
		if s.State != Running {
			t.Fatalf("%+v", s)
		}
	}
	first := resident(t, b.cmd.Process.Pid)
	b.kill()
	again := time.Now()
	b.start()
	ready := time.Since(again)
	if i, err := b.Info(b.ctx()); err != nil || i.Adopted != 500 {
		t.Errorf("%+v, %v", i, err)
	}
	second := resident(t, b.cmd.Process.Pid)
	if !raced && (first > bound || second > bound) {
		t.Errorf("%d MiB, and %d MiB after the adoption", first>>20, second>>20)
	}
	t.Logf("500 processes started in %v; %.1f MiB; adopted in %v; %.1f MiB", took, float64(first)/(1<<20), ready, float64(second)/(1<<20))
}

// BenchmarkStart is the time from the decision to a program that runs.
func BenchmarkStart(b *testing.B) {
	k := open(b, false)
	k.apply("g", k.sh("p", "exec sleep 100000", func(p *Program) { p.Log = k.path("p.log") }))
	var all []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		began := time.Now()
		if s := k.begin("g:p"); s[0].State != Running {
			b.Fatalf("%+v", s)
		}
		all = append(all, time.Since(began))
		b.StopTimer()
		if _, err := k.Stop(k.ctx(), "g:p"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2])/1e6, "ms/median")
	b.ReportMetric(float64(all[len(all)*99/100])/1e6, "ms/p99")
}
