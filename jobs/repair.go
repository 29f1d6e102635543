package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// restoreAge is how old a job must be before its missing entry is missed: its
// creator may be about to put it.
const restoreAge = 30 * time.Second

// Restore puts jobs that have not ended and have no entry back into the queue:
// the queue was away when they were made, or another engine consumed the entry
// of a job that it did not end. It gives how many there were.
func (s *Store) Restore(ctx context.Context) (int, error) {
	// The listing comes first: an entry that goes later goes after its job's
	// final state was stored.
	entries, err := s.Queue().Entries(ctx)
	if err != nil {
		return 0, fmt.Errorf("jobs: restore: %w", err)
	}
	queued := make(map[string]bool, len(entries))
	for _, id := range entries {
		queued[id] = true
	}
	for _, id := range s.own.all() {
		queued[id] = true
	}
	before := stamp(s.o.Now().Add(-restoreAge))
	var lost []*Job
	s.each(func(j *Job) {
		if (j.State == Queued || j.State == Running) && j.Mode != ModePull && !queued[j.ID] && j.Created < before {
			lost = append(lost, j)
		}
	})
	restored := 0
	for _, j := range lost {
		if now, err := s.Get(ctx, j.ID); err != nil || now.State != Queued && now.State != Running || now.Mode == ModePull {
			continue
		}
		priority := DefaultPriority
		if j.Priority != nil {
			priority = *j.Priority
		} else if path := j.Properties[pathProperty]; path != "" {
			priority = priorityOf(path)
		}
		if err := s.enqueue(ctx, j, priority); err != nil && !errors.Is(err, ErrNotFound) {
			return restored, fmt.Errorf("jobs: restore %s: %w", j.ID, err)
		}
		restored++
		s.o.Log.Warn("a job was not in the queue and is put back", "job", j.ID, "state", j.State)
	}
	return restored, nil
}

// Cleanup deletes jobs that ended, and did not change, for a time. It gives
// how many.
func (s *Store) Cleanup(ctx context.Context, age time.Duration) (int, error) {
	before := stamp(s.o.Now().Add(-age))
	var old []string
	s.each(func(j *Job) {
		if (j.State.Final() || j.State == Stopped) && j.Updated < before {
			old = append(old, j.ID)
		}
	})
	for i, id := range old {
		if ctx.Err() != nil {
			return i, ctx.Err()
		}
		if err := s.Delete(ctx, id); err != nil && !errors.Is(err, ErrNotFound) {
			return i, fmt.Errorf("jobs: clean up: %w", err)
		}
	}
	return len(old), nil
}

// StoreStats counts what a store holds now.
type StoreStats struct {
	Jobs           map[State]int64
	Entries, Taken int64 // of the embedded queues
	Oldest         int64 // for how long the oldest QUEUED job has waited, in s
}

// Stats counts jobs and entries.
func (s *Store) Stats() StoreStats {
	st := StoreStats{Jobs: map[State]int64{Queued: 0, Running: 0, Success: 0, Failed: 0}}
	oldest := ""
	s.each(func(j *Job) {
		st.Jobs[j.State]++
		if j.State == Queued && (oldest == "" || j.Created < oldest) {
			oldest = j.Created
		}
	})
	if made, err := time.Parse(stampLayout, oldest); err == nil {
		st.Oldest = max(0, int64(s.o.Now().Sub(made)/time.Second))
	}
	for _, q := range []*Embedded{s.queue, s.own} {
		entries, taken, _ := q.Counts()
		st.Entries += int64(entries)
		st.Taken += int64(taken)
	}
	return st
}
