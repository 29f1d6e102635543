package demo

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A row is one record of a table of the SlapOS monitor: fields in the order of
// its CSV files, all of them text.
type row struct {
	table  string // system, user, disk, computer, temperature
	fields [][2]string
}

// A sampler reads this machine's resource consumption from /proc.
type sampler struct {
	root       string // "/" but in tests
	busy, idle float64
}

// sample reads all tables. What a machine does not have is left out.
func (s *sampler) sample(now time.Time) []row {
	rows := s.computer()
	rows = append(rows, s.disk()...)
	rows = append(rows, s.temperature()...)
	rows = append(rows, s.user(5)...)
	rows = append(rows, s.system()...) // last, so that the page shows it first
	for i := range rows {
		rows[i].fields = append(rows[i].fields,
			[2]string{"date", now.Format(time.DateOnly)}, [2]string{"time", now.Format(time.TimeOnly)}, [2]string{"reported", "0"})
	}
	return rows
}

func (s *sampler) read(name string) string {
	b, err := os.ReadFile(filepath.Join(s.root, name))
	if err != nil {
		return "" // a kernel without it: its fields are left out
	}
	return string(b)
}

// table reads lines of "key value…" or "key: value…".
func table(text string) map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(text) {
		key, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if f := strings.Fields(rest); ok && len(f) > 0 {
			out[strings.TrimSpace(key)] = f
		}
	}
	return out
}

func (s *sampler) system() []row {
	r := row{table: "system"}
	if f := strings.Fields(s.read("proc/loadavg")); len(f) > 0 {
		r.fields = append(r.fields, [2]string{"loadavg", f[0]})
	}
	r.fields = append(r.fields, [2]string{"cpu_percent", s.cpuPercent()})
	mem := table(s.read("proc/meminfo"))
	if total, free := kilobytes(mem["MemTotal"]), kilobytes(mem["MemAvailable"]); total > 0 {
		r.fields = append(r.fields, [2]string{"memory_used", fmt.Sprint(total - free)}, [2]string{"memory_free", fmt.Sprint(free)})
	}
	var sum [6]int64
	for name, f := range table(s.read("proc/net/dev")) {
		if name == "lo" || len(f) < 12 {
			continue
		}
		for i, at := range []int{0, 2, 3, 8, 10, 11} {
			n, _ := strconv.ParseInt(f[at], 10, 64)
			sum[i] += n
		}
	}
	for i, name := range []string{"net_in_bytes", "net_in_errors", "net_in_dropped", "net_out_bytes", "net_out_errors", "net_out_dropped"} {
		r.fields = append(r.fields, [2]string{name, fmt.Sprint(sum[i])})
	}
	return []row{r}
}

func kilobytes(f []string) int64 {
	if len(f) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(f[0], 10, 64)
	return n << 10
}

// cpuPercent is how busy all cores were since the last sample.
func (s *sampler) cpuPercent() string {
	f := strings.Fields(s.read("proc/stat"))
	if len(f) < 6 {
		return "0"
	}
	var busy, idle float64
	for i, v := range f[1:min(9, len(f))] {
		n, _ := strconv.ParseFloat(v, 64)
		if i == 3 || i == 4 { // idle, iowait
			idle += n
		} else {
			busy += n
		}
	}
	db, di := busy-s.busy, idle-s.idle
	s.busy, s.idle = busy, idle
	return strconv.FormatFloat(100*db/max(db+di, 1), 'f', 1, 64)
}

// user lists the most processes by memory.
func (s *sampler) user(most int) []row {
	type process struct {
		pid, name   string
		rss, cpu    int64
		threads, io string
	}
	var all []process
	dirs, _ := filepath.Glob(filepath.Join(s.root, "proc/[0-9]*"))
	for _, d := range dirs {
		pid := filepath.Base(d)
		stat := s.read("proc/" + pid + "/stat")
		open, close := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
		f := strings.Fields(stat[close+1:])
		if open < 0 || close < open || len(f) < 22 {
			continue
		}
		p := process{pid: pid, name: stat[open+1 : close], threads: f[17], io: "0"}
		utime, _ := strconv.ParseInt(f[11], 10, 64)
		stime, _ := strconv.ParseInt(f[12], 10, 64)
		pages, _ := strconv.ParseInt(f[21], 10, 64)
		p.cpu, p.rss = utime+stime, pages*int64(os.Getpagesize())
		if w := table(s.read("proc/" + pid + "/io"))["write_bytes"]; len(w) > 0 {
			p.io = w[0]
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b process) int { return cmp.Compare(b.rss, a.rss) })
	total := max(kilobytes(table(s.read("proc/meminfo"))["MemTotal"]), 1)
	rows := make([]row, 0, most)
	for _, p := range all[:min(most, len(all))] {
		rows = append(rows, row{"user", [][2]string{
			{"partition", "demo"}, {"pid", p.pid}, {"process", p.name},
			{"cpu_percent", "0"}, {"cpu_time", strconv.FormatFloat(float64(p.cpu)/100, 'f', 2, 64)}, {"cpu_num_threads", p.threads},
			{"memory_percent", strconv.FormatFloat(100*float64(p.rss)/float64(total), 'f', 2, 64)}, {"memory_rss", fmt.Sprint(p.rss)},
			{"io_rw_counter", p.io}, {"io_cycles_counter", "0"},
		}})
	}
	return rows
}

func (s *sampler) disk() []row {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(s.root, &fs); err != nil {
		return nil
	}
	free, total := fs.Bavail*uint64(fs.Bsize), fs.Blocks*uint64(fs.Bsize)
	return []row{{"disk", [][2]string{{"partition", "root"}, {"used", fmt.Sprint(total - free)}, {"free", fmt.Sprint(free)}, {"mountpoint", "/"}}}}
}

func (s *sampler) computer() []row {
	cpu := table(s.read("proc/cpuinfo"))
	r := row{"computer", [][2]string{{"cpu_num_core", fmt.Sprint(runtime.NumCPU())}}}
	if f := cpu["cpu MHz"]; len(f) > 0 {
		r.fields = append(r.fields, [2]string{"cpu_frequency", f[0]})
	}
	if f := cpu["model name"]; len(f) > 0 {
		r.fields = append(r.fields, [2]string{"cpu_type", strings.Join(f, " ")})
	}
	r.fields = append(r.fields, [2]string{"memory_size", fmt.Sprint(kilobytes(table(s.read("proc/meminfo"))["MemTotal"]))})
	return []row{r}
}

func (s *sampler) temperature() []row {
	zones, _ := filepath.Glob(filepath.Join(s.root, "sys/class/thermal/thermal_zone*/temp"))
	rows := make([]row, 0, len(zones))
	for _, z := range zones {
		b, err := os.ReadFile(z)
		if err != nil {
			continue
		}
		milli, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
		if err != nil {
			continue
		}
		rows = append(rows, row{"temperature", [][2]string{
			{"sensor_id", filepath.Base(filepath.Dir(z))}, {"temperature", strconv.FormatFloat(milli/1000, 'f', 1, 64)}, {"alarm", "0"},
		}})
	}
	return rows
}
