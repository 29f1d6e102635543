package streams

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"path"

	"weir/internal/vfs"
)

// uploadBuffer is how much of a body of unknown length is held in memory.
const uploadBuffer = 256 << 10

// A stager writes the file of an upload.
type stager struct {
	s    *Store
	up   upload
	sha  hash.Hash
	file vfs.File
}

func (s *Store) newStager() (*stager, error) {
	g := &stager{s: s, sha: sha256.New()}
	g.up.id = s.uploadID.Add(1)
	f, err := s.o.FS.Create(s.uploadFile(g.up.id))
	if err != nil {
		return nil, fmt.Errorf("streams: upload: %w", noSpace(err))
	}
	g.file = f
	return g, nil
}

func (g *stager) Write(p []byte) (int, error) {
	if err := g.room(len(p)); err != nil {
		return 0, err
	}
	n, err := g.file.WriteAt(p, g.up.length)
	g.sum(p[:n])
	g.up.length += int64(n)
	return n, noSpace(err)
}

// room refuses n more bytes when the disk is full.
func (g *stager) room(n int) error {
	if g.s.free.Load() < g.s.o.MinFree {
		return fmt.Errorf("%w: an upload of %d bytes or more", ErrNoSpace, g.up.length)
	}
	if g.up.length>>24 != (g.up.length+int64(n))>>24 {
		g.s.refreshFree() // every 16 MiB
	}
	return nil
}

// sum adds the next bytes to the checksums.
func (g *stager) sum(p []byte) {
	g.sha.Write(p)
	g.up.crc = crc32.Update(g.up.crc, castagnoli, p)
}

// seal makes the file durable.
func (g *stager) seal() error {
	err := g.file.Datasync()
	if err == nil {
		err = g.s.o.FS.SyncDir(path.Join(g.s.dir, uploadsFolder))
	}
	err = errors.Join(err, g.file.Close())
	g.file = nil
	if err != nil {
		return fmt.Errorf("streams: upload: %w", noSpace(err))
	}
	g.sha.Sum(g.up.sha[:0])
	return nil
}

// discard deletes the file.
func (g *stager) discard() {
	if g.file != nil {
		g.file.Close()
	}
	g.s.o.FS.Remove(g.s.uploadFile(g.up.id))
}

// A staged upload has its file, and waits for a record that refers to it.
type staged struct {
	upload
	taken bool // by a batch, which then decides over the file
}

// stageLarge writes the large ones of the records to files of their own. What
// could not be written has an Err.
func (s *Store) stageLarge(recs []Record, res []Result) []*staged {
	ups := make([]*staged, len(recs))
	for i := range recs {
		res[i] = Result{}
		if !recs[i].large(s.o.LargeBytes) {
			continue
		}
		if _, known := s.known(&recs[i]); known {
			continue
		}
		if recs[i].Body != nil {
			ups[i], res[i].Err = recs[i].Body.seal()
		} else {
			ups[i], res[i].Err = s.stageOne(recs[i].Data)
		}
	}
	return ups
}

// large tells whether a record has a file of its own. One without bytes has
// none, for another may begin at the same offset.
func (r *Record) large(from int) bool {
	if r.Body != nil {
		return r.Body.Length() > 0
	}
	return len(r.Data) >= from
}

// known gives the answer for a record whose key is durable.
func (s *Store) known(r *Record) (Result, bool) {
	if r.Key == (Key{}) {
		return Result{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.keys.get(keyID{r.Stream.id, r.Key})
	if !ok || s.pending(p) {
		return Result{}, false
	}
	return Result{Generation: uint64(p.generation), Offset: p.offset, Duplicate: true}, true
}

func (s *Store) stageOne(data []byte) (*staged, error) {
	g, err := s.newStager()
	if err != nil {
		return nil, err
	}
	if _, err = g.Write(data); err == nil {
		err = g.seal()
	}
	if err != nil {
		g.discard()
		return nil, err
	}
	return &staged{upload: g.up}, nil
}

// dropUntaken deletes the files that no batch took: of duplicates and of
// records that were refused.
func (s *Store) dropUntaken(ups []*staged) {
	for _, u := range ups {
		if u != nil && !u.taken {
			s.o.FS.Remove(s.uploadFile(u.id))
		}
	}
}

// Upload keeps the whole of r as one record, in bounded memory: a large body
// goes to a chunk file of its own. Nothing is kept when it fails.
func (st *Stream) Upload(ctx context.Context, r io.Reader, o UploadOptions) (Upload, error) {
	s := st.store
	rec := Record{Stream: st, Key: o.Key, Expect: o.Expect, Conditional: o.Conditional, Within: o.Within, Reset: o.Reset}
	body := &body{ctx: ctx, r: r, announced: o.Length}
	if err := s.admit(&rec, o.Length); err != nil {
		return Upload{}, err
	}
	size := int64(min(uploadBuffer, s.o.LargeBytes))
	if o.Length >= 0 {
		size = min(size, o.Length+1)
	}
	head := make([]byte, size)
	n, ended, err := readFull(body, head)
	if err != nil {
		return Upload{}, fmt.Errorf("streams: upload to %q: %w", st.name, err)
	}
	if ended {
		rec.Data = head[:n]
		return st.finish(ctx, rec, nil, sha256.Sum256(rec.Data), int64(n))
	}
	return st.uploadLarge(ctx, head, body, rec)
}

// admit refuses early what will be refused anyway.
func (s *Store) admit(r *Record, length int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refusal(); err != nil {
		s.refused++
		return err
	}
	if free := s.free.Load(); length > free-s.o.MinFree {
		s.refused++
		return fmt.Errorf("%w: an upload of %d bytes, and %d are free", ErrNoSpace, length, free)
	}
	if r.Key != (Key{}) { // a repetition, perhaps, which only its bytes tell
		return nil
	}
	return s.expected(r)
}

// uploadLarge keeps a body that begins with head, whose memory it uses on.
func (st *Stream) uploadLarge(ctx context.Context, head []byte, r io.Reader, rec Record) (Upload, error) {
	g, err := st.store.newStager()
	if err != nil {
		return Upload{}, err
	}
	if _, err = g.Write(head); err == nil {
		err = g.receive(r, head)
	}
	if err == nil {
		err = g.seal()
	}
	if err != nil {
		g.discard()
		return Upload{}, fmt.Errorf("streams: upload to %q: %w", st.name, err)
	}
	return st.finish(ctx, rec, &staged{upload: g.up}, g.up.sha, g.up.length)
}

func (st *Stream) finish(ctx context.Context, rec Record, up *staged, sha [32]byte, n int64) (Upload, error) {
	if rec.Key != (Key{}) {
		rec.Key = uploadKey(rec.Key, sha)
	}
	res := make([]Result, 1)
	err := st.store.appendAll(ctx, []Record{rec}, res, []*staged{up})
	st.store.dropUntaken([]*staged{up})
	return Upload{Result: res[0], Length: n, SHA256: sha}, err
}

// uploadKey is the key that an upload is remembered by. It holds the bytes, so
// that a sender who gives a key to other bytes is not told that they were kept.
func uploadKey(k Key, sha [32]byte) Key { return KeyOf(k[:], sha[:]) }

// A body reads what a sender announced, no less and no more.
type body struct {
	ctx       context.Context
	r         io.Reader
	announced int64 // -1 is unknown
	n         int64
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	if b.announced >= 0 && (b.n > b.announced || err == io.EOF && b.n < b.announced) {
		return 0, fmt.Errorf("%w: %d bytes were announced, %d came", io.ErrUnexpectedEOF, b.announced, b.n)
	}
	return n, err
}
