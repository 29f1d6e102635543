package supervise

import (
	"syscall"
	"time"

	"weir/internal/proc"
)

// A family is a program's process and all that came of it.
type family struct {
	main    proc.ID
	folders []string // its cgroups; where there are none, the marker tells
	marker  string   // a variable of its environment, KEY=VALUE
}

// marker is the variable of a run.
func marker(run string) string { return "WEIR_RUN=" + run }

// members gives all processes of the family that live. By cgroup nobody
// escapes. Without, members are found by their session, while its leader is
// there, by descent, and by the environment that they were given.
func (f family) members() []proc.ID {
	if len(f.folders) > 0 {
		var list []proc.ID
		for _, pid := range members(f.folders[0]) {
			if s, err := proc.Read("/", pid); err == nil && !s.Dead() {
				list = append(list, s.ID)
			}
		}
		return list
	}
	return proc.Tree(f.main, f.marker)
}

// signal sends a signal to every member.
func (f family) signal(s syscall.Signal) { proc.SignalAll(f.members(), s) }

// kill kills every member, those that they make meanwhile as well.
func (f family) kill() {
	if len(f.folders) > 0 && killGroup(f.folders[0]) {
		return
	}
	f.signal(syscall.SIGSTOP) // none makes another while they are killed
	f.signal(syscall.SIGKILL)
}

// end terminates what is left of a family: TERM, and after the grace KILL. It
// tells whether all are gone.
func (f family) end(grace time.Duration) bool {
	if len(f.members()) == 0 {
		return true
	}
	if grace > 0 {
		f.signal(syscall.SIGTERM)
		if f.gone(grace) {
			return true
		}
	}
	for range 100 {
		f.kill()
		if f.gone(100 * time.Millisecond) {
			return true
		}
	}
	return false
}

// gone waits until no member lives.
func (f family) gone(most time.Duration) bool {
	pause := time.Millisecond
	for end := time.Now().Add(most); ; pause = min(2*pause, 50*time.Millisecond) {
		if len(f.members()) == 0 {
			return true
		}
		if !time.Now().Before(end) {
			return false
		}
		time.Sleep(pause)
	}
}
