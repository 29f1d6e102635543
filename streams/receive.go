package streams

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/vfs"
)

const (
	// belts is how many uploads are received with overlap at the same time.
	belts = 4
	// beltPieces is how many pieces of 1 MiB go round on a belt: one is
	// filled, the others are summed and written meanwhile.
	beltPieces = 6
	// quick is the time in which a buffer must fill for a belt to pay, and
	// slow the one in which a piece must fill to stay on it.
	quick = 20 * time.Millisecond
	slow  = time.Second
)

// A belt is memory on which the pieces of a body go round: received, then
// summed and written at the same time, then received again.
type belt struct{ free chan *beltPiece }

// A beltPiece has the next n bytes of a body, for offset at of its file.
type beltPiece struct {
	*vfs.Piece
	n    int
	at   int64
	busy atomic.Int32 // how many work on it
}

// takeBelt gives a belt unless all are in use. Their memory stays: it is what
// the fastest uploads have needed.
func (s *Store) takeBelt() *belt {
	select {
	case b := <-s.belts:
		if b.free == nil {
			b.free = make(chan *beltPiece, beltPieces)
			for range beltPieces {
				b.free <- &beltPiece{Piece: vfs.NewPiece(mib)}
			}
		}
		return b
	default:
		return nil
	}
}

func newBelts() chan *belt {
	c := make(chan *belt, belts)
	for range belts {
		c <- &belt{}
	}
	return c
}

// receive writes what comes from r, up to its end. A body that comes fast goes
// over a belt; others, of which there may be many, have only buf.
func (g *stager) receive(r io.Reader, buf []byte) error {
	for {
		part := buf
		if off := int(g.up.length % beltAlign); off != 0 && len(buf) > beltAlign {
			part = buf[:len(buf)-off] // so that a belt can follow
		}
		began := time.Now()
		n, ended, err := readFull(r, part)
		if err != nil {
			return err
		}
		if _, err := g.Write(part[:n]); err != nil || ended {
			return err
		}
		if time.Since(began) > quick || g.up.length%beltAlign != 0 {
			continue
		}
		if b := g.s.takeBelt(); b != nil {
			ended, err := g.convey(b, r)
			g.s.belts <- b
			if err != nil || ended {
				return err
			}
		}
	}
}

// beltAlign is where in a file a belt may begin.
const beltAlign = 4096

// readFull reads until p is full or the body ends. Unlike io.ReadFull it tells
// a body's end from an error that says that the body broke off.
func readFull(r io.Reader, p []byte) (n int, ended bool, err error) {
	for n < len(p) {
		got, err := r.Read(p[n:])
		n += got
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// convey receives over a belt until the body's end or until it comes slowly.
// What it gives back of the belt is free again.
func (g *stager) convey(b *belt, r io.Reader) (ended bool, err error) {
	out := vfs.NewDirect(g.s.o.FS, g.s.uploadFile(g.up.id), g.file)
	sums, writes := make(chan *beltPiece, beltPieces), make(chan *beltPiece, beltPieces)
	var failed atomic.Pointer[error]
	var work sync.WaitGroup
	work.Go(func() {
		for p := range sums {
			g.sum(p.Bytes()[:p.n])
			b.done(p)
		}
	})
	work.Go(func() {
		for p := range writes {
			if failed.Load() == nil {
				if _, err := out.WriteAt(p.Bytes()[:p.n], p.at); err != nil {
					failed.Store(&err)
				}
			}
			b.done(p)
		}
	})
	for more := true; more && err == nil && failed.Load() == nil; {
		p := <-b.free
		p.n, more, ended, err = fill(r, p.Bytes())
		if err == nil {
			err = g.room(p.n)
		}
		p.at = g.up.length
		g.up.length += int64(p.n)
		p.busy.Store(2)
		sums <- p
		writes <- p
	}
	close(sums)
	close(writes)
	work.Wait()
	if f := failed.Load(); f != nil && err == nil {
		err = noSpace(*f)
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return ended, err
}

// done frees a piece when the last one who works on it is done.
func (b *belt) done(p *beltPiece) {
	if p.busy.Add(-1) == 0 {
		b.free <- p
	}
}

// fill reads until p is full, the body ends, or it takes too long. more says
// that another piece may follow at once.
func fill(r io.Reader, p []byte) (n int, more, ended bool, err error) {
	began := time.Now()
	for n < len(p) {
		got, err := r.Read(p[n:])
		n += got
		if err == io.EOF {
			return n, false, true, nil
		}
		if err != nil {
			return n, false, false, err
		}
		if n < len(p) && time.Since(began) > slow {
			return n, false, false, nil
		}
	}
	return n, true, false, nil
}
