package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// An ID names a process for good: its number, and the tick of the kernel's
// clock at which it was started. With the boot it is unique.
type ID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // ticks since the boot
}

// A Stat is a process as its file stat tells it.
type Stat struct {
	ID
	Name    string // of the executable, cut to 15 bytes by the kernel
	State   byte   // R, S, D, Z …
	Parent  int
	Group   int
	Session int
	User    uint64 // ticks of processor time
	System  uint64
	Threads int
	Pages   int64 // resident
}

// Dead tells that the process has ended and waits to be reaped. A first thread
// that ended before the others, and one that gives way to another that
// executes a program, look like a zombie as well.
func (s Stat) Dead() bool { return (s.State == 'Z' || s.State == 'X') && s.Threads <= 1 }

// Ticks a second of the clock that Stat counts in: USER_HZ, the same on all
// architectures that Go knows.
const Ticks = 100

// Read gives one process; root is "/" but in tests.
func Read(root string, pid int) (Stat, error) {
	b, err := os.ReadFile(filepath.Join(root, "proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return Stat{}, fmt.Errorf("proc: %w", err)
	}
	return Parse(b)
}

// Parse reads the text of a file stat. The name may hold anything, closing
// parentheses and blanks as well.
func Parse(b []byte) (Stat, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 1 || end < open {
		return Stat{}, fmt.Errorf("proc: no stat of a process: %.40q", b)
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(b[:open])))
	f := bytes.Fields(b[end+1:])
	if err != nil || len(f) < 22 || len(f[0]) != 1 {
		return Stat{}, fmt.Errorf("proc: no stat of a process: %.40q", b)
	}
	number := func(i int) int64 {
		n, e := strconv.ParseInt(string(f[i]), 10, 64)
		if e != nil && err == nil {
			err = fmt.Errorf("proc: stat of %d: field %d: %w", pid, i+3, e)
		}
		return n
	}
	s := Stat{
		ID:   ID{pid, uint64(number(19))},
		Name: string(b[open+1 : end]), State: f[0][0],
		Parent: int(number(1)), Group: int(number(2)), Session: int(number(3)),
		User: uint64(number(11)), System: uint64(number(12)),
		Threads: int(number(17)), Pages: number(21),
	}
	return s, err
}

// PIDs lists the processes that there are.
func PIDs(root string) ([]int, error) {
	d, err := os.Open(filepath.Join(root, "proc"))
	if err != nil {
		return nil, fmt.Errorf("proc: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("proc: %w", err)
	}
	var pids []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// All gives all processes; those that end meanwhile are left out.
func All(root string) ([]Stat, error) {
	pids, err := PIDs(root)
	if err != nil {
		return nil, err
	}
	list := make([]Stat, 0, len(pids))
	for _, pid := range pids {
		if s, err := Read(root, pid); err == nil {
			list = append(list, s)
		}
	}
	return list, nil
}

// Boot identifies the time since the kernel was started.
func Boot() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("proc: boot: %w", err)
	}
	return string(bytes.TrimSpace(b)), nil
}

// HasEnv tells whether a process was given a variable, as KEY=VALUE. It waits
// a moment for one that is just being executed, which has no environment yet.
func HasEnv(pid int, variable string) bool {
	path := filepath.Join("/proc", strconv.Itoa(pid), "environ")
	for range 10 {
		b, err := os.ReadFile(path)
		if err != nil {
			return false
		}
		for v := range bytes.SplitSeq(b, []byte{0}) {
			if string(v) == variable {
				return true
			}
		}
		if len(b) > 0 {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return false
}
