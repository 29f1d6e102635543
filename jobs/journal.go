package jobs

import (
	"context"
	"fmt"

	"weir/internal/ledger"
	"weir/streams"
)

// An event is one line of the journal; docs/format/jobs.md draws them. One of
// Job, Delete, Entry, Log, Consumed and Sequence is set.
type event struct {
	Job      *Job   `json:"job,omitempty"`      // the whole job, new or changed
	Delete   string `json:"delete,omitempty"`   // the id of a job
	Entry    string `json:"entry,omitempty"`    // the path of a new entry, for the job in ID
	ID       string `json:"id,omitempty"`       // with Entry and Log
	Log      []Line `json:"log,omitempty"`      // lines that the log of the job in ID grows by
	Cut      int64  `json:"cut,omitempty"`      // with Log, in snapshots: how many lines before them are gone
	Consumed string `json:"consumed,omitempty"` // the path of an entry
	Sequence int64  `json:"sequence,omitempty"` // the number of the next entry, in snapshots
}

// A journal is the stream that the events are in.
type journal struct {
	store *streams.Store
	st    *streams.Stream
	// snapshot is the length, in bytes, at which the journal began.
	snapshot int64
}

func openJournal(s *streams.Store, name string) (*journal, error) {
	st, err := s.Create(name, "")
	if err != nil {
		return nil, fmt.Errorf("jobs: open: %w", err)
	}
	return &journal{store: s, st: st}, nil
}

// replay gives the events of the journal in order. Lines that are none go to bad.
func (j *journal) replay(each func(event), bad func(line []byte, err error)) error {
	if err := ledger.Events(j.st, each, bad); err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	return nil
}

// append makes events durable, or says that nothing of them was kept. With
// reset they are a snapshot that takes the place of all events before.
func (j *journal) append(ctx context.Context, lines []byte, reset bool) error {
	return ledger.Append(ctx, j.store, streams.Record{Stream: j.st, Data: lines, Reset: reset})
}

// wantsSnapshot tells whether most of the journal is history.
func (j *journal) wantsSnapshot() bool {
	return ledger.MostlyHistory(j.st.State().Length, j.snapshot)
}
