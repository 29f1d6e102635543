package arrays

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"weir/streams"
)

// stepBytes is how much of a stream a step reads at most.
const stepBytes = 8 << 20

// A source is what a group needs of a stream.
type source interface {
	Name() string
	State() streams.State
	ReadAt(generation uint64, p []byte, off int64) (int, error)
	Chunks() []streams.Chunk
}

// Advance decodes what the stream has beyond the group of the same name, one
// bounded step, and commits it. more says that another step would find work.
// Steps of one stream never run at the same time; a second caller waits.
//
// A group of another generation of the stream, or made by another spec, is
// built again from the stream's beginning, which is not byte 0 where the stream
// was trimmed, and replaced when the first step of that is done.
func (s *Store) Advance(ctx context.Context, st *streams.Stream, spec Spec) (more bool, err error) {
	return s.advance(ctx, st, st, spec)
}

func (s *Store) advance(ctx context.Context, st *streams.Stream, src source, spec Spec) (more bool, err error) {
	g, err := s.take(src.Name())
	if err != nil {
		return false, err
	}
	defer g.mu.Unlock()
	more, err = g.step(ctx, st, src, spec)
	switch {
	case errors.Is(err, streams.ErrGeneration):
		g.loaded = false
		return true, nil
	case errors.Is(err, errDamaged):
		s.log.Error("arrays: building the group again", "group", g.name, "err", err)
		return true, g.begin(g.commit.Generation, src.State().Begin, g.commit.Spec)
	case err != nil:
		// What is in memory may be ahead of what was committed.
		g.loaded = false
	}
	return more, err
}

// step reads, decodes, writes and publishes.
func (g *group) step(ctx context.Context, st *streams.Stream, src source, spec Spec) (more bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := g.load(); err != nil {
		return false, err
	}
	now := src.State()
	if again, err := g.prepare(src, now, spec); err != nil || !again {
		return false, err
	}
	if g.commit.Offset < now.Begin {
		return true, g.skip(ctx, st, src, now)
	}
	buf := g.s.buffer(min(now.Length-g.commit.Offset, stepBytes))
	defer g.s.release(buf)
	n, err := src.ReadAt(now.Generation, *buf, g.commit.Offset)
	hole := errors.Is(err, streams.ErrHole)
	if n < len(*buf) && !hole {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return false, fmt.Errorf("arrays: read %s at byte %d: %w", g.name, g.commit.Offset, err)
	}
	done := g.decoder.decode((*buf)[:n], g.commit.Offset, &g.table)
	if done == 0 && n == stepBytes {
		return false, fmt.Errorf("arrays: decode %s at byte %d: no record ends within %d bytes", g.name, g.commit.Offset, n)
	}
	if hole && done == 0 {
		if done = g.hole(src, now, int64(n)); done == 0 {
			return false, fmt.Errorf("arrays: read %s at byte %d: %w", g.name, g.commit.Offset, err)
		}
	}
	more = done < n && g.table.full() || g.commit.Offset+int64(max(n, done)) < now.Length
	if done == 0 && g.dir == g.s.path(g.name) {
		g.table.reset(more)
		return more, nil
	}
	if err := g.refuse(ctx, st, src, now.Length); err != nil {
		return false, err
	}
	return more, g.keep(src, now, int64(done), more)
}

// skip goes over bytes that were trimmed though the group had not read them.
// Who trims looks at Needs, so this is a group that went back: its zarr.json is
// from a copy, or the power took more than the disk said that it had.
func (g *group) skip(ctx context.Context, st *streams.Stream, src source, now streams.State) error {
	size := now.Begin - g.commit.Offset
	g.s.log.Error("arrays: the stream begins behind what the group has; the rows between are missing", "group", g.name, "offset", g.commit.Offset, "begin", now.Begin)
	g.table.refused.add(g.commit.Offset, size, "trimmed", "the stream was trimmed before these bytes were decoded")
	g.decoder.lost()
	if err := g.refuse(ctx, st, src, now.Length); err != nil {
		return err
	}
	return g.keep(src, now, size, true)
}

// hole goes over bytes that the stream has lost, n bytes on, to where it can be
// read again, and gives the number of bytes from the group's offset to there:
// 0 when it cannot be read any more.
func (g *group) hole(src source, now streams.State, n int64) int {
	at := g.commit.Offset + n
	var one [1]byte
	for _, c := range src.Chunks() {
		if c.Offset <= at {
			continue
		}
		if _, err := src.ReadAt(now.Generation, one[:], c.Offset); err != nil {
			continue
		}
		size := c.Offset - g.commit.Offset
		g.table.refused.add(g.commit.Offset, size, "lost", "the stream has lost bytes of this range to a damaged file")
		g.decoder.lost()
		return int(size)
	}
	return 0
}

// prepare begins the group where it must; false says that there is nothing to do.
func (g *group) prepare(src source, now streams.State, spec Spec) (bool, error) {
	fresh := g.decoder == nil
	switch {
	case fresh && now.Length == 0:
		return false, nil
	case fresh, g.commit.Generation != now.Generation, !g.commit.Spec.equal(spec):
	case g.commit.Offset > now.Length:
		g.s.log.Error("arrays: the stream is shorter than what was read of it; building the group again", "group", g.name, "offset", g.commit.Offset, "length", now.Length)
	case !g.follows(src, now):
		g.s.log.Error("arrays: the stream has other bytes than were read of it; building the group again", "group", g.name, "offset", g.commit.Offset, "length", now.Length)
	default:
		return g.commit.Offset < now.Length || g.dir != g.s.path(g.name), nil
	}
	if now.Begin > 0 {
		g.s.log.Warn("arrays: the group begins where the trimmed stream does", "group", g.name, "begin", now.Begin)
	}
	return true, g.begin(now.Generation, now.Begin, spec)
}

// refuse hands on what the decoder could not use.
func (g *group) refuse(ctx context.Context, st *streams.Stream, src source, length int64) error {
	for _, r := range g.table.refused.out {
		end := min(r.Offset+r.Length, length)
		if r.Length == 0 {
			end = length // to the end of what is known
		}
		data := make([]byte, min(end-r.Offset, pieceBytes))
		n, err := src.ReadAt(g.commit.Generation, data, r.Offset)
		if errors.Is(err, streams.ErrHole) || errors.Is(err, streams.ErrTrimmed) {
			data, err = data[:n], nil
		}
		if n < len(data) {
			return fmt.Errorf("arrays: read refused bytes of %s at %d: %w", g.name, r.Offset, err)
		}
		detail := r.Detail
		if r.Count > 1 {
			detail = fmt.Sprintf("%d in this range, the first: %s", r.Count, detail)
		}
		err = g.s.o.Refuse(ctx, Refusal{st, g.commit.Generation, r.Offset, r.Length, r.Reason, detail, data})
		if err != nil {
			return fmt.Errorf("arrays: keep what %s refused at byte %d (%s): %w", g.name, r.Offset, r.Reason, err)
		}
	}
	return nil
}

// keep writes the decoded rows and commits them with the offset n bytes on.
func (g *group) keep(src source, now streams.State, n int64, more bool) error {
	if g.commit.Chunk == 0 {
		g.commit.Chunk = g.s.chunkRows(g.commit.Spec.Kind, g.table.columns)
	}
	if err := g.write(); err != nil {
		return err
	}
	c, t := &g.commit, &g.table
	rows, count := int64(t.rows), t.refused.count
	c.Rows += rows
	c.Offset += n
	c.Mark = markAt(src, now, c.Offset)
	for _, k := range count {
		c.Refused += k
	}
	t.reset(more)
	t.first = c.Rows
	var err error
	if c.State, err = json.Marshal(savedState{must(json.Marshal(g.decoder.state())), &t.refused}); err != nil {
		return fmt.Errorf("arrays: state of %s: %w", g.name, err)
	}
	c.Modified = g.s.o.Now().UTC()
	if err := g.publish(); err != nil {
		return err
	}
	g.s.stats.add(rows, n, count)
	return g.followDocs(!more)
}

// must is for values that always have a JSON form.
func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
