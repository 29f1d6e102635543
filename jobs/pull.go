package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// PullPrefix begins the path of a Hold on a job of mode pull, which has no entry.
const PullPrefix = "pull/"

// pullSilence is for how long a job of mode pull that is run by an executor
// without heart-beats may be RUNNING without an edit.
const pullSilence = time.Hour

// RestorePulled brings jobs of mode pull out of RUNNING whose executor is not
// there any more; it gives how many. heard tells whether an executor is, and
// since from when on that is known. One that sends heart-beats has given its
// job up when it is not heard: the job is QUEUED again, for who pulls it next.
// Of an engine without heart-beats nobody knows: its job is CANCELED when
// nothing was heard of it for an hour.
func (s *Store) RestorePulled(_ context.Context, heard func(executor string) bool, since time.Time) (int, error) {
	now := s.o.Now()
	stale := func(j *Job) bool {
		if j.State != Running || j.Mode != ModePull {
			return false
		}
		silence := pullSilence
		if j.Executor != "" {
			silence = s.o.Lease
		}
		edited, err := time.Parse(stampLayout, j.Updated)
		return err == nil && now.Sub(edited) > silence && now.Sub(since) > silence && (j.Executor == "" || !heard(j.Executor))
	}
	var lost []string
	s.each(func(j *Job) {
		if stale(j) {
			lost = append(lost, j.ID)
		}
	})
	restored := 0
	for _, id := range lost {
		err := s.change(id, func(j *Job) (*Job, error) {
			if !stale(j) {
				return nil, ErrConflict
			}
			return j.abandoned(now), nil
		})
		switch {
		case errors.Is(err, ErrConflict), errors.Is(err, ErrNotFound):
		case err != nil:
			return restored, fmt.Errorf("jobs: restore %s: %w", id, err)
		default:
			restored++
			s.o.Log.Warn("a job that was pulled has lost its executor", "job", id)
		}
	}
	return restored, nil
}

// abandoned gives the job as it is without its executor.
func (j *Job) abandoned(now time.Time) *Job {
	n := j.clone()
	n.Updated, n.TimeOfStatus = stamp(now), stamp(now)
	if n.Executor == "" {
		n.State, n.StatusMessage = Canceled, fmt.Sprintf("nothing was heard of it for %v", pullSilence)
		n.finish(now)
		return n
	}
	n.State, n.StatusMessage = Queued, fmt.Sprintf("executor %s is not heard any more; who pulls the job begins it again", n.Executor)
	return n
}
