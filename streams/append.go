package streams

import (
	"context"
	"errors"
	"fmt"
)

// A batch is what one commit makes durable. It is filled under Store.mu, and
// then belongs to the committer.
type batch struct {
	order uint32
	mem   []byte // room for a block of the log and the header, then the data
	meta  []byte
	recs  []takenRecord
	keys  []keyID
	last  int // where the last record is in meta
	runs  []*runData
	aside int       // bytes in runs
	busy  []*Stream // of whom it has busyBytes or more
	ended []*run    // of whom no later batch has data
	full  bool
	err   error
	done  chan struct{} // closed when the outcome is known
}

// A takenRecord is a record of a batch, as logRecord, without its keys.
type takenRecord struct {
	st *Stream
	logRecord
}

// errPending marks a duplicate of an append that is on its way.
var (
	errSyncing = errors.New("streams: waits for the batch that is being written")
	errFilling = errors.New("streams: waits for the batch that is being filled")
)

// Append keeps records, in order for each stream, with one commit, and writes
// what became of recs[i] to res[i]. It returns when each is durable or has an
// Err; the error is the first of them. Records of one call are independent.
// The context bounds only the wait for room: what was taken is waited for.
func (s *Store) Append(ctx context.Context, recs []Record, res []Result) error {
	if len(res) < len(recs) {
		return fmt.Errorf("streams: append of %d records with room for %d results", len(recs), len(res))
	}
	var ups []*staged
	for i := range recs {
		if recs[i].large(s.o.LargeBytes) {
			ups = s.stageLarge(recs, res)
			break
		}
	}
	err := s.appendAll(ctx, recs, res, ups)
	s.dropUntaken(ups)
	return err
}

// appendAll is Append for records whose uploads, if any, are staged.
func (s *Store) appendAll(ctx context.Context, recs []Record, res []Result, ups []*staged) error {
	for i := 0; i < len(recs); {
		n, err := s.appendSome(ctx, recs[i:], res[i:], ups)
		if ups != nil {
			ups = ups[n:]
		}
		i += n
		if err != nil {
			for ; i < len(recs); i++ {
				res[i] = Result{Err: err}
			}
		}
	}
	var first error
	for i := range recs {
		if res[i].Err != nil {
			first = res[i].Err
			break
		}
	}
	return first
}

// appendSome takes as many records as the present batch has room for, waits
// for its commit, and gives how many it took. An error is for those it did not.
func (s *Store) appendSome(ctx context.Context, recs []Record, res []Result, ups []*staged) (int, error) {
	s.mu.Lock()
	for s.filling.full && !s.closed {
		b := s.filling
		s.mu.Unlock()
		select {
		case <-s.room(b):
		case <-ctx.Done():
			return 0, fmt.Errorf("streams: append waits for room: %w", ctx.Err())
		}
		s.mu.Lock()
	}
	if err := s.refusal(); err != nil {
		s.refused += int64(len(recs))
		s.mu.Unlock()
		return 0, err
	}
	b, syncing := s.filling, s.syncing
	empty := b.empty()
	now := s.lastTime
	n := 0
	for n < len(recs) && !b.full {
		var up *staged
		if ups != nil {
			up = ups[n]
		}
		if up != nil || ups == nil || res[n].Err == nil {
			s.take(b, &recs[n], &res[n], up, now)
		}
		n++
	}
	if empty && !b.empty() {
		s.work.Signal()
	}
	wait := !b.empty()
	s.mu.Unlock()
	s.settle(b, syncing, wait, res[:n])
	return n, nil
}

func (b *batch) empty() bool { return len(b.recs) == 0 }

// settle waits for the batches that decide over res.
func (s *Store) settle(b, syncing *batch, wait bool, res []Result) {
	pending, mine := false, false
	for i := range res {
		pending = pending || res[i].Err == errSyncing
		mine = mine || res[i].Err == errFilling
	}
	if pending {
		<-syncing.done
	}
	if mine && wait {
		<-b.done
	}
	for i := range res {
		switch res[i].Err {
		case errSyncing:
			res[i].Err = syncing.err
		case errFilling:
			res[i].Err = b.err
		}
	}
}

// take adds a record to the batch, or says why not. Until settle, a res.Err
// of errFilling or errSyncing says which batch decides. The caller holds mu.
func (s *Store) take(b *batch, r *Record, res *Result, up *staged, now int64) {
	st := r.Stream
	*res = Result{}
	if r.Key != (Key{}) {
		if p, ok := s.keys.get(keyID{st.id, r.Key}); ok {
			s.duplicate(b, p, res)
			return
		}
	}
	if res.Err = s.expected(r); res.Err != nil {
		return
	}
	n := int64(len(r.Data))
	if up != nil {
		n = up.length
	} else if r.large(s.o.LargeBytes) {
		res.Err = fmt.Errorf("%w: the key of a large append was forgotten meanwhile; repeat it", ErrUnknown)
		return
	}
	if up != nil || r.Reset {
		s.endRun(b, st)
	}
	if r.Reset && st.defined { // the first record of a stream begins generation 1 anyway
		st.tip = tip{st.tip.generation + 1, 0}
	}
	off := st.tip.length
	b.describe(st, r, up, n)
	if up == nil {
		s.takeData(b, st, r.Data, off)
	}
	if r.Key != (Key{}) {
		id := keyID{st.id, r.Key}
		b.meta = addKey(b.meta, b.last, r.Key, uint32(off-b.recs[len(b.recs)-1].offset))
		b.keys = append(b.keys, id)
		s.keys.put(id, keyPlace{off, uint32(st.tip.generation), b.order}, now)
	}
	st.tip.length += n
	b.full = len(b.mem)+len(b.meta)+b.aside >= s.batchBytes
	res.Generation, res.Offset, res.Err = st.tip.generation, off, errFilling
}

// describe adds an append to the records of the batch.
func (b *batch) describe(st *Stream, r *Record, up *staged, n int64) {
	if !b.extends(st, r, up) {
		b.begin(st, r, up, n)
		return
	}
	rec := &b.recs[len(b.recs)-1]
	rec.length += n
	rec.appends++
	extendRecord(b.meta, b.last, &rec.logRecord)
}

// takeData copies the bytes of an append to where the batch has them. The
// caller holds mu.
func (s *Store) takeData(b *batch, st *Stream, data []byte, off int64) {
	if len(data) == 0 {
		return
	}
	s.busy(b, st, int64(len(data)))
	if st.run != nil {
		s.takeRun(b, st.run, data, off)
		return
	}
	b.mem = append(b.mem, data...)
}

// expected checks the length and the generation that a record expects. The caller holds mu.
func (s *Store) expected(r *Record) error {
	now := r.Stream.tip
	switch {
	case !r.Conditional:
		return nil
	case r.Expect != now.length:
		s.refused++
		return fmt.Errorf("%w: stream %q has %d bytes, the append expects %d", ErrExpect, r.Stream.name, now.length, r.Expect)
	case r.Within != 0 && r.Within != now.generation:
		s.refused++
		return fmt.Errorf("%w: stream %q is in generation %d, the append expects %d", ErrExpect, r.Stream.name, now.generation, r.Within)
	}
	return nil
}

func (s *Store) duplicate(b *batch, p keyPlace, res *Result) {
	s.duplicates++
	res.Generation, res.Offset, res.Duplicate = uint64(p.generation), p.offset, true
	switch {
	case p.order == b.order && !b.empty():
		res.Err = errFilling
	case s.syncing != nil && p.order == s.syncing.order:
		res.Err = errSyncing
	}
}

// pending tells whether a key's append is not durable yet. The caller holds mu.
func (s *Store) pending(p keyPlace) bool {
	return p.order == s.filling.order && !s.filling.empty() || s.syncing != nil && p.order == s.syncing.order
}

// extends tells whether r goes on where the last record of the batch ends.
func (b *batch) extends(st *Stream, r *Record, up *staged) bool {
	if len(b.recs) == 0 || r.Reset || up != nil {
		return false
	}
	last := &b.recs[len(b.recs)-1]
	return last.st == st && last.upload == nil && last.inRun == (st.run != nil) && (st.run == nil || last.start == st.run.start)
}

// begin adds a record's head to the batch.
func (b *batch) begin(st *Stream, r *Record, up *staged, n int64) {
	rec := logRecord{
		stream: st.id, generation: st.tip.generation, offset: st.tip.length, length: n, appends: 1,
		reset: r.Reset && st.defined, data: len(b.mem) - blockBytes,
	}
	if up != nil {
		up.taken = true
		rec.upload = &up.upload
	} else if st.run != nil {
		rec.inRun, rec.start = true, st.run.start
	}
	if !st.defined {
		st.defined = true
		rec.define, rec.name, rec.label = true, st.name, st.label
	}
	b.last = len(b.meta)
	b.meta = appendRecord(b.meta, &rec)
	rec.body = len(b.meta) - runFixed
	b.recs = append(b.recs, takenRecord{st, rec})
}

// refusal says why appends cannot be taken now. The caller holds mu.
func (s *Store) refusal() error {
	switch {
	case s.closed:
		return ErrClosed
	case s.failed != nil && s.o.Now().Before(s.retryAt):
		return s.failed
	case s.free.Load() < s.o.MinFree:
		s.refreshFree()
		if s.free.Load() < s.o.MinFree {
			return fmt.Errorf("%w: %d bytes are free, %d are kept free", ErrNoSpace, s.free.Load(), s.o.MinFree)
		}
	}
	return nil
}
