package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Descriptors of a process that becomes a program.
const (
	gateFile   = 3 // an order comes from here, once the process is written down
	reportFile = 4 // why it could not be done; closed by the execution
)

// An order is what a process needs to become a program.
type order struct {
	Command []string `json:"command"`
	Env     []string `json:"env"`
	Dir     string   `json:"dir"`
	User    *User    `json:"user,omitempty"`
	Umask   int      `json:"umask"`
	Limits  Limits   `json:"limits"`
	// ByCgroup: a cgroup counts processes, and memory; there is no need of
	// rlimits.
	ByCgroup       bool `json:"by_cgroup"`
	MemoryByCgroup bool `json:"memory_by_cgroup"`
}

// Exec becomes a program: it waits until the supervisor has written down the
// process that it is, takes on limits and user, and executes the command. It
// returns only when it cannot; the supervisor was told why. When the
// supervisor ends before it gave its order, it returns as well.
func Exec() error {
	signal.Reset()
	for s := syscall.Signal(1); s < 32; s++ {
		if signal.Ignored(s) { // what is caught is reset by the execution, what is ignored is not
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	if err := closeInherited(); err != nil {
		return err
	}
	gate, report := os.NewFile(gateFile, "gate"), os.NewFile(reportFile, "report")
	if gate == nil || report == nil {
		return errors.New("supervise: only a supervisor makes programs")
	}
	b, err := io.ReadAll(io.LimitReader(gate, maxRequest))
	if err != nil {
		return fmt.Errorf("supervise: order: %w", err)
	}
	var o order
	if err := json.Unmarshal(b, &o); err != nil {
		return errors.New("supervise: the supervisor ended before it gave its order")
	}
	err = o.execute()
	fmt.Fprint(report, err)
	return err
}

// closeInherited lets children have nothing but standard input, output and
// error of what this process was given: a lock of the caller's that a program
// held would be held for as long as that runs.
func closeInherited() error {
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("supervise: inherited files: %w", err)
	}
	return nil
}

func (o order) execute() error {
	if err := o.limit(); err != nil {
		return err
	}
	if err := o.become(); err != nil {
		return err
	}
	syscall.Umask(o.Umask)
	if err := os.Chdir(o.Dir); err != nil {
		return err
	}
	resetRealTimeSignals()
	err := syscall.Exec(o.Command[0], o.Command, o.Env)
	// Who has written the file just now may have made a process meanwhile,
	// which has it open until it executes something itself.
	for end := time.Now().Add(busyFor); errors.Is(err, syscall.ETXTBSY) && time.Now().Before(end); {
		time.Sleep(busyPause)
		err = syscall.Exec(o.Command[0], o.Command, o.Env)
	}
	return fmt.Errorf("executing %s: %w", o.Command[0], err)
}

// A file that is open for writing cannot be executed. For so long it is tried
// again, and so often.
const (
	busyFor   = 10 * time.Second
	busyPause = 10 * time.Millisecond
)

// resetRealTimeSignals gives the signals that os/signal does not know their
// default effect. The C library's posix_spawn, by which make and Python start
// what they run, leaves signal 32 ignored. Only for just before an execution:
// the C library sets users of all its threads by signal 33.
func resetRealTimeSignals() {
	var standard [64]byte // struct sigaction of every architecture is shorter; SIG_DFL is zero
	for s := uintptr(32); s <= 64; s++ {
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, s, uintptr(unsafe.Pointer(&standard)), 0, 8, 0, 0)
	}
}

// limit sets what is inherited by all that the program starts.
func (o order) limit() error {
	processes := o.Limits.Processes
	if processes > 0 && o.User == nil && !o.ByCgroup {
		// The user may run more than this: what there is stays out of account.
		processes += threads()[os.Getuid()]
	}
	for _, l := range []struct {
		name  string
		which int
		most  int64
		set   bool
	}{
		{"open_files", syscall.RLIMIT_NOFILE, o.Limits.OpenFiles, o.Limits.OpenFiles > 0},
		{"core_bytes", syscall.RLIMIT_CORE, o.Limits.CoreBytes, true},
		{"memory", syscall.RLIMIT_DATA, o.Limits.Memory, !o.MemoryByCgroup && o.Limits.Memory > 0},
		{"processes", unix.RLIMIT_NPROC, processes, !o.ByCgroup && processes > 0},
	} {
		if !l.set {
			continue
		}
		var now syscall.Rlimit
		if err := syscall.Getrlimit(l.which, &now); err != nil {
			return fmt.Errorf("limit of %s: %w", l.name, err)
		}
		most := min(uint64(l.most), now.Max) // more than there is needs a privilege
		r := syscall.Rlimit{Cur: most, Max: most}
		if err := syscall.Setrlimit(l.which, &r); err != nil {
			return fmt.Errorf("limit of %s to %d: %w", l.name, l.most, err)
		}
	}
	return nil
}

// become takes on the user.
func (o order) become() error {
	u := o.User
	if u == nil {
		return nil
	}
	if os.Geteuid() != 0 {
		if int(u.UID) == os.Geteuid() && int(u.GID) == os.Getegid() {
			return nil
		}
		return fmt.Errorf("only root runs programs as user %d, group %d", u.UID, u.GID)
	}
	groups := make([]int, 0, len(u.Groups)+1)
	groups = append(groups, int(u.GID))
	for _, g := range u.Groups {
		groups = append(groups, int(g))
	}
	if err := syscall.Setgroups(groups); err != nil {
		return fmt.Errorf("groups of the user: %w", err)
	}
	if err := syscall.Setgid(int(u.GID)); err != nil {
		return fmt.Errorf("group %d: %w", u.GID, err)
	}
	if err := syscall.Setuid(int(u.UID)); err != nil {
		return fmt.Errorf("user %d: %w", u.UID, err)
	}
	return nil
}
