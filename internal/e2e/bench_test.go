package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A cell is one kind of load of forwardload.
type cell struct {
	name    string
	args    []string
	records int
}

var cells = []cell{
	{"packed-150B", []string{"--mode", "packed", "--shape", "s"}, 6_000_000},
	{"forward-150B", []string{"--mode", "forward", "--shape", "s"}, 4_000_000},
	{"message-150B", []string{"--mode", "message", "--shape", "s"}, 1_500_000},
	{"gzip-150B", []string{"--mode", "gzip", "--shape", "s"}, 3_000_000},
	{"packed-1KiB", []string{"--mode", "packed", "--shape", "m"}, 1_500_000},
}

// BenchmarkIngest loads weir, and in the same run forwardload's own server,
// which only walks the msgpack, writes and shares an fdatasync. The server has
// one core, the generator another. Every ack is durable. It reports records a
// second, CPU-seconds of the server per million records, and with weir the
// share of the reference's records per core-second.
func BenchmarkIngest(b *testing.B) {
	load := forwardload(b)
	for _, c := range cells {
		var reference float64
		b.Run(c.name+"/reference", func(b *testing.B) {
			for range b.N {
				file := filepath.Join(b.TempDir(), "frames")
				addr := "127.0.0.1:24297"
				pid := pinned(b, load, "serve", "--addr", addr, "--do", "skip", "--store", file, "--sync", "group")
				r := measure(b, load, c, addr, pid)
				reference = r.perCoreSecond()
			}
		})
		b.Run(c.name+"/weir", func(b *testing.B) {
			for range b.N {
				w := startPinned(b)
				r := measure(b, load, c, w.Forward, w.cmd.Process.Pid)
				if reference > 0 {
					b.ReportMetric(r.perCoreSecond()/reference, "of-reference")
				}
				w.stop()
			}
		})
	}
}

// forwardload builds the load generator that is beside the checkout.
func forwardload(b *testing.B) string {
	b.Helper()
	program := filepath.Join(b.TempDir(), "forwardload")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = shared(b, "bench", "forwardload")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("building forwardload: %v\n%s", err, out)
	}
	return program
}

// pinned starts a reference server on the first core and gives its pid.
func pinned(b *testing.B, program string, args ...string) int {
	b.Helper()
	cmd := exec.Command("taskset", append([]string{"-c", "0", program}, args...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Skipf("taskset: %v", err)
	}
	b.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line := make([]byte, 200)
	if n, err := out.Read(line); err != nil || !strings.HasPrefix(string(line[:n]), "listening") {
		b.Fatalf("the reference server said %q, %v", line[:n], err)
	}
	return cmd.Process.Pid
}

// startPinned starts weir on the first core.
func startPinned(b *testing.B, args ...string) *weir {
	b.Helper()
	w := start(b, args...)
	if out, err := exec.Command("taskset", "-a", "-c", "-p", "0", strconv.Itoa(w.cmd.Process.Pid)).CombinedOutput(); err != nil {
		b.Skipf("taskset: %v\n%s", err, out)
	}
	return w
}

// A loaded is what forwardload says of a run.
type loaded struct {
	Records   float64 `json:"records"`
	PerSecond float64 `json:"records_per_s"`
	CPUPerM   float64 `json:"server_cpu_s_per_million"`
	P99       float64 `json:"ack_p99_us"`
	Errors    string  `json:"errors"`
}

func (r loaded) perCoreSecond() float64 { return 1e6 / r.CPUPerM }

func measure(b *testing.B, load string, c cell, addr string, pid int) loaded {
	b.Helper()
	args := append([]string{"-c", "1", load, "load", "--addr", addr, "--pid", strconv.Itoa(pid),
		"--records", strconv.Itoa(c.records), "--max-seconds", "5"}, c.args...)
	cmd := exec.Command("taskset", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("forwardload %v: %v\n%s", args, err, out)
	}
	var r loaded
	if err := json.Unmarshal(out, &r); err != nil || r.CPUPerM == 0 {
		b.Fatalf("forwardload said %s: %v", out, err)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(r.PerSecond, "records/s")
	b.ReportMetric(r.CPUPerM, "cpu-s/Mrec")
	b.ReportMetric(r.P99/1000, "p99-ack-ms")
	b.ReportMetric(peakMemory(b, pid), "peak-MB")
	return r
}

// peakMemory is the most resident memory that a process has had.
func peakMemory(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		b.Fatal("no VmHWM in the status of the process")
	}
	kb, _ := strconv.ParseFloat(string(m[1]), 64)
	return kb / 1000
}

// BenchmarkStart measures from the start of the process to readiness.
func BenchmarkStart(b *testing.B) {
	var took time.Duration
	for range b.N {
		began := time.Now()
		w := start(b)
		took += time.Since(began)
		w.stop()
	}
	b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "ms-to-ready")
}
