package supervise

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// A Restart says what happens to a program that was RUNNING and exited.
type Restart string

// When a program is started again by itself.
const (
	Never      Restart = "never" // it is EXITED until somebody starts it
	Unexpected Restart = "unexpected"
	Always     Restart = "always"
)

// A Program is one process to keep, with supervisord's settings. Zero values
// are those that slapgrid gives supervisord, but for StopSeconds.
type Program struct {
	// Name within the group, as users type it. Any bytes but NUL; it is never
	// a file name as it is.
	Name string `json:"name"`
	// Command is an absolute path and the arguments.
	Command []string `json:"command"`
	// Dir is the working folder; default "/".
	Dir string `json:"dir,omitempty"`
	// Env is the whole environment, KEY=VALUE; SUPERVISOR_ENABLED,
	// SUPERVISOR_GROUP_NAME and SUPERVISOR_PROCESS_NAME are added.
	Env []string `json:"env,omitempty"`
	// User that the program runs as; nil is the supervisor's own.
	User *User `json:"user,omitempty"`
	// Umask of the program, 0 for 022.
	Umask int `json:"umask,omitempty"`

	// Log is a file that takes standard output and error; "" is none. Its
	// folder must exist. It is created owned by User.
	Log string `json:"log,omitempty"`
	// LogBytes is the size at which the log is renamed to Log.1, Log.1 to
	// Log.2 and so on; default 100 kB. LogBackups is how many there are;
	// default 1, -1 is none.
	LogBytes   int64 `json:"log_bytes,omitempty"`
	LogBackups int   `json:"log_backups,omitempty"`

	// Restart; "" is Never.
	Restart Restart `json:"restart,omitempty"`
	// Watch: an exit, or FATAL, is kept as an Event until it was taken.
	Watch bool `json:"watch,omitempty"`
	// ExitCodes are the expected ones; default 0.
	ExitCodes []int `json:"exit_codes,omitempty"`
	// StartSeconds is how long it must run to be RUNNING; 0 at once.
	StartSeconds int `json:"start_seconds,omitempty"`
	// StartRetries is how often a start that failed is repeated, after 1, 2, 3 …
	// seconds, before the state is FATAL.
	StartRetries int `json:"start_retries,omitempty"`
	// StopSignal is sent to stop it; 0 is TERM.
	StopSignal syscall.Signal `json:"stop_signal,omitempty"`
	// StopSeconds is how long it may take before it is killed; 0 is 60.
	StopSeconds int `json:"stop_seconds,omitempty"`

	// Limits of the program and all that it starts.
	Limits Limits `json:"limits,omitzero"`
}

// A User is who a program runs as.
type User struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"`
}

// Limits bound a program; 0 is no limit.
type Limits struct {
	// Processes, threads counted, by cgroup, and 16 at least; where there is none, RLIMIT_NPROC,
	// which counts all processes of the user: when that is the supervisor's own, on top of
	// what it runs at the start.
	Processes int64 `json:"processes,omitempty"`
	// Memory in bytes, by cgroup; where there is none, RLIMIT_DATA, which is
	// of each process.
	Memory int64 `json:"memory,omitempty"`
	// OpenFiles and CoreBytes are RLIMIT_NOFILE and RLIMIT_CORE.
	OpenFiles int64 `json:"open_files,omitempty"`
	CoreBytes int64 `json:"core_bytes,omitempty"`
}

// A Group is a partition's programs.
type Group struct {
	Name     string    `json:"name"`
	Programs []Program `json:"programs"`
	Share    Share     `json:"share,omitzero"`
}

// Bounds of what a group may be.
const (
	MaxPrograms = 1000
	maxName     = 512 // bytes
)

// ErrProgram: a program or group is none that can be run.
var ErrProgram = errors.New("supervise: impossible program")

// check says what is impossible about a group.
func (g Group) check() error {
	if err := checkName("group", g.Name); err != nil {
		return err
	}
	if strings.ContainsAny(g.Name, ":*") {
		return fmt.Errorf("%w: group %q has a colon or a star in its name", ErrProgram, g.Name)
	}
	if len(g.Programs) > MaxPrograms {
		return fmt.Errorf("%w: group %q has %d programs, more than %d", ErrProgram, g.Name, len(g.Programs), MaxPrograms)
	}
	if g.Share.Processes < 0 || g.Share.Memory < 0 {
		return fmt.Errorf("%w: group %q has a negative limit", ErrProgram, g.Name)
	}
	seen := map[string]bool{}
	for _, p := range g.Programs {
		if err := p.check(); err != nil {
			return fmt.Errorf("group %q: %w", g.Name, err)
		}
		if seen[p.Name] {
			return fmt.Errorf("%w: group %q has two programs %q", ErrProgram, g.Name, p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}

func checkName(what, name string) error {
	if name == "" || len(name) > maxName || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%w: %s name %.40q; use 1 to %d bytes without NUL", ErrProgram, what, name, maxName)
	}
	return nil
}

func (p Program) check() error {
	if err := checkName("program", p.Name); err != nil {
		return err
	}
	if len(p.Command) == 0 || !strings.HasPrefix(p.Command[0], "/") {
		return fmt.Errorf("%w: %q has the command %q; give an absolute path", ErrProgram, p.Name, p.Command)
	}
	for _, s := range append(append([]string{p.Dir, p.Log}, p.Command...), p.Env...) {
		if strings.ContainsRune(s, 0) {
			return fmt.Errorf("%w: %q has a NUL byte in its command, folder, log or environment", ErrProgram, p.Name)
		}
	}
	if p.Dir != "" && !strings.HasPrefix(p.Dir, "/") || p.Log != "" && !strings.HasPrefix(p.Log, "/") {
		return fmt.Errorf("%w: %q has a relative folder or log", ErrProgram, p.Name)
	}
	switch p.Restart {
	case "", Never, Unexpected, Always:
	default:
		return fmt.Errorf("%w: %q has restart %q; there are never, unexpected, always", ErrProgram, p.Name, p.Restart)
	}
	if p.StartSeconds < 0 || p.StartRetries < 0 || p.StopSeconds < 0 || p.LogBytes < 0 || p.LogBackups < -1 || p.LogBackups > 100 || p.Umask < 0 || p.Umask > 0o777 || p.StopSignal < 0 || p.StopSignal > 64 {
		return fmt.Errorf("%w: %q has a setting out of range", ErrProgram, p.Name)
	}
	return nil
}

func (p Program) stopSignal() syscall.Signal {
	if p.StopSignal == 0 {
		return syscall.SIGTERM
	}
	return p.StopSignal
}

func (p Program) stopTime() time.Duration {
	if p.StopSeconds == 0 {
		return time.Minute
	}
	return time.Duration(p.StopSeconds) * time.Second
}

// expected tells whether an exit is one that the program announces.
func (p Program) expected(e Exit) bool {
	if !e.Known || e.Signal != 0 {
		return false
	}
	if len(p.ExitCodes) == 0 {
		return e.Code == 0
	}
	for _, c := range p.ExitCodes {
		if c == e.Code {
			return true
		}
	}
	return false
}
