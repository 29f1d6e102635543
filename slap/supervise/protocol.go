package supervise

import (
	"errors"
	"syscall"
	"time"
)

// The protocol: one JSON object a line each way over a Unix socket, requests
// answered in order. docs/format/supervise.md has its page.

// Bounds of the protocol.
const (
	maxRequest = 16 << 20        // bytes of a line
	idle       = 5 * time.Minute // a connection that asks nothing is closed
)

// Errors of a supervisor that callers test for.
var (
	// ErrUnknown: there is no such group or program.
	ErrUnknown = errors.New("supervise: no such program")
	// ErrNotRunning: the program has no process to send a signal to.
	ErrNotRunning = errors.New("supervise: not running")
	// ErrAbsent: no supervisor answers in the folder.
	ErrAbsent = errors.New("supervise: no supervisor runs")
	// ErrTaken: another supervisor runs in the folder.
	ErrTaken = errors.New("supervise: another supervisor runs in this folder")
)

type request struct {
	Op     string         `json:"op"`
	Group  *Group         `json:"group,omitempty"`
	Names  []string       `json:"names,omitempty"`
	Signal syscall.Signal `json:"signal,omitempty"`
	Bytes  int64          `json:"bytes,omitempty"`
	Seq    uint64         `json:"seq,omitempty"`
	Wait   time.Duration  `json:"wait,omitempty"`
}

type response struct {
	Error  string   `json:"error,omitempty"`
	Kind   string   `json:"kind,omitempty"` // of the error, see kinds
	Status []Status `json:"status,omitempty"`
	Events []Event  `json:"events,omitempty"`
	Change *Change  `json:"change,omitempty"`
	Info   *Info    `json:"info,omitempty"`
	Data   []byte   `json:"data,omitempty"`
	More   bool     `json:"more,omitempty"` // further lines answer the same request
}

// kinds are the errors that cross the wire.
var kinds = map[string]error{
	"unknown": ErrUnknown, "not-running": ErrNotRunning, "program": ErrProgram,
}

// A Change is what an Apply did, by names of programs.
type Change struct {
	Added     []string `json:"added,omitempty"`
	Changed   []string `json:"changed,omitempty"` // stopped first, when they ran
	Removed   []string `json:"removed,omitempty"`
	Unchanged []string `json:"unchanged,omitempty"`
}

// Info is a supervisor about itself.
type Info struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Adopted int       `json:"adopted"` // processes found running at its start
	Groups  []string  `json:"groups,omitempty"`
	// Confined: programs are in cgroups of their own, and so killed whole.
	Confined bool `json:"confined"`
	// Limited says which groups are at a limit, and who uses most of it.
	Limited map[string]string `json:"limited,omitempty"`
}
