package jobs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Queue holds the ids of jobs that wait to be run, each in an entry. The
// first entry is that of the least priority number and, among equals, about
// the oldest. An entry stays until it is consumed; a lock ends with the
// process that holds it. All methods are safe for concurrent use.
// queuetest.Run tells what else holds.
type Queue interface {
	// Put adds an entry, durable when it returns, and gives its path,
	// "/job/entries/entry-PPP-SSSSSSSSSS".
	Put(ctx context.Context, id string, priority int) (path string, err error)
	Taker
	// Entries gives the paths of all entries with the ids of their jobs.
	Entries(ctx context.Context) (map[string]string, error)
	// Holds tells whether an entry is still there.
	Holds(ctx context.Context, path string) (bool, error)
}

// A Taker is a Queue as an executor needs it.
type Taker interface {
	// Take waits for a free entry and locks it.
	Take(ctx context.Context) (Lock, error)
}

// A Lock is an entry that nobody else can take.
type Lock interface {
	Path() string // of the entry
	ID() string   // of the job
	// Lost is closed when the lock is, or may soon be, somebody else's: the work
	// must end at once, and nothing more may be written for the job.
	Lost() <-chan struct{}
	// Consume removes the entry for good. Release frees it again; the queue
	// does not offer it to this process before the pause is over. Both fail
	// with ErrLost, and change nothing, when the lock was lost or has ended
	// already; another error may be followed by another try.
	Consume(ctx context.Context) error
	Release(ctx context.Context, pause time.Duration) error
}

// An Elector lets one process at a time lead an action's distribution.
type Elector interface {
	// Lead waits until the process of that name leads the action.
	Lead(ctx context.Context, action, name string) (Term, error)
}

// A Term is the time for which a process leads.
type Term interface {
	Lost() <-chan struct{} // as of a Lock
	Resign(ctx context.Context) error
}

// ErrLost: the lock was lost; the job belongs to another executor.
var ErrLost = errors.New("jobs: lock is lost")

// entriesPath is the folder of the entries, and ownPath of those of weir's own
// actions.
const (
	entriesPath = "/job/entries/"
	ownPath     = "/weir/entries/"
)

// EntryPrefix begins the name of an entry; ten digits follow.
func EntryPrefix(priority int) string {
	return fmt.Sprintf("entry-%03d-", max(0, min(priority, MaxPriority)))
}

// priorityOf reads the priority from an entry's path.
func priorityOf(path string) int {
	_, rest, _ := strings.Cut(path, "/entries/entry-")
	digits, _, _ := strings.Cut(rest, "-")
	if n, err := strconv.Atoi(digits); err == nil && n >= 0 && n <= MaxPriority {
		return n
	}
	return DefaultPriority
}
