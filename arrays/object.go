package arrays

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"weir/internal/vfs"
)

// An Object is a key of a group's Zarr hierarchy. The caller closes Body.
type Object struct {
	Body     io.ReadSeekCloser // an *os.File where the object is a whole file
	Size     int64
	ETag     string // strong, with its quotes; changes whenever the bytes may
	Modified time.Time
	Final    bool   // never changes again in this generation of the group
	Type     string // media type
}

// Object gives the bytes of a key such as "zarr.json", "pcm/zarr.json" or
// "pcm/c/0/0"; ErrNotFound for a key that the published state does not have.
// The group of the name "" is the root, which has only a "zarr.json".
//
// The chunk that still fills is given as a copy of its published rows, so that
// its bytes and its ETag belong together.
func (s *Store) Object(name, key string) (o Object, err error) {
	if name == "" && key == "zarr.json" {
		return jsonObject([]byte(rootJSON), time.Time{}), nil
	}
	err = s.read(name, func(v *view) error {
		if o.Body != nil { // of a group that was replaced meanwhile
			o.Body.Close()
		}
		o, err = s.object(v, key)
		return err
	})
	return o, err
}

func (s *Store) object(v *view, key string) (Object, error) {
	if key == "zarr.json" {
		return jsonObject(v.json, v.Modified), nil
	}
	array, rest, _ := strings.Cut(key, "/")
	c, err := v.array(array)
	if err != nil {
		return Object{}, err
	}
	if rest == "zarr.json" {
		return jsonObject(c.doc(v.Rows), v.Modified), nil
	}
	index, ok := v.chunkIndex(c, rest)
	if !ok {
		return Object{}, fmt.Errorf("%w: key %q of group %q", ErrNotFound, key, v.Stream)
	}
	return s.chunkObject(v, c, index)
}

func jsonObject(b []byte, modified time.Time) Object {
	sum := sha256.Sum256(b)
	return Object{
		Body: body{bytes.NewReader(b)}, Size: int64(len(b)), Modified: modified,
		ETag: `"` + hex.EncodeToString(sum[:12]) + `"`, Type: "application/json",
	}
}

// body is an Object's Body in memory.
type body struct{ *bytes.Reader }

func (body) Close() error { return nil }

// chunkIndex reads the key of a chunk that the view has, such as "c/3/0".
func (v *view) chunkIndex(c columnView, key string) (int64, bool) {
	digits, ok := strings.CutPrefix(key, "c/")
	if len(c.dims) > 1 {
		var two bool
		digits, two = strings.CutSuffix(digits, "/0")
		ok = ok && two
	}
	index, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || index < 0 || strconv.FormatInt(index, 10) != digits || v.Chunk == 0 {
		return 0, false
	}
	chunk := int64(v.Chunk)
	return index, index*chunk < v.Rows && min((index+1)*chunk, v.Rows) > c.from
}

// chunkObject gives a chunk: the file of a full one, else a copy.
func (s *Store) chunkObject(v *view, c columnView, index int64) (Object, error) {
	rows := min(v.Rows-index*int64(v.Chunk), int64(v.Chunk))
	o := Object{
		ETag:     fmt.Sprintf(`"%x-%d"`, v.Build, rows),
		Modified: v.Modified, Type: "application/octet-stream",
	}
	path := chunkPath(v.dir, c.name, len(c.dims), index)
	if rows == int64(v.Chunk) {
		f, err := s.fs.Open(path)
		if err != nil {
			return Object{}, gone(err, v, c, index)
		}
		o.Final = true
		o.Size, err = f.Size()
		if err != nil {
			return Object{}, errors.Join(err, f.Close())
		}
		o.Body = fileBody(f, o.Size)
		return o, nil
	}
	data, err := s.chunkRowsOf(v, c, index)
	if err != nil {
		return Object{}, err
	}
	z := compressors.Get().(*compressor)
	defer compressors.Put(z)
	z.plain = grow(z.plain, v.Chunk*c.rowBytes())
	clear(z.plain[copy(z.plain, data):])
	frame := bytes.Clone(z.compress(z.plain, c.dtype.size))
	o.Size, o.Body = int64(len(frame)), body{bytes.NewReader(frame)}
	return o, nil
}

// gone explains a missing file.
func gone(err error, v *view, c columnView, index int64) error {
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return fmt.Errorf("arrays: chunk %d of %s in %s: %w", index, c.name, v.Stream, err)
}

// fileBody gives the host's file where there is one.
func fileBody(f vfs.File, size int64) io.ReadSeekCloser {
	if o, ok := vfs.OSFile(f); ok {
		return o
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{io.NewSectionReader(f, 0, size), f}
}
