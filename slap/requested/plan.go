package requested

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// A Plan is what to do with a partition's processes when it is processed.
// All programs that it does not name are to be started.
type Plan struct {
	// Stopped are programs to stop, and not to start.
	Stopped []string
	// Restarted are programs to stop and start; one that does not run is
	// started.
	Restarted []string
	// Notes are lines for the partition's log: what was ignored, and why.
	Notes []string

	place  Place
	record record
}

// A Place is a partition as this package needs it.
type Place struct {
	Root *os.Root // the partition's folder
	ID   string   // slappart0
	UID  uint32   // who must own the file
}

// Watched is the suffix of a program's name that marks a service.
const Watched = "-on-watch"

// Make reads the request of a partition that is being processed. Programs are
// the names of all its programs, with the suffix -on-watch or without. Started
// tells whether the instance is asked to be started; if not, the file is not
// read and the plan is empty.
//
// It never fails. Call Done when the whole processing has succeeded; until
// then a restart is planned again at each Make.
func Make(p Place, started bool, programs []string, now time.Time) Plan {
	plan := Plan{place: p}
	old, err := p.load()
	if err != nil {
		plan.note("the record of the last processing is ignored: %v", err)
	}
	plan.record = record{Processed: seconds(now), Applied: old.Applied}
	if !started {
		return plan
	}
	r, mark, err := p.read()
	plan.record.Mark = mark
	if err != nil {
		plan.note("%s is ignored: %v", p.file(), err)
		return plan
	}
	plan.Notes = append(plan.Notes, r.notes...)
	plan.Stopped = plan.match("stopped", r.stopped, programs)
	plan.Restarted = plan.restarts(r, old, programs, now)
	return plan
}

// restarts decides about the restarted list: its timestamp must be later than
// the last processing, not in the future, and not yet applied.
func (plan *Plan) restarts(r request, old record, programs []string, now time.Time) []string {
	if len(r.restarted) == 0 {
		return nil
	}
	switch at := r.timestamp; {
	case at == 0:
		plan.note("restarted is ignored: it needs a timestamp, in seconds since 1970")
		return nil
	case at > seconds(now):
		plan.note("restarted is ignored until then: its timestamp %s is in the future", text(at))
		plan.record.Later = at
		return nil
	case at <= old.Applied:
		return nil // done already
	case old.Processed <= seconds(now) && at < math.Floor(old.Processed):
		return nil // older than the last processing
	default:
		plan.record.Applied = at
	}
	names := plan.match("restarted", r.restarted, programs)
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(plan.Stopped, name) })
}

// match finds the programs that the file calls by their file names.
func (plan *Plan) match(list string, names, programs []string) []string {
	var found []string
	for _, name := range names {
		n := len(found)
		for _, p := range programs {
			if (p == name || p == name+Watched) && !slices.Contains(found, p) {
				found = append(found, p)
			}
		}
		if len(found) == n && !slices.Contains(programs, name) && !slices.Contains(programs, name+Watched) {
			plan.note("%s: there is no process %q", list, name)
		}
	}
	return found
}

func (plan *Plan) note(format string, args ...any) {
	plan.Notes = append(plan.Notes, strings.ToValidUTF8("requested process state: "+fmt.Sprintf(format, args...), "\uFFFD"))
}

// Done records that the partition was processed with this plan.
func (plan Plan) Done() error { return plan.place.save(plan.record) }

// Pending tells whether the request is a reason to process a partition that is
// up to date otherwise: the file is not the one that the last processing saw,
// or a time in the future that it named has come.
func Pending(p Place, now time.Time) bool {
	old, err := p.load()
	if err != nil {
		return false
	}
	_, mark, err := p.read()
	if err != nil {
		return false
	}
	return mark != old.Mark || old.Later != 0 && seconds(now) >= old.Later
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

func text(s float64) string {
	if s > 1<<36 {
		return fmt.Sprintf("%.0f (are these milliseconds?)", s)
	}
	return time.UnixMicro(int64(s * 1e6)).UTC().Format(time.RFC3339)
}
