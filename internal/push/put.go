package push

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// A File is what Put sends.
type File struct {
	*os.File
	// Part is how much is sent in one request, in bytes: what a break may
	// cost. A file that is not larger arrives in one step; so does any with 0.
	Part int64
	// Patience is how long breaks are borne in which nothing comes through.
	Patience time.Duration
	// Progress is told how many bytes of how many the server has; nil is nobody.
	Progress func(done, size int64)
	// Broken is told of a break that is borne; nil is nobody.
	Broken func(error)
}

// A Result is what Put did.
type Result struct {
	Bytes  int64
	Parts  int    // requests that brought bytes
	Before int64  // bytes that were there before
	Text   string // the server's answer, when it was one request
}

// Pauses between tries.
const (
	firstPause = 200 * time.Millisecond
	lastPause  = 10 * time.Second
)

// Put makes a file the content of the stream at an address. Where the stream
// holds a beginning of the file, as after a break, it goes on from there. When
// it returns without an error the stream is the file, durably.
func (c *Client) Put(ctx context.Context, f File, to string) (Result, error) {
	info, err := f.Stat()
	if err != nil {
		return Result{}, err
	}
	p := &putting{File: f, s: stream{c, to}, size: info.Size(), since: time.Now()}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		before := p.result.Parts
		err := p.once(ctx)
		if p.result.Parts > before {
			pause, p.since = firstPause, time.Now()
		}
		if err == nil {
			return p.result, p.unchanged(info)
		}
		if changed := p.unchanged(info); changed != nil {
			return p.result, changed
		}
		if !passing(err) && !errors.Is(err, errMoved) || time.Since(p.since) > f.Patience {
			return p.result, err
		}
		if err := p.rest(ctx, pause, err); err != nil {
			return p.result, err
		}
	}
}

// A putting is a file on its way.
type putting struct {
	File
	s      stream
	size   int64
	since  time.Time // when bytes came through last
	known  bool      // what was there before is in result
	result Result
}

// rest waits before the next try.
func (p *putting) rest(ctx context.Context, pause time.Duration, why error) error {
	if p.Broken != nil {
		p.Broken(why)
	}
	if r, ok := errors.AsType[*Refusal](why); ok {
		pause = max(pause, min(r.Wait, lastPause))
	}
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unchanged refuses a file that was written to meanwhile.
func (p *putting) unchanged(was os.FileInfo) error {
	now, err := p.Stat()
	if err == nil && (now.Size() != was.Size() || !now.ModTime().Equal(was.ModTime())) {
		err = fmt.Errorf("%s changed while it was sent; send it again, or follow it with --watch", p.Name())
	}
	return err
}

// once finds how much is there and sends the rest.
func (p *putting) once(ctx context.Context) error {
	was, err := p.s.state(ctx)
	if err != nil {
		return err
	}
	at, err := p.beginning(ctx, was)
	if err != nil {
		return err
	}
	if !p.known {
		p.known, p.result.Before = true, at
	}
	p.result.Bytes = p.size
	p.tell(at)
	if was.etag != "" && at == p.size && was.length == p.size {
		return nil
	}
	etag := was.etag
	for first := at == 0; first || at < p.size; first = false {
		n := p.size - at
		if p.Part > 0 {
			n = min(n, p.Part)
		}
		k, err := p.part(ctx, first, at, n, state{length: was.length, etag: etag})
		if err != nil {
			return err
		}
		at += n
		etag = k.etag
		p.result.Parts++
		p.result.Text = k.text
		p.tell(at)
	}
	return nil
}

// part sends a part and compares what the server says that it kept.
func (p *putting) part(ctx context.Context, first bool, at, n int64, was state) (kept, error) {
	sum := sha256.New()
	done := at
	body := &reader{io.NewSectionReader(p.File.File, at, n), func(b []byte) {
		sum.Write(b)
		done += int64(len(b))
		p.tell(done)
	}}
	var k kept
	var err error
	if first {
		k, err = p.s.replace(ctx, body, n, was)
	} else {
		k, err = p.s.add(ctx, body, at, n, was.etag)
	}
	if err == nil && k.sha256 != "" && k.sha256 != hex.EncodeToString(sum.Sum(nil)) {
		err = fmt.Errorf("the server kept other bytes than were sent, with SHA-256 %s", k.sha256)
	}
	return k, err
}

func (p *putting) tell(done int64) {
	if p.Progress != nil {
		p.Progress(done, p.size)
	}
}

// A reader tells what is read.
type reader struct {
	r    io.Reader
	read func([]byte)
}

func (r *reader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.read(b[:n])
	return n, err
}

// beginning gives the length of the stream if it is a beginning of the file,
// else 0.
func (p *putting) beginning(ctx context.Context, was state) (int64, error) {
	if was.length == 0 || was.length > p.size || was.begin > 0 { // what was trimmed cannot be compared
		return 0, nil
	}
	chunks, err := p.s.chunks(ctx)
	if err != nil {
		return 0, err
	}
	var at int64
	for _, c := range chunks {
		if at >= was.length {
			break
		}
		if c.Offset != at { // bytes were lost there, or it changed meanwhile
			return 0, nil
		}
		same, err := p.same(ctx, c)
		if err != nil || !same {
			return 0, err
		}
		at += c.Length
	}
	if at != was.length {
		return 0, nil
	}
	return at, nil
}

// same tells whether a chunk holds what the file has there.
func (p *putting) same(ctx context.Context, c chunk) (bool, error) {
	mine := io.NewSectionReader(p.File.File, c.Offset, c.Length)
	if c.SHA256 == "" {
		theirs, err := p.s.read(ctx, c.Offset, c.Offset+c.Length)
		if err != nil {
			return false, err
		}
		defer theirs.Close()
		return equal(mine, theirs, c.Length)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, mine)
	if err != nil {
		return false, errors.Join(errLocal, err)
	}
	return n == c.Length && hex.EncodeToString(sum.Sum(nil)) == c.SHA256, nil
}

// equal compares n bytes of the file with as many of the server's.
func equal(mine, theirs io.Reader, n int64) (bool, error) {
	a, b := make([]byte, 64<<10), make([]byte, 64<<10)
	for n > 0 {
		k := int(min(n, int64(len(a))))
		if _, err := io.ReadFull(theirs, b[:k]); err != nil {
			return false, fmt.Errorf("the answer broke off: %w", err)
		}
		if _, err := io.ReadFull(mine, a[:k]); err == io.EOF || err == io.ErrUnexpectedEOF {
			return false, nil
		} else if err != nil {
			return false, errors.Join(errLocal, err)
		}
		if !bytes.Equal(a[:k], b[:k]) {
			return false, nil
		}
		n -= int64(k)
	}
	return true, nil
}

// PutPipe makes what comes from r the content of a stream, in one request,
// which cannot be repeated.
func (c *Client) PutPipe(ctx context.Context, r io.Reader, to string) (Result, error) {
	k, err := stream{c, to}.replace(ctx, r, -1, state{})
	return Result{Parts: 1, Text: k.text}, err
}
