package httpapi

import (
	"errors"
	"io"
	"strings"

	"weir/arrays"
)

// A zarrKey is a key of a group's hierarchy, as an address below /arrays/
// means it.
type zarrKey struct{ group, key string }

// splitZarr gives what an address may mean, the longest name of a group
// first; the group without a name is the root. The end of the address tells: "zarr.json" belongs to a group or to an
// array in it, and a chunk is ARRAY/c and indices.
func splitZarr(path string) []zarrKey {
	segments := strings.Split(path, "/")
	last := len(segments) - 1
	var keys []zarrKey
	cut := func(at int) {
		if at >= 0 {
			keys = append(keys, zarrKey{strings.Join(segments[:at], "/"), strings.Join(segments[at:], "/")})
		}
	}
	at := last
	for at >= 0 && isIndex(segments[at]) {
		at--
	}
	if at > 0 && at < last && segments[at] == "c" {
		cut(at - 1)
	}
	cut(last)
	cut(last - 1)
	return keys
}

func isIndex(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// readArray answers with a key of a Zarr hierarchy.
func (r *request) readArray() error {
	escaped, _ := r.target.under("/arrays")
	path, err := unescape(escaped)
	if err != nil {
		return refuse(400, "bad-encoding", "the address %q is badly percent-encoded", escaped)
	}
	for _, k := range splitZarr(path) {
		object, err := r.s.Arrays.Object(k.group, k.key)
		if errors.Is(err, arrays.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		return r.sendObject(object)
	}
	return r.readDense(path)
}

// sendObject answers with an object, and closes it.
func (r *request) sendObject(o arrays.Object) error {
	return r.send(resource{
		size: o.Size, etag: o.ETag, modified: o.Modified, kind: o.Type, close: o.Body.Close,
		open: func(sp span) (io.ReadCloser, error) {
			if _, err := o.Body.Seek(sp.start, io.SeekStart); err != nil {
				return nil, err
			}
			return &section{src: o.Body, left: sp.end - sp.start}, nil
		},
	})
}

// A section reads some bytes of an open object.
type section struct {
	src  io.Reader
	left int64
}

func (s *section) Read(b []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.src.Read(b[:min(int64(len(b)), s.left)])
	s.left -= int64(n)
	return n, err
}

// WriteTo lets the kernel copy where the object is a file.
func (s *section) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, &io.LimitedReader{R: s.src, N: s.left})
	s.left -= n
	return n, err
}

// Close leaves the object to its owner.
func (s *section) Close() error { return nil }

// listArrays lists groups: ?prefix=, ?after= and ?limit=.
func (r *request) listArrays() error {
	limit, err := r.limit()
	if err != nil {
		return err
	}
	names := r.s.Arrays.Names(r.target.value("prefix"), r.target.value("after"), limit)
	answer := struct {
		Arrays []arrays.Info `json:"arrays"`
		Next   string        `json:"next,omitempty"`
	}{Arrays: r.s.arrayInfos(names)}
	if len(names) == limit {
		answer.Next = names[limit-1]
	}
	return r.json(answer)
}

// arrayInfos describes groups; one that went meanwhile is left out.
func (s *Server) arrayInfos(names []string) []arrays.Info {
	list := make([]arrays.Info, 0, len(names))
	for _, name := range names {
		if info, err := s.Arrays.Info(name); err == nil {
			list = append(list, info)
		}
	}
	return list
}
