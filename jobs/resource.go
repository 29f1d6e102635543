package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Change is what an executor edits of a job; fields that are nil stay.
type Change struct {
	State         State       `json:"state,omitempty"`
	Progress      *int        `json:"progress,omitempty"`
	ReturnCode    *int        `json:"returnCode,omitempty"`
	StatusMessage *string     `json:"statusMessage,omitempty"`
	Affected      []Reference `json:"affectedResources,omitempty"`
	Mode          string      `json:"executionMode,omitempty"`
	Output        *string     `json:"output,omitempty"`
	// Executor is the name of who runs the job, with State RUNNING.
	Executor string `json:"executor,omitempty"`
	// Attempt is the job's number as the executor knows it. The change is
	// refused with ErrConflict when it is another by now.
	Attempt *int `json:"attempt,omitempty"`
}

// Create makes a job of a JSON object, queues it, and gives it as it is kept.
func (s *Store) Create(ctx context.Context, body []byte, owner Principal) (Job, error) {
	j, err := newJob(body, owner, s.o.Now())
	if err != nil {
		return Job{}, fmt.Errorf("create job: %w", err)
	}
	priority := DefaultPriority
	if j.Priority != nil {
		priority = *j.Priority
	}
	pull := j.Mode == ModePull
	elsewhere := s.o.Queue != nil && !s.o.Own(j.Action) && !pull
	err = s.update(func(t *tx) error {
		if !elsewhere && !pull {
			j.Properties = map[string]string{pathProperty: t.enqueue(s.queueOf(j), j.ID, priority)}
		}
		t.put(j)
		return nil
	})
	if err != nil {
		return Job{}, err
	}
	if elsewhere {
		// The job is kept already: a queue that is away now gets it later.
		ctx, cancel := context.WithTimeout(ctx, enqueueTime)
		defer cancel()
		if err := s.enqueue(ctx, j, priority); err != nil {
			s.o.Log.Warn("a job is not in the queue yet; it is put there when the queue is back", "job", j.ID, "error", err)
		}
	}
	return s.Get(ctx, j.ID)
}

// enqueueTime is how long the answer to a new job waits for the queue.
const enqueueTime = 5 * time.Second

// queueOf gives the queue of this store that a job belongs to.
func (s *Store) queueOf(j *Job) *Embedded {
	if s.o.Own(j.Action) {
		return s.own
	}
	return s.queue
}

// enqueue puts a job into its queue, another server's perhaps, and notes its entry.
func (s *Store) enqueue(ctx context.Context, j *Job, priority int) error {
	id, queue := j.ID, s.Queue()
	if s.o.Own(j.Action) {
		queue = s.own
	}
	path, err := queue.Put(ctx, id, priority)
	if err != nil {
		return err
	}
	return s.change(id, func(j *Job) (*Job, error) {
		n := j.clone()
		n.Properties = map[string]string{pathProperty: path}
		return n, nil
	})
}

// Get gives a job by its id, or ErrNotFound.
func (s *Store) Get(_ context.Context, id string) (Job, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	j, ok := s.jobs[id]
	if !ok {
		return Job{}, fmt.Errorf("%s %w", id, ErrNotFound)
	}
	return *j, nil
}

// change replaces a job by what next makes of it.
func (s *Store) change(id string, next func(*Job) (*Job, error)) error {
	return s.update(func(t *tx) error {
		j, err := t.get(id)
		if err != nil {
			return err
		}
		n, err := next(j)
		if err != nil {
			return err
		}
		t.put(n)
		t.log(id, told(j, n))
		return nil
	})
}

// EditJSON puts the attributes of a JSON object over the job's, removes
// others, and gives the whole job.
func (s *Store) EditJSON(_ context.Context, id string, body []byte, remove ...string) (Job, error) {
	var out Job
	err := s.change(id, func(j *Job) (*Job, error) {
		n, err := j.edited(body, remove, s.o.Now())
		if err != nil {
			return nil, err
		}
		out = *n
		return n, nil
	})
	if err != nil {
		return Job{}, fmt.Errorf("edit job: %w", err)
	}
	return out, nil
}

// Edit changes a job for its executor.
func (s *Store) Edit(ctx context.Context, id string, c Change) (Job, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return Job{}, err
	}
	return s.EditJSON(ctx, id, body)
}

// Stop asks a running job to stop; one in another state stays what it is.
func (s *Store) Stop(_ context.Context, id string) (Job, error) {
	return s.turn(id, func(j *Job) error {
		if j.State == Running {
			j.State = Stopped
		}
		return nil
	})
}

// Cancel gives a job up, and those whose parent it is; one that has ended stays
// what it is.
func (s *Store) Cancel(ctx context.Context, id string) (Job, error) {
	return s.giveUp(ctx, id, func(*Job) error { return nil })
}

// TimeOut gives a running job up because it took too long; ErrConflict says that
// it does not run.
func (s *Store) TimeOut(ctx context.Context, id string) (Job, error) {
	return s.giveUp(ctx, id, func(j *Job) error {
		if j.State != Running {
			return fmt.Errorf("%w: %s is %s; only a job that is RUNNING can time out", ErrConflict, id, j.State)
		}
		j.TimeOfStatus, j.StatusMessage = stamp(s.o.Now()), "timed out"
		return nil
	})
}

// giveUp cancels a job for a reason, unless that is none, and then its children.
func (s *Store) giveUp(ctx context.Context, id string, reason func(*Job) error) (Job, error) {
	out, err := s.turn(id, func(j *Job) error {
		if err := reason(j); err != nil {
			return err
		}
		if !j.State.Final() {
			now := s.o.Now()
			j.State, j.Updated = Canceled, stamp(now)
			j.finish(now)
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	var children []string
	s.each(func(j *Job) {
		if j.Parent == id && !j.State.Final() {
			children = append(children, j.ID)
		}
	})
	for _, child := range children { // each is final then, so that a circle ends
		if _, err := s.Cancel(ctx, child); err != nil && !errors.Is(err, ErrNotFound) {
			return out, err
		}
	}
	return out, nil
}

func (s *Store) turn(id string, f func(*Job) error) (Job, error) {
	var out Job
	err := s.change(id, func(j *Job) (*Job, error) {
		n := j.clone()
		if err := f(n); err != nil {
			return nil, err
		}
		out = *n
		return n, nil
	})
	return out, err
}

// Delete forgets a job and its entry. An entry that is taken, or in the queue
// of another server, is consumed by the executor that finds no job.
func (s *Store) Delete(_ context.Context, id string) error {
	return s.update(func(t *tx) error {
		j, err := t.get(id)
		if err != nil {
			return err
		}
		t.delete(id)
		if path := j.Properties[pathProperty]; s.embedded(path).idle(path) {
			t.consume(path)
		}
		return nil
	})
}

// each calls f for all jobs.
func (s *Store) each(f func(*Job)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, j := range s.jobs {
		f(j)
	}
}
