package jobs

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"weir/internal/ledger"
	"weir/streams"
)

// StreamName is the stream that holds the jobs.
const StreamName = "_jobs"

// StoreOptions of a Store. Streams must be set.
type StoreOptions struct {
	Streams *streams.Store
	// Queue takes the entries of new jobs; nil is the store's own, Embedded.
	Queue Queue
	// Own tells the actions that only this process can run. Their jobs have a
	// queue of their own, OwnQueue; nil is none.
	Own func(action string) bool
	// Lease is for how long a job that ran in another process when this one
	// ended is left to its executor; default 30 s.
	Lease time.Duration
	Now   func() time.Time // default time.Now
	Log   *slog.Logger     // default discards
}

// A Store keeps job resources durably: each change is an event in a stream,
// and is answered when it is on disk. It also holds the embedded queue. All
// methods are safe for concurrent use.
type Store struct {
	o       StoreOptions
	journal *journal
	ctx     context.Context
	stop    context.CancelFunc
	in      *ledger.Changes[tx]

	mu       sync.RWMutex    // guards what is durable
	jobs     map[string]*Job // by id; a job is replaced, never changed
	sequence int64           // of the next entry
	logs     logs
	queue    *Embedded
	own      *Embedded
	watches  map[string]map[chan struct{}]bool // by id; closed at the next change
}

// OpenStore replays the jobs of a stream store.
func OpenStore(o StoreOptions) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{o: o, jobs: map[string]*Job{}, logs: logs{byJob: map[string]*jobLog{}}, in: ledger.NewChanges[tx](ErrClosed), watches: map[string]map[chan struct{}]bool{}}
	s.queue, s.own = newEmbedded(s, entriesPath), newEmbedded(s, ownPath)
	if o.Own == nil {
		s.o.Own = func(string) bool { return false }
	}
	var err error
	if s.journal, err = openJournal(o.Streams, StreamName); err != nil {
		return nil, err
	}
	bad := func(line []byte, err error) {
		o.Log.Error("a line of the jobs' journal cannot be read and is left out", "stream", StreamName, "line", string(line[:min(len(line), 200)]), "error", err)
	}
	if err := s.journal.replay(s.apply, bad); err != nil {
		return nil, err
	}
	orDefault(&s.o.Lease, 30*time.Second)
	for path, id := range s.queue.all() {
		if j := s.jobs[id]; j != nil && j.State == Running && j.Executor != "" && !strings.HasPrefix(j.Executor, LocalPrefix) {
			s.queue.hold(path, s.o.Lease)
		}
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	go s.in.Commit(s.ctx, s.commit)
	return s, nil
}

// Queue gives the queue that new jobs go to.
func (s *Store) Queue() Queue {
	if s.o.Queue != nil {
		return s.o.Queue
	}
	return s.queue
}

// OwnQueue gives the queue of the jobs whose actions only this process can run.
func (s *Store) OwnQueue() Queue { return s.own }

// embedded gives the queue of this store that an entry is in.
func (s *Store) embedded(path string) *Embedded {
	if strings.HasPrefix(path, ownPath) {
		return s.own
	}
	return s.queue
}

// Close ends the store; changes under way are made durable or refused. The
// stream store stays open.
func (s *Store) Close() error {
	if s.in.Close() {
		s.queue.close()
		s.own.close()
		s.stop()
	}
	s.in.Wait()
	return nil
}

// apply makes an event part of the state. The caller holds mu, or is alone.
func (s *Store) apply(e event) {
	switch {
	case e.Job != nil:
		s.jobs[e.Job.ID] = e.Job
		s.tell(e.Job.ID)
	case e.Delete != "":
		delete(s.jobs, e.Delete)
		s.logs.drop(e.Delete)
		s.tell(e.Delete)
	case e.Entry != "":
		s.embedded(e.Entry).add(e.Entry, e.ID)
		s.sequence++
	case e.Log != nil:
		if e.Cut > 0 {
			s.logs.skip(e.ID, e.Cut)
		}
		s.logs.add(e.ID, e.Log)
	case e.Consumed != "":
		s.embedded(e.Consumed).remove(e.Consumed)
	case e.Sequence != 0:
		s.sequence = e.Sequence
	}
}

// update makes a change durable. apply runs alone; it must not change the tx
// when it fails.
func (s *Store) update(apply func(*tx) error) error { return s.in.Do(apply) }

// commit computes changes one after another, makes them durable with one
// append, and only then shows them.
func (s *Store) commit(list []*ledger.Change[tx]) {
	t := &tx{store: s, jobs: map[string]*Job{}, sequence: s.sequence}
	ledger.Compute(list, t)
	err := s.write(t.events, false)
	if err != nil {
		err = fmt.Errorf("jobs: keep a change: %w", err)
	} else {
		s.mu.Lock()
		for _, e := range t.events {
			s.apply(e)
		}
		s.mu.Unlock()
	}
	ledger.Answer(list, err)
	if err == nil && s.journal.wantsSnapshot() {
		s.compact()
	}
}

func (s *Store) write(events []event, reset bool) error {
	if len(events) == 0 && !reset {
		return nil
	}
	var lines bytes.Buffer
	for _, e := range events {
		ledger.Line(&lines, e)
	}
	return s.journal.append(s.ctx, lines.Bytes(), reset)
}

// compact puts a snapshot in place of the journal's history. It is the
// committer's.
func (s *Store) compact() {
	events := []event{{Sequence: s.sequence}}
	for _, j := range s.jobs {
		events = append(events, event{Job: j})
	}
	for _, q := range []*Embedded{s.queue, s.own} {
		for path, id := range q.all() {
			events = append(events, event{Entry: path, ID: id})
		}
	}
	for _, id := range s.logs.order {
		if j := s.logs.byJob[id]; j != nil && s.jobs[id] != nil {
			events = append(events, event{ID: id, Log: j.lines, Cut: j.next - int64(len(j.lines))})
		}
	}
	events = append(events, event{Sequence: s.sequence})
	if err := s.write(events, true); err != nil {
		s.o.Log.Error("the jobs' journal could not be shortened", "stream", StreamName, "error", err)
	}
	s.journal.snapshot = s.journal.st.State().Length
}

// Watch gives a channel that is closed when the job changes next.
func (s *Store) Watch(id string) (changed <-chan struct{}, stop func()) {
	c := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watches[id] == nil {
		s.watches[id] = map[chan struct{}]bool{}
	}
	s.watches[id][c] = true
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if delete(s.watches[id], c); len(s.watches[id]) == 0 {
			delete(s.watches, id)
		}
	}
}

// tell ends the watches of a job. The caller holds mu, or is alone.
func (s *Store) tell(id string) {
	for c := range s.watches[id] {
		close(c)
	}
	delete(s.watches, id)
}

// A tx is the state as the changes of one commit make it.
type tx struct {
	store    *Store
	jobs     map[string]*Job // changed; nil is deleted
	sequence int64
	events   []event
}

// get gives a job as it will be.
func (t *tx) get(id string) (*Job, error) {
	j, changed := t.jobs[id]
	if !changed {
		j = t.store.jobs[id] // only the committer writes it
	}
	if j == nil {
		return nil, fmt.Errorf("%s %w", id, ErrNotFound)
	}
	return j, nil
}

func (t *tx) put(j *Job) {
	t.jobs[j.ID] = j
	t.events = append(t.events, event{Job: j})
}

func (t *tx) delete(id string) {
	t.jobs[id] = nil
	t.events = append(t.events, event{Delete: id})
}

// enqueue adds an entry to an embedded queue and gives its path.
func (t *tx) enqueue(q *Embedded, id string, priority int) string {
	path := fmt.Sprintf("%s%s%010d", q.folder, EntryPrefix(priority), t.sequence)
	t.sequence++
	t.events = append(t.events, event{Entry: path, ID: id})
	return path
}

// consume removes an entry of an embedded queue.
func (t *tx) consume(path string) {
	t.events = append(t.events, event{Consumed: path})
}
