package supervise

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"weir/internal/proc"
)

// A Share is what the programs of a group may use together, with all that
// they start; 0 is no limit. Cgroups hold it; where there are none, rlimits
// hold each program as Limits tells.
type Share struct {
	Processes int64 `json:"processes,omitempty"` // threads counted, 16 at least
	Memory    int64 `json:"memory,omitempty"`    // bytes
}

// LeastProcesses is the smallest limit of processes: what executes a program
// needs a few threads itself.
const LeastProcesses = 16

func roomy(processes int64) int64 {
	if processes <= 0 {
		return 0
	}
	return max(processes, LeastProcesses)
}

// within gives the limits of one program of the group.
func (s Share) within(l Limits) Limits {
	least := func(a, b int64) int64 {
		if a == 0 || b != 0 && b < a {
			return b
		}
		return a
	}
	l.Processes, l.Memory = least(l.Processes, s.Processes), least(l.Memory, s.Memory)
	return l
}

// How often groups are looked at, and for how long one that was at its limit
// of memory counts as being there.
const (
	lookEvery = 2 * time.Second
	limitKept = time.Minute
)

// A share is a group's, and how much of it is used. The server's mu guards it,
// but for kills, which only look uses.
type share struct {
	Share
	kills   map[string]int64 // processes that the kernel killed for memory, by program
	text    string           // of the limit that the group is at
	program string           // that uses most
	until   time.Time        // when text is void
	event   *Event
}

// setShare bounds a group. The caller holds mu, or is the only one.
func (s *server) setShare(g Group) {
	g.Share.Processes = roomy(g.Share.Processes)
	if s.shares[g.Name] == nil {
		s.shares[g.Name] = &share{kills: map[string]int64{}}
	}
	s.shares[g.Name].Share = g.Share
	s.cgroups.share(g.Name, g.Share)
}

func (s *server) share(group string) Share {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.shares[group]; v != nil {
		return v.Share
	}
	return Share{}
}

// measure looks again and again which groups are at their limits.
func (s *server) measure(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookEvery):
			s.look()
		}
	}
}

// look looks once. A group that comes to a limit is an event.
func (s *server) look() {
	crowds := sync.OnceValue(threads)
	for group, programs := range s.slots() {
		s.mu.Lock()
		v := s.shares[group]
		if v == nil {
			s.mu.Unlock()
			continue
		}
		bounds := v.Share
		s.mu.Unlock()
		text, program := s.crowd(group, bounds, programs, crowds)
		if text == "" {
			text, program = s.hunger(group, bounds, programs, v.kills)
		}
		s.mu.Lock()
		switch {
		case text != "":
			if v.text == "" {
				s.log.Warn("supervise: a group is at its limit", "group", group, "program", program, "limit", text)
				go s.comeTo(group, program, text)
			}
			v.text, v.program, v.until = text, program, time.Now().Add(limitKept)
		case time.Now().After(v.until):
			v.text, v.program = "", ""
		}
		s.mu.Unlock()
	}
}

// A slotted is what a look needs to know of a program.
type slotted struct {
	slot string
	user *User
}

// slots gives the programs by group and name.
func (s *server) slots() map[string]map[string]slotted {
	all := map[string]map[string]slotted{}
	for _, k := range s.keepers() {
		if all[k.group] == nil {
			all[k.group] = map[string]slotted{}
		}
		k.mu.Lock()
		all[k.group][k.name] = slotted{k.slot, k.spec.User}
		k.mu.Unlock()
	}
	return all
}

// comeTo makes the event of a group that has come to a limit.
func (s *server) comeTo(group, program, text string) {
	e := Event{Seq: s.nextSeq(), Group: group, Name: program, Limit: text, First: time.Now(), Last: time.Now(), Count: 1}
	s.mu.Lock()
	if v := s.shares[group]; v != nil {
		if v.event != nil {
			e.First, e.Count = v.event.First, v.event.Count+1
		}
		v.event = &e
	}
	s.mu.Unlock()
	s.announce()
}

// crowd tells that a group has as many processes as it may: all but one in
// twenty, since those that make them without end die of it, too. Where no
// cgroup counts, the users of the programs are counted, and whose their
// processes are is not known.
func (s *server) crowd(group string, v Share, programs map[string]slotted, users func() map[int]int64) (text, program string) {
	if v.Processes == 0 {
		return "", ""
	}
	now, counted := s.cgroups.number(group, "", "pids.current")
	if !counted && os.Geteuid() == 0 {
		for _, p := range programs {
			if p.user != nil {
				now = users()[int(p.user.UID)]
			}
		}
	}
	if now*20 < v.Processes*19 {
		return "", ""
	}
	most := int64(-1)
	for name, p := range programs {
		if n, ok := s.cgroups.number(group, p.slot, "pids.current"); ok && n > most {
			most, program = n, name
		}
	}
	if program == "" {
		return fmt.Sprintf("has come to its %d processes and threads", v.Processes), ""
	}
	return fmt.Sprintf("has come to its %d processes and threads, most of them of %s", v.Processes, program), program
}

// hunger tells that the kernel has killed processes of a group that wanted
// more memory than it may have. The kills are those of the look before.
func (s *server) hunger(group string, v Share, programs map[string]slotted, kills map[string]int64) (text, program string) {
	peak, ok := s.cgroups.number(group, "", "memory.peak", "memory.max_usage_in_bytes")
	if !ok || v.Memory == 0 || peak < v.Memory/100*99 {
		return "", ""
	}
	for name, p := range programs {
		n := s.cgroups.killed(group, p.slot)
		if n > kills[name] {
			text, program = fmt.Sprintf("has come to its %d MiB of memory, and processes of %s were killed", v.Memory>>20, name), name
		}
		kills[name] = n
	}
	return text, program
}

// number reads the first of a group's files that is there, or a program's.
func (c cgroups) number(group, slot string, names ...string) (int64, bool) {
	for _, folder := range c.folders(groupSlot(group), slot) {
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				continue
			}
			if n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64); err == nil {
				return n, true
			}
		}
	}
	return 0, false
}

// killed counts the processes of a program that were killed for memory.
func (c cgroups) killed(group, slot string) (n int64) {
	for _, folder := range c.folders(groupSlot(group), slot) {
		for _, name := range []string{"memory.events", "memory.oom_control"} {
			b, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				continue
			}
			for line := range bytes.Lines(b) {
				if f := bytes.Fields(line); len(f) == 2 && string(f[0]) == "oom_kill" {
					k, _ := strconv.ParseInt(string(f[1]), 10, 64)
					n += k
				}
			}
		}
	}
	return n
}

// threads counts the threads of each user.
func threads() map[int]int64 {
	pids, err := proc.PIDs("/")
	if err != nil {
		return nil
	}
	users := map[int]int64{}
	for _, pid := range pids {
		uid, err := userOf(pid)
		if err != nil {
			continue
		}
		if st, err := proc.Read("/", pid); err == nil {
			users[uid] += int64(max(st.Threads, 1))
		}
	}
	return users
}

// userOf gives the user that a process runs as.
func userOf(pid int) (int, error) {
	info, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid)))
	if err != nil {
		return 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fs.ErrInvalid
	}
	return int(st.Uid), nil
}

// limited says which groups are at a limit. The caller holds mu.
func (s *server) limited() map[string]string {
	list := map[string]string{}
	for group, v := range s.shares {
		if v.text != "" {
			list[group] = v.text
		}
	}
	return list
}

// limitOf gives the limit that a program has brought its group to.
func (s *server) limitOf(group, program string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.shares[group]; v != nil && v.text != "" && (v.program == program || v.program == "") {
		return "its group " + v.text
	}
	return ""
}

// shareEvents are those that were not taken.
func (s *server) shareEvents() (list []Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.shares {
		if v.event != nil {
			list = append(list, *v.event)
		}
	}
	return list
}

func (s *server) takenShares(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.shares {
		if v.event != nil && v.event.Seq <= seq {
			v.event = nil
		}
	}
}
