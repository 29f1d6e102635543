package supervise

import (
	"fmt"
	"syscall"
	"time"
)

// A State is what supervisord calls the state of a process.
type State string

// The states, as supervisord's users know them.
const (
	Stopped  State = "STOPPED"  // never started, or stopped on request
	Starting State = "STARTING" // runs for less than StartSeconds
	Running  State = "RUNNING"
	Backoff  State = "BACKOFF"  // a start failed and will be repeated
	Stopping State = "STOPPING" // was told to stop, runs still
	Exited   State = "EXITED"   // was RUNNING, and ended by itself
	Fatal    State = "FATAL"    // could not be started
	Unknown  State = "UNKNOWN"
)

// Runs tells whether a process is there.
func (s State) Runs() bool { return s == Starting || s == Running || s == Stopping }

// An Exit is how a process ended. Of a process that ended while no supervisor
// ran, and on kernels before 6.15 of one that was adopted, it is not Known.
type Exit struct {
	Known  bool           `json:"known"`
	Code   int            `json:"code,omitempty"`
	Signal syscall.Signal `json:"signal,omitempty"` // that killed it
}

func (e Exit) String() string {
	switch {
	case !e.Known:
		return "exit status unknown"
	case e.Signal != 0:
		return fmt.Sprintf("killed by signal %d (%v)", int(e.Signal), e.Signal)
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// A Status is a program as it is now.
type Status struct {
	Group string    `json:"group"`
	Name  string    `json:"name"`
	State State     `json:"state"`
	PID   int       `json:"pid,omitempty"`
	Since time.Time `json:"since,omitzero"`  // of the state; of a process that runs, its start
	Exit  *Exit     `json:"exit,omitempty"`  // of the last process that ended
	Error string    `json:"error,omitempty"` // why it could not be started, or its log not be written
	Left  int       `json:"left,omitempty"`  // processes that the last one left behind, and that run
	Log   string    `json:"log,omitempty"`
	// Lost is how many bytes of output no log took.
	Lost int64 `json:"lost,omitempty"`
	// Limit tells that its group is at a limit, and that this program has the
	// greatest part in it.
	Limit string `json:"limit,omitempty"`
}

// FullName is the name that supervisorctl shows: group:name.
func (s Status) FullName() string { return s.Group + ":" + s.Name }

// Description is what supervisorctl prints behind the state.
func (s Status) Description(now time.Time) string {
	switch s.State {
	case Starting, Running, Stopping:
		up := max(now.Sub(s.Since), 0).Truncate(time.Second)
		day := ""
		if d := int(up.Hours()) / 24; d == 1 {
			day = "1 day, "
		} else if d > 1 {
			day = fmt.Sprintf("%d days, ", d)
		}
		return fmt.Sprintf("pid %d, uptime %s%d:%02d:%02d", s.PID, day, int(up.Hours())%24, int(up.Minutes())%60, int(up.Seconds())%60)
	case Backoff, Fatal, Unknown:
		if s.Error != "" {
			return s.Error
		}
		return "Exited too quickly (process log may have details)"
	}
	if s.Since.IsZero() {
		return "Not started"
	}
	return s.Since.Local().Format("Jan 02 03:04 PM")
}

// An Event is an exit of a watched program, or a group that has come to a
// limit, kept until it was taken. Further ones of the same before that make
// Count greater and the rest newer.
type Event struct {
	Seq   uint64    `json:"seq"`
	Group string    `json:"group"`
	Name  string    `json:"name"`
	State State     `json:"state,omitempty"` // Exited or Fatal
	Exit  Exit      `json:"exit"`
	Error string    `json:"error,omitempty"`
	Limit string    `json:"limit,omitempty"` // of the group, which has come to it; Name is who used most
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Count int       `json:"count"`
}
