package collect

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"weir/internal/proc"
)

// processes measures those of the partitions' users.
func (c *Collector) processes(partitions []Partition, last state, next *state) ([]Process, error) {
	owners := map[uint32][]Partition{}
	for _, p := range partitions {
		owners[p.UID] = append(owners[p.UID], p)
	}
	pids, err := proc.PIDs(c.o.Root)
	if err != nil {
		return nil, fmt.Errorf("collect: %w", err)
	}
	boot, total := c.bootTime(), c.memory()["MemTotal"]
	var list []Process
	for _, pid := range pids {
		dir := filepath.Join(c.o.Root, "proc", strconv.Itoa(pid))
		info, err := os.Stat(dir)
		if err != nil {
			continue // it has ended
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || len(owners[st.Uid]) == 0 {
			continue
		}
		p, ok := owner(owners[st.Uid], pid)
		if !ok {
			continue
		}
		s, err := proc.Read(c.o.Root, pid)
		if err != nil || s.Dead() {
			continue
		}
		list = append(list, c.process(p, s, dir, boot, total, last, next))
	}
	slices.SortFunc(list, func(a, b Process) int {
		return cmp.Or(strings.Compare(a.Partition, b.Partition), cmp.Compare(a.PID, b.PID))
	})
	return list, nil
}

// owner tells whose a process is. Partitions of one user are told apart by the
// variable that the supervisor sets.
func owner(of []Partition, pid int) (Partition, bool) {
	if len(of) == 1 {
		return of[0], true
	}
	for _, p := range of {
		if proc.HasEnv(pid, "SUPERVISOR_GROUP_NAME="+p.ID) {
			return p, true
		}
	}
	return Partition{}, false
}

func (c *Collector) process(p Partition, s proc.Stat, dir string, boot, total int64, last state, next *state) Process {
	created := float64(boot) + float64(s.Start)/proc.Ticks
	used := float64(s.User+s.System) / proc.Ticks
	key := fmt.Sprintf("%d-%d", s.PID, s.Start)
	next.Processes[key] = used
	before, since := 0.0, created
	if u, ok := last.Processes[key]; ok {
		before, since = u, float64(last.Time.Unix())
	}
	r := Process{
		Partition: p.User, PID: s.PID, Name: fmt.Sprintf("%d-%.2f", s.PID, created),
		CPUTime: used, Threads: s.Threads, RSS: s.Pages * int64(os.Getpagesize()),
	}
	if over := float64(next.Time.Unix()) - since; over >= 0.5 {
		r.CPUPercent = max(0, 100*(used-before)/over)
	}
	if total > 0 {
		r.MemoryPercent = 100 * float64(r.RSS) / float64(total)
	}
	io := columns(c.text(filepath.Join(dir, "io")))
	r.IOBytes = first(io["read_bytes"]) + first(io["write_bytes"])
	r.IOCalls = first(io["syscr"]) + first(io["syscw"])
	return r
}

// bootTime is in seconds since 1970.
func (c *Collector) bootTime() int64 {
	for line := range strings.Lines(c.text(filepath.Join(c.o.Root, "proc/stat"))) {
		if rest, ok := strings.CutPrefix(line, "btime "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return n
		}
	}
	return 0
}

// text reads a small file; one that there is not has none.
func (c *Collector) text(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

// columns reads lines of "key: value …".
func columns(text string) map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(text) {
		if key, rest, ok := strings.Cut(line, ":"); ok {
			out[strings.TrimSpace(key)] = strings.Fields(rest)
		}
	}
	return out
}

// first is the first value as a number, 0 when there is none.
func first(values []string) int64 { return at(values, 0) }

func at(values []string, i int) int64 {
	if i >= len(values) {
		return 0
	}
	n, _ := strconv.ParseInt(values[i], 10, 64)
	return n
}
