package jobs

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

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
	state := j.st.State()
	if state.Length == 0 {
		return nil
	}
	r, err := j.st.Reader(state.Generation, 0, state.Length)
	if err != nil {
		return fmt.Errorf("jobs: replay: %w", err)
	}
	defer r.Close()
	lines := bufio.NewReaderSize(r, 1<<16)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if err := json.Unmarshal(line, &e); err != nil {
				bad(line, err)
			} else {
				each(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("jobs: replay of stream %s: %w", j.st.Name(), err)
		}
	}
}

// Pauses between tries to learn the outcome of an append.
const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = time.Second
)

// append makes events durable, or says that nothing of them was kept. With
// reset they are a snapshot that takes the place of all events before.
func (j *journal) append(ctx context.Context, lines []byte, reset bool) error {
	var key streams.Key
	rand.Read(key[:]) // never fails
	rec := []streams.Record{{Stream: j.st, Data: lines, Key: key, Reset: reset}}
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		err := j.store.Append(context.WithoutCancel(ctx), rec, make([]streams.Result, 1))
		if !errors.Is(err, streams.ErrUnknown) {
			return err
		}
		// What is in memory must be what is on disk: ask until that is known.
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// wantsSnapshot tells whether most of the journal is history.
func (j *journal) wantsSnapshot() bool {
	const least = 4 << 20
	return j.st.State().Length > 4*j.snapshot+least
}

// encode appends an event to lines.
func encode(lines *bytes.Buffer, e event) {
	b, err := json.Marshal(e)
	if err != nil {
		panic("jobs: encode: " + err.Error()) // strings and numbers alone
	}
	lines.Write(b)
	lines.WriteByte('\n')
}
