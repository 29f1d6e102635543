package streams

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

// Back-off between attempts to write again after a failure.
const (
	backoffMin = 10 * time.Millisecond
	backoffMax = 5 * time.Second
)

// newBatch makes a batch, of the memory of one that is done where there is one.
func (s *Store) newBatch(old *batch) *batch {
	s.order++
	b := &batch{order: s.order, done: make(chan struct{})}
	if old != nil {
		clear(old.recs)
		clear(old.busy)
		b.mem, b.meta, b.recs, b.keys, b.busy = old.mem, old.meta[:0], old.recs[:0], old.keys[:0], old.busy[:0]
	} else {
		b.mem = make([]byte, 64<<10) // from this size on Go aligns memory to pages, which makes copies of the kernel faster
	}
	b.mem = b.mem[:blockBytes+batchHeader]
	return b
}

// commitLoop writes one batch after the other while the next is filled.
func (s *Store) commitLoop() {
	defer close(s.committed)
	defer s.closeRuns()
	for {
		b := s.nextBatch()
		if b == nil {
			return
		}
		now := s.o.Now()
		seg, pos, err := s.writeBatch(b, now)
		if err != nil {
			s.fail(b, err)
			continue
		}
		s.publish(b, seg, pos, now.UnixNano())
		s.dropDoomed() // before the files of runs are closed
		b.closeRuns()
		s.mu.Lock()
		s.giveBack(b)
		s.syncing, s.spare = nil, b
		s.failed, s.backoff = nil, 0
		s.lastTime = now.UnixNano()
		s.mu.Unlock()
		close(b.done)
		s.changed(b)
		// Those who were woken append again first, so that the next batch is
		// larger; else they would stand behind its write, which keeps this
		// goroutine's processor.
		runtime.Gosched()
	}
}

// nextBatch waits for a batch to commit; nil at the end.
func (s *Store) nextBatch() *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.filling.empty() && !s.closed {
		s.work.Wait()
	}
	b := s.filling
	if b.empty() {
		return nil
	}
	s.syncing = b
	s.filling = s.newBatch(s.spare)
	s.spare = nil
	s.turnRuns(b)
	if s.roomCh != nil {
		close(s.roomCh)
		s.roomCh = nil
	}
	return b
}

// room gives a channel that is closed when b is no longer being filled.
func (s *Store) room(b *batch) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.filling != b {
		ch := make(chan struct{})
		close(ch)
		return ch
	}
	if s.roomCh == nil {
		s.roomCh = make(chan struct{})
	}
	return s.roomCh
}

func (s *Store) writeBatch(b *batch, now time.Time) (*segment, int64, error) {
	s.waitForFold()
	start := time.Now()
	if err := s.writeRuns(b); err != nil {
		s.o.Log.Error("streams: a commit could not write to a chunk file; its bytes go to the log", "error", err)
		s.runsAfter = now.Add(runRest).UnixNano()
		s.toLog(b)
	}
	info := batchInfo{time: now.UnixNano(), dataLen: len(b.mem) - blockBytes - batchHeader, metaLen: len(b.meta), records: len(b.recs)}
	b.mem = append(b.mem, b.meta...)
	was := s.log.cur
	seg, pos, err := s.log.write(b.mem, info, b.aside)
	if err == nil {
		s.timing.observe(time.Since(start).Seconds())
		for _, d := range b.runs {
			d.done()
		}
	}
	if s.log.cur != was {
		s.wakeKeeper()
	}
	return seg, pos, err
}

// publish makes a committed batch visible.
func (s *Store) publish(b *batch, seg *segment, pos int64, now int64) {
	var bytes, appends int64
	for i := range b.recs {
		r := &b.recs[i]
		r.st.mu.Lock()
		fresh := !r.st.exists
		r.st.apply(&r.logRecord, seg.generation, pos, now, false)
		r.st.mu.Unlock()
		if fresh {
			s.names.add(r.st.name)
		}
		bytes += r.length
		appends += int64(r.appends)
	}
	s.count.bytes.Add(bytes)
	s.count.records.Add(appends)
	s.count.commits.Add(1)
	s.free.Add(-int64(b.aside)) // the log has its space already
	if last := s.freeChecked; now-last > int64(time.Second/2) || now < last {
		s.freeChecked = now
		s.refreshFree()
	}
}

// fail refuses the batch that could not be written and the one that was
// filled meanwhile, and forgets what was taken with them. The log then begins
// a new segment, which cuts off what of the batch may have reached the disk.
func (s *Store) fail(b *batch, cause error) {
	err := cause
	if !errors.Is(cause, ErrNoSpace) {
		err = fmt.Errorf("%w: %w; repeat the append", ErrUnknown, cause)
	}
	healed := s.heal()
	s.wakeKeeper() // there may be one more full segment
	s.o.Log.Error("streams: commit failed", "error", cause, "healed", healed)
	s.mu.Lock()
	next := s.filling
	for _, x := range []*batch{b, next} {
		s.forget(x)
		s.doomRuns(x)
	}
	s.syncing = nil
	s.filling = s.newBatch(nil)
	if s.roomCh != nil {
		close(s.roomCh)
		s.roomCh = nil
	}
	if !healed {
		s.backoff = min(max(2*s.backoff, backoffMin), backoffMax)
		s.retryAt = s.o.Now().Add(s.backoff)
		s.failed = err
	}
	s.mu.Unlock()
	for _, x := range []*batch{b, next} {
		x.err = err
		s.doom(x)
		close(x.done)
	}
	if healed {
		s.dropDoomed()
	}
}

// doom notes the uploads of a batch that failed. Their files stay until a new
// segment has cut the batch off.
func (s *Store) doom(b *batch) {
	for i := range b.recs {
		if u := b.recs[i].upload; u != nil {
			s.doomed = append(s.doomed, u.id)
		}
	}
}

func (s *Store) dropDoomed() {
	s.dropDoomedRuns()
	for _, id := range s.doomed {
		s.o.FS.Remove(s.uploadFile(id))
	}
	s.doomed = nil
}

// heal begins a new segment after a failure, if it can.
func (s *Store) heal() bool {
	return s.log.cur != nil || s.log.roll() == nil
}

// forget takes back what a batch that failed took: offsets, keys and
// definitions. The caller holds mu.
func (s *Store) forget(b *batch) {
	for _, id := range b.keys {
		s.keys.forget(id)
	}
	for i := range b.recs {
		st := b.recs[i].st
		st.mu.Lock()
		st.tip, st.defined = st.durable, st.exists
		st.mu.Unlock()
	}
}
