package supervise

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
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
			c.v2 = makeBase(f[1], own[""], name)
		case f[2] == "cgroup" && strings.Contains(options, ",pids,"):
			c.pids = makeBase(f[1], own["pids"], name)
		case f[2] == "cgroup" && strings.Contains(options, ",memory,"):
			c.memory = makeBase(f[1], own["memory"], name)
		}
	}
	if c.v2 != "" {
		delegate(filepath.Dir(c.v2))
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

// makeBase makes a folder below the supervisor's own place, or gives "".
func makeBase(mount, own, name string) string {
	base := filepath.Join(mount, own, name)
	if err := os.Mkdir(base, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return ""
	}
	return base
}

// delegate gives a folder's children the controllers that limit. It is
// refused where the folder has processes; then rlimits have to do.
func delegate(folder string) {
	for _, c := range []string{"+pids", "+memory"} {
		_ = os.WriteFile(filepath.Join(folder, "cgroup.subtree_control"), []byte(c), 0)
	}
}

// place makes a program's groups and puts a process into them. The first
// folder is the one to list and kill by; none is no error.
func (c cgroups) place(slot string, pid int, l Limits) (folders []string, counted bool, err error) {
	for _, h := range []struct{ base, pids, memory string }{
		{c.v2, "pids.max", "memory.max"},
		{c.pids, "pids.max", ""},
		{c.memory, "", "memory.limit_in_bytes"},
	} {
		if h.base == "" {
			continue
		}
		folder := filepath.Join(h.base, slot)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return folders, counted, fmt.Errorf("cgroup: %w", err)
		}
		if limit(folder, h.pids, l.Processes) {
			counted = true
		}
		limit(folder, h.memory, l.Memory)
		if err := os.WriteFile(filepath.Join(folder, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return folders, counted, fmt.Errorf("cgroup: %w", err)
		}
		folders = append(folders, folder)
	}
	return folders, counted, nil
}

// folders are a program's groups, whether they are there or not, or, for "",
// the supervisor's own.
func (c cgroups) folders(slot string) []string {
	var list []string
	for _, base := range []string{c.v2, c.pids, c.memory} {
		if base != "" {
			list = append(list, filepath.Join(base, slot))
		}
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
