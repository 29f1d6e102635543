package ledger

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

// Pauses between tries to learn the outcome of an append.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = time.Second
)

// Append makes a record durable, or says that nothing of it was kept. What is
// in memory has to be what is on disk, so an unknown outcome is asked for until
// it is known; only when ctx ends meanwhile is the error streams.ErrUnknown.
// The record's key is Append's.
func Append(ctx context.Context, store *streams.Store, rec streams.Record) error {
	rand.Read(rec.Key[:]) // never fails
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := store.Append(context.WithoutCancel(ctx), []streams.Record{rec}, make([]streams.Result, 1))
		if !errors.Is(err, streams.ErrUnknown) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// Events gives what is in a stream in order, a line of JSON each. Lines that
// are none go to bad, and are left out.
func Events[E any](st *streams.Stream, each func(E), bad func(line []byte, err error)) error {
	state := st.State()
	if state.Length == 0 {
		return nil
	}
	r, err := st.Reader(state.Generation, 0, state.Length)
	if err != nil {
		return fmt.Errorf("replay of stream %s: %w", st.Name(), err)
	}
	defer r.Close()
	lines := bufio.NewReaderSize(r, 1<<16)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e E
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
			return fmt.Errorf("replay of stream %s: %w", st.Name(), err)
		}
	}
}

// Line appends a record as Events reads it. It panics when the record is of a
// type that JSON does not have.
func Line(b *bytes.Buffer, record any) {
	line, err := json.Marshal(record)
	if err != nil {
		panic("ledger: encode: " + err.Error())
	}
	b.Write(line)
	b.WriteByte('\n')
}

// MostlyHistory tells whether most of a stream of the given length is behind
// what a snapshot of the other length would say, so that one is worth it.
func MostlyHistory(length, snapshot int64) bool {
	const least = 4 << 20
	return length > 4*snapshot+least
}
