package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"weir/streams"
)

// A Pushed is what became of an upload.
type Pushed struct {
	ID        string // of the part
	Size      int64  // of the part
	MD5       string // of the part
	Whole     bool   // the file is in its set
	Duplicate bool   // it was there before; nothing was stored
}

// A plan is where a part goes.
type plan struct {
	l      *Lake
	ref    Reference
	file   string // the file's reference
	stream *streams.Stream
	before *partial // the parts before; nil for the first
	number int
	last   bool
	// again is a part that is there; the one that comes has to be it.
	again *Part
	// present is the file as it is now, nil if there is none.
	present *File
	in      *summed
}

// errSame ends an upload whose bytes are there already.
var errSame = errors.New("lake: it is there already")

// Push keeps a part of a file, or the whole. When it returns without an error
// the part is durable, and after the last part so is the file, in its set.
// When it returns an error, nothing of the part is kept, but for
// streams.ErrUnknown: then the sender repeats it.
func (l *Lake) Push(ctx context.Context, ref Reference, body io.Reader) (Pushed, error) {
	release, err := l.claim(ref.File())
	if err != nil {
		return Pushed{}, err
	}
	defer release()
	p, err := l.plan(ref)
	if err != nil {
		return Pushed{}, err
	}
	if err := p.open(body); err != nil {
		return Pushed{}, err
	}
	if p.again != nil {
		_, err = io.Copy(io.Discard, p.in)
	} else {
		err = p.upload(ctx)
		if err != nil && p.before == nil && !errors.Is(err, streams.ErrUnknown) {
			l.spareBack(p.stream)
		}
	}
	if errors.Is(err, errSame) {
		return p.pushed(p.same().ID, true), nil
	}
	if err != nil {
		return Pushed{}, err
	}
	return p.commit()
}

// plan finds where a part goes.
func (l *Lake) plan(ref Reference) (*plan, error) {
	number, last, err := ref.place()
	if err != nil {
		return nil, err
	}
	p := &plan{l: l, ref: ref, file: ref.File(), number: number, last: last}
	l.view(func(m *model) { p.before, p.present = m.partial[p.file], m.file(p.file) })
	switch have := p.have(); {
	case number == 1 && last && have > 0:
		return nil, fmt.Errorf("%w: %d parts of %q are there, and it comes again as a whole; give them up first by asking whether it exists", ErrOrder, have, p.file)
	case number == 1:
		p.before = nil // it begins anew
	case number == 0 && have > 0:
		p.number = have + 1
	case number == 0 && p.present != nil && len(p.present.Parts) > 1:
		p.number = len(p.present.Parts)
		p.again = &p.present.Parts[p.number-1]
	case number > have+1 || number == 0:
		return nil, fmt.Errorf("%w: the mark %s comes for %q, of which %d parts are there; go on with part %03d", ErrOrder, ref.Mark, p.file, have, have+1)
	case number <= have:
		p.again = &p.before.Parts[number-1]
	}
	return p, p.choose()
}

// have is how many parts there are.
func (p *plan) have() int {
	if p.before == nil {
		return 0
	}
	return len(p.before.Parts)
}

// choose gives the part its stream.
func (p *plan) choose() (err error) {
	switch {
	case p.again != nil:
	case p.before == nil:
		p.stream, err = p.l.newStream()
	default:
		var ok bool
		if p.stream, ok = p.l.o.Streams.Stream(p.before.Stream); !ok {
			err = fmt.Errorf("lake: the stream %s of %q is gone; begin again with part %s", p.before.Stream, p.file, FirstSplit)
		}
	}
	return err
}

// open makes the reader that sums the part and judges it at its end.
func (p *plan) open(body io.Reader) error {
	s := &summed{r: body, part: newSums(), first: p.before == nil || p.again != nil}
	s.whole = s.part
	if !s.first {
		var err error
		if s.whole, err = p.before.Sums.sums(); err != nil {
			return err
		}
	}
	s.check = p.check
	p.in = s
	return nil
}

// check judges the part that came, before anybody keeps it.
func (p *plan) check() error {
	s := p.in
	if p.again != nil {
		if s.size != p.again.Size || hexOf(s.part.md5) != p.again.MD5 {
			return fmt.Errorf("%w: part %03d of %q is there with other bytes; begin again with part %s", ErrOrder, p.number, p.file, FirstSplit)
		}
		return errSame
	}
	claims := claimOf(p.ref)
	mine := claims.holds(s.size, s.part)
	if !p.last {
		if before := p.claimBefore(); !mine && !before.empty() && before != claims {
			return fmt.Errorf("%w: the parts of %q came with different sizes or hashes", ErrMismatch, p.file)
		}
		return nil
	}
	size := p.offset() + s.size
	if !mine && !claims.holds(size, s.whole) {
		return claims.against(p.file, size, s.whole)
	}
	if before := p.claimBefore(); !before.holds(size, s.whole) {
		return before.against(p.file, size, s.whole)
	}
	if f := p.present; f != nil && p.before == nil && f.State != Invalidated && f.Size() == size && f.MD5 == hexOf(s.whole.md5) && f.SHA256 == hexOf(s.whole.sha256) {
		return errSame
	}
	return nil
}

// same is the part that is there already.
func (p *plan) same() Part {
	if p.again != nil {
		return *p.again
	}
	return p.present.Parts[0]
}

// claimBefore is what was said of the whole file with the parts before.
func (p *plan) claimBefore() claim {
	if p.before == nil {
		return claim{}
	}
	return p.before.Claim
}

// claimAfter is what was said of the whole file with the parts up to this one.
func (p *plan) claimAfter() claim {
	if c := claimOf(p.ref); p.claimBefore().empty() && !c.holds(p.in.size, p.in.part) {
		return c
	}
	return p.claimBefore()
}

// offset is where the part begins in the file.
func (p *plan) offset() int64 {
	if p.before == nil {
		return 0
	}
	return sizeOf(p.before.Parts)
}

// upload appends the part to its stream. One that a crash left there without
// its record is known by its key and not stored twice.
func (p *plan) upload(ctx context.Context) error {
	u, err := p.stream.Upload(ctx, p.in, streams.UploadOptions{
		Key:    streams.KeyOf([]byte("lake"), []byte{byte(p.number), byte(p.number >> 8), byte(p.number >> 16), byte(p.number >> 24)}),
		Expect: p.offset(), Conditional: true, Length: -1,
	})
	if errors.Is(err, streams.ErrExpect) || err == nil && u.Offset != p.offset() {
		return fmt.Errorf("%w: the stream of %q has other bytes than its parts; begin again with part %s", ErrOrder, p.file, FirstSplit)
	}
	if err != nil {
		return fmt.Errorf("lake: part %03d of %q: %w", p.number, p.file, err)
	}
	return nil
}

// pushed is the answer.
func (p *plan) pushed(id string, duplicate bool) Pushed {
	return Pushed{ID: id, Size: p.in.size, MD5: hexOf(p.in.part.md5), Whole: p.last, Duplicate: duplicate}
}

// commit makes the part known and, after the last one, the file.
func (p *plan) commit() (Pushed, error) {
	raw, err := p.in.whole.raw()
	if err != nil {
		return Pushed{}, err
	}
	now := p.l.o.Now()
	part := Part{Size: p.in.size, MD5: hexOf(p.in.part.md5)}
	dropped := ""
	err = p.l.update(func(m *model) (*record, error) {
		part.ID = m.newID(p.ref, now)
		c := &record{Part: &nextPart{p.file, p.ref.Supplier, p.stream.Name(), part, raw, p.claimAfter(), now.UnixMilli()}}
		if old := m.partial[p.file]; old != nil && p.before == nil {
			c.Drop, dropped = []string{p.file}, old.Stream
		}
		if p.last {
			p.complete(m, c, now)
		}
		return c, nil
	})
	if err != nil {
		if p.before == nil && !errors.Is(err, streams.ErrUnknown) {
			p.l.empty(p.stream.Name())
		}
		return Pushed{}, err
	}
	if dropped != "" {
		p.l.empty(dropped)
	}
	return p.pushed(part.ID, false), nil
}

// complete adds to a record that the file is whole, and in its set.
func (p *plan) complete(m *model, c *record, now time.Time) {
	set, ok := m.sets[p.ref.Set]
	if !ok || set.State == Invalidated {
		back := Set{Name: p.ref.Set, State: Validated}
		if ok {
			back = *set
			back.State = Validated
		}
		c.Sets, set = []Set{back}, &back
	}
	if old := m.file(p.file); old != nil {
		c.Marks = []mark{p.l.removal(old.Stream, p.file)}
	}
	said := claimOf(p.ref)
	verified := !p.claimBefore().empty() || !said.empty() && said.holds(p.offset()+p.in.size, p.in.whole)
	c.Whole = &whole{p.file, set.State, hexOf(p.in.whole.md5), hexOf(p.in.whole.sha256), verified, now.UnixMilli()}
}

// newID makes the id of a part, as Wendelin does; two in one millisecond get
// different ones.
func (m *model) newID(ref Reference, now time.Time) string {
	mark := ref.Mark
	if mark == "" {
		mark = EndSingle
	}
	for {
		at := now.UTC().Format("20060102-150405.000")
		id := ref.Supplier + "_" + ref.Set + "_" + at[:15] + "-" + at[16:] + "_" + mark
		if _, taken := m.ids[id]; !taken {
			return id
		}
		now = now.Add(time.Millisecond)
	}
}
