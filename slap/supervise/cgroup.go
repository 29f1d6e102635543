package supervise

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroups are the hierarchies in which programs get groups of their own, each
// a folder, or "" where there is none that can be written.
type cgroups struct {
	v2     string // kills as a whole; limits where controllers are given to it
	pids   string // of version 1
	memory string
}

// findCgroups makes the supervisor's folders.
func findCgroups(dir string, log *slog.Logger) cgroups {
	name := fmt.Sprintf("weir-%x", sha256.Sum256([]byte(dir)))[:17]
	var c cgroups
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return c
	}
	own := ownCgroups()
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		switch options := "," + f[3] + ","; {
		case f[2] == "cgroup2":
			delegate(filepath.Join(f[1], own[""]))
			delegate(filepath.Join(f[1], filepath.Dir(own[""])))
			c.v2 = makeBase(f[1], limitingPlace(f[1], own[""]), name)
		case f[2] == "cgroup" && strings.Contains(options, ",pids,"):
			c.pids = makeBase(f[1], own["pids"], name)
		case f[2] == "cgroup" && strings.Contains(options, ",memory,"):
			c.memory = makeBase(f[1], own["memory"], name)
		}
	}
	if c.v2 != "" {
		delegate(c.v2)
	}
	log.Debug("supervise: cgroups", "v2", c.v2, "pids", c.pids, "memory", c.memory)
	return c
}

// ownCgroups gives the supervisor's place in each hierarchy, version 2 as "".
func ownCgroups() map[string]string {
	own := map[string]string{}
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return own
	}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) == 3 {
			for c := range strings.SplitSeq(f[1], ",") {
				own[c] = f[2]
			}
		}
	}
	return own
}

// limitingPlace gives the place of version 2, the supervisor's own or the next
// above it, below which limits work. A place that has processes of its own
// gives its children no controllers, and so is the one of a service of
// systemd; above it there are places that have them already. Where there is
// none it is the own one: it lists and kills, and rlimits have to do.
func limitingPlace(mount, own string) string {
	for at := own; ; at = filepath.Dir(at) {
		folder := filepath.Join(mount, at)
		b, err := os.ReadFile(filepath.Join(folder, "cgroup.subtree_control"))
		// Who moves a process has to be allowed to write above both places.
		allowed := unix.Access(filepath.Join(folder, "cgroup.procs"), unix.W_OK) == nil && unix.Access(folder, unix.W_OK) == nil
		if err == nil && allowed && slices.Contains(strings.Fields(string(b)), "pids") {
			return at
		}
		if at == "/" || at == "." || at == "" {
			return own
		}
	}
}

// makeBase makes a folder below a place, or gives "".
func makeBase(mount, own, name string) string {
	base := filepath.Join(mount, own, name)
	if err := os.Mkdir(base, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return ""
	}
	return base
}

// delegate gives a folder's children the controllers that limit. It is
// refused where the folder has processes.
func delegate(folder string) {
	for _, c := range []string{"+pids", "+memory"} {
		_ = os.WriteFile(filepath.Join(folder, "cgroup.subtree_control"), []byte(c), 0)
	}
}

// bounded tells which limits cgroups hold; the others are for rlimits.
type bounded struct{ processes, memory bool }

// place makes a program's groups, within those of its group of programs, and
// puts a process into them. The first folder is the one to list and kill by;
// none is no error: rlimits hold the program then. An error tells where the
// process could not be put, though it should have been.
func (c cgroups) place(group, slot string, pid int, l Limits, s Share) (folders []string, by bounded, err error) {
	for _, h := range c.hierarchies() {
		folder := filepath.Join(h.base, groupSlot(group), slot)
		held, e := h.place(group, folder, pid, l, s)
		for range 9 { // somebody may be removing what is empty
			if !errors.Is(e, fs.ErrNotExist) {
				break
			}
			held, e = h.place(group, folder, pid, l, s)
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("cgroup: %w", e))
			continue
		}
		by.processes, by.memory = by.processes || held.processes, by.memory || held.memory
		folders = append(folders, folder)
	}
	return folders, by, err
}

// place makes a program's group and those above it, which somebody may have
// removed, and puts a process into it.
func (h hierarchy) place(group, folder string, pid int, l Limits, s Share) (bounded, error) {
	if _, err := os.Stat(h.base); err != nil {
		if err := os.MkdirAll(h.base, 0o755); err != nil {
			return bounded{}, err
		}
		delegate(h.base)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return bounded{}, err
	}
	b := h.share(group, s)
	own := bounded{limit(folder, h.pids, l.Processes), limit(folder, h.memory, l.Memory)}
	return bounded{b.processes && own.processes, b.memory && own.memory}, enter(folder, pid)
}

// enter puts a process into a group.
func enter(folder string, pid int) error {
	f, err := os.OpenFile(filepath.Join(folder, "cgroup.procs"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(strconv.Itoa(pid))
	return err
}

// A hierarchy is a base, and its files of limits.
type hierarchy struct{ base, pids, memory string }

// hierarchies are those that can be written.
func (c cgroups) hierarchies() []hierarchy {
	all := []hierarchy{{c.v2, "pids.max", "memory.max"}, {c.pids, "pids.max", ""}, {c.memory, "", "memory.limit_in_bytes"}}
	return slices.DeleteFunc(all, func(h hierarchy) bool { return h.base == "" })
}

// share bounds a group of programs that has a folder.
func (h hierarchy) share(group string, s Share) bounded {
	folder := filepath.Join(h.base, groupSlot(group))
	delegate(folder)
	return bounded{limit(folder, h.pids, s.Processes), limit(folder, h.memory, s.Memory)}
}

// share bounds a group of programs, also while they run.
func (c cgroups) share(group string, s Share) {
	for _, h := range c.hierarchies() {
		if _, err := os.Stat(filepath.Join(h.base, groupSlot(group))); err == nil {
			h.share(group, s)
		}
	}
}

// groupSlot is a group's name as a file name.
func groupSlot(group string) string { return slot(group, "") }

// folders are where a group's, or for "", the supervisor's own are, whether
// they are there or not.
func (c cgroups) folders(within ...string) []string {
	var list []string
	for _, h := range c.hierarchies() {
		list = append(list, filepath.Join(append([]string{h.base}, within...)...))
	}
	return list
}

// limit writes a limit if the folder has the file; 0 is none.
func limit(folder, name string, most int64) bool {
	if name == "" {
		return false
	}
	text := "max"
	if most > 0 {
		text = strconv.FormatInt(most, 10)
	} else if name == "memory.limit_in_bytes" {
		text = "-1"
	}
	f, err := os.OpenFile(filepath.Join(folder, name), os.O_WRONLY, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err == nil
}

// members lists the processes of a group.
func members(folder string) []int {
	b, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if pid, err := strconv.Atoi(s.Text()); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killGroup kills all of a group at once; false where the kernel cannot.
func killGroup(folder string) bool {
	f, err := os.OpenFile(filepath.Join(folder, "cgroup.kill"), os.O_WRONLY, 0)
	if err != nil {
		limit(folder, "pids.max", 1) // no new ones while they are killed one by one
		return false
	}
	defer f.Close()
	_, err = f.WriteString("1")
	return err == nil
}

// discard removes a program's groups, which are empty.
func discard(folders []string) {
	for _, f := range folders {
		for range 20 {
			if err := os.Remove(f); err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			time.Sleep(5 * time.Millisecond) // the last process may not be let go yet
		}
	}
}

// discardEmpty removes what is above programs' groups, their groups' and the
// supervisor's, where nothing is left in it.
func discardEmpty(folders []string) {
	for range 2 {
		above := map[string]bool{}
		for _, f := range folders {
			above[filepath.Dir(f)] = true
		}
		folders = slices.Collect(maps.Keys(above))
		for _, f := range folders {
			_ = os.Remove(f) // it is refused where there is something
		}
	}
}
