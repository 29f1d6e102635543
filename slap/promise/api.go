package promise

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Options of a Run.
type Options struct {
	Partition string // the partition's folder, absolute
	ID        string // slappart0
	Computer  string // COMP-1
	Master    string // URL; handed to Python promises
	Cert, Key string // files of the partition's certificate, or ""
	UID, GID  uint32 // of the partition; used when the agent is root

	// Python is the software's interpreter, "" when it has none; then Python
	// promises fail with a text that says so.
	Python string
	// Env of the promises, KEY=VALUE, cleaned; "" entries are left out.
	Env []string

	// Anomaly runs the promises' anomaly method instead of test.
	Anomaly bool
	// Force runs promises whose period is not over. Test mode after a
	// processing forces, anomaly mode does not.
	Force bool
	// Only are names of promises to run; nil is all.
	Only []string

	// Timeout of one promise; default 20 s.
	Timeout time.Duration
	// Parallel bounds how many run at once; default 4.
	Parallel int
	// Processes that the partition's user may have, threads counted, where
	// root runs promises; 0 is no limit.
	Processes int64

	Log *slog.Logger // default discards
}

// A Result is what became of one promise.
type Result struct {
	Title    string // the name without its ending; names the files of results and logs
	Name     string // file name
	Path     string
	Plugin   bool // a Python promise
	Duration time.Duration
	Failed   bool
	Date     time.Time
	Message  string // at most the last 5000 characters
	// Former: it was not run, as its period is not over; the rest is its last
	// result.
	Former bool
	// Bang is the message with which the promise wants its instance banged;
	// "" for none. Only in anomaly mode.
	Bang string

	anomaly bool // the type of its result in files
	settled bool // it has answered, or somebody for it
	empty   bool // it has nothing to say in this mode
}

// A Summary is what became of all promises of a partition.
type Summary struct {
	Results []Result // by name, Python promises first
	Skipped int      // promises that were not run: the period, or the mode
}

// Failed gives the results that failed.
func (s Summary) Failed() []Result {
	var list []Result
	for _, r := range s.Results {
		if r.Failed {
			list = append(list, r)
		}
	}
	return list
}

// Bang is the message to bang the instance with, "" for none. One bang a run
// is enough: it is that of the first promise that wants one.
func (s Summary) Bang() string {
	for _, r := range s.Results {
		if r.Bang != "" {
			return r.Bang
		}
	}
	return ""
}

// Err is nil when no promise failed, else an *Error for the first one.
func (s Summary) Err() error {
	if f := s.Failed(); len(f) > 0 {
		return &Error{f[0].Name, f[0].Message}
	}
	return nil
}

// An Error is a promise that failed. Its text is the one that slapgrid sends
// to the master.
type Error struct{ Name, Message string }

func (e *Error) Error() string {
	return fmt.Sprintf("Promise '%s' failed with output: %s", e.Name, e.Message)
}

// Run runs the promises of a partition. The error is for what kept it from
// doing so, such as a folder that cannot be read; promises that fail are in
// the summary. When the context ends, what runs is killed and the context's
// error returned.
func Run(ctx context.Context, o Options) (Summary, error) {
	return run(ctx, o.withDefaults())
}

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = 20 * time.Second
	}
	if o.Parallel <= 0 {
		o.Parallel = 4
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}
