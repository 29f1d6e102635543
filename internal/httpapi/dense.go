package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"weir/arrays"
	"weir/arrays/npy"
)

// denseFormats are the forms in which an array can be had as a whole.
var denseFormats = map[string]func(r *request, d *arrays.Dense) error{
	"":     (*request).sendDense,
	"raw":  (*request).sendDense,
	"npy":  (*request).sendNPY,
	"npz":  (*request).sendNPZ,
	"blob": (*request).sendBlob,
	"json": (*request).describeDense,
}

// readDense answers with an array of numpy's: GROUP is the group as a whole,
// GROUP/ARRAY one array of it.
func (r *request) readDense(path string) error {
	format := r.target.value("format")
	send, ok := denseFormats[format]
	if !ok {
		return refuse(400, "bad-format", "there is no format %q; write raw, npy, npz, blob or json", format)
	}
	fields, slices, err := r.target.selection()
	if err != nil {
		return err
	}
	d, err := r.s.Arrays.Dense(path, "", fields, slices)
	if group, array, ok := cutLast(path, '/'); ok && array != "" && errors.Is(err, arrays.ErrNotFound) {
		d, err = r.s.Arrays.Dense(group, array, fields, slices)
	}
	if errors.Is(err, arrays.ErrNotFound) {
		return refuse(404, "not-found", "no group, array or key is at %s; /arrays/ lists the groups", r.target.path)
	}
	if err != nil {
		return err
	}
	return send(r, d)
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// selection reads what Wendelin's clients send: a slice for each dimension as
// slice_index.start:records:int=A&slice_index.stop:records:int=B with a step
// if they like, and list_index:list=FIELD for each field. A part that a slice
// already has begins the next one, as in Zope.
func (t target) selection() (fields []string, slices []arrays.Range, err error) {
	for name, text := range t.fields {
		name, _, _ = strings.Cut(name, ":")
		if name == "list_index" {
			fields = append(fields, text)
			continue
		}
		at, ok := strings.CutPrefix(name, "slice_index.")
		if !ok {
			continue
		}
		n, bad := strconv.ParseInt(text, 10, 64)
		if bad != nil {
			return nil, nil, refuse(400, "bad-query", "%s=%.60s is no whole number", name, text)
		}
		if partOf(new(arrays.Range), at) == nil {
			return nil, nil, refuse(400, "bad-query", "a slice has start, stop and step, and no %.60q", at)
		}
		if len(slices) == 0 || *partOf(&slices[len(slices)-1], at) != nil {
			slices = append(slices, arrays.Range{})
		}
		*partOf(&slices[len(slices)-1], at) = &n
	}
	return fields, slices, nil
}

// partOf gives the part of a slice by its name, nil for an unknown one.
func partOf(r *arrays.Range, name string) **int64 {
	switch name {
	case "start":
		return &r.Start
	case "stop":
		return &r.Stop
	case "step":
		return &r.Step
	}
	return nil
}

// sendDense answers with the bytes of an array, C order, little endian.
func (r *request) sendDense(d *arrays.Dense) error {
	return r.sendBehind(d, nil, "")
}

// sendNPY answers with a .npy file.
func (r *request) sendNPY(d *arrays.Dense) error {
	return r.sendBehind(d, d.Header.Bytes(), ".npy")
}

// blobMost bounds a blob, in bytes: its sum comes first, so that the array is
// read twice, and its readers take it into memory as a whole.
const blobMost = 1 << 30

// sendBlob answers with Wendelin's blob.
func (r *request) sendBlob(d *arrays.Dense) error {
	if d.Size > blobMost {
		return refuse(400, "too-large", "the array has %d bytes and a blob at most %d; take format=npy, or a slice", d.Size, int64(blobMost))
	}
	file := d.Header.Bytes()
	give, err := r.holdDense(d)
	if err != nil {
		return err
	}
	sum := crc32.NewIEEE()
	_, _ = sum.Write(file) // a hash takes everything
	_, err = io.Copy(sum, d.Reader(0, d.Size))
	if err = errors.Join(err, give()); err != nil {
		return err
	}
	return r.sendBehind(d, append(npy.Blob(sum.Sum32()), file...), ".wen")
}

// holdDense takes the memory that a reader of the array needs.
func (r *request) holdDense(d *arrays.Dense) (give func() error, err error) {
	answers := r.s.answers
	n := min(d.Memory(), answers.size)
	if err := answers.take(r.s.ctx, n, r.s.BodyWait); err != nil {
		return nil, busy("arrays")
	}
	return func() error { answers.give(n); return nil }, nil
}

// sendBehind answers with a head and the bytes of an array; of both, any
// ranges.
func (r *request) sendBehind(d *arrays.Dense, head []byte, suffix string) error {
	give, err := r.holdDense(d)
	if err != nil {
		return err
	}
	if suffix != "" {
		r.attach(d.Name + suffix)
	}
	front := int64(len(head))
	return r.send(resource{
		size: front + d.Size, etag: d.ETag[:len(d.ETag)-1] + suffix + `"`, modified: d.Modified,
		kind: "application/octet-stream", close: give,
		open: func(sp span) (io.ReadCloser, error) {
			parts := io.MultiReader(bytes.NewReader(head[min(sp.start, front):min(sp.end, front)]),
				d.Reader(max(sp.start-front, 0), max(sp.end-front, 0)))
			return io.NopCloser(parts), nil
		},
	})
}

// attach tells a browser under which name to keep the answer.
func (r *request) attach(name string) {
	safe := strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f || strings.ContainsRune(`"\/`, c) {
			return '_'
		}
		return c
	}, name)
	r.ctx.Response.Header.Set(fasthttp.HeaderContentDisposition, `attachment; filename="`+safe+`"`)
}

// sendNPZ answers with an archive of all arrays, whose length is not told.
func (r *request) sendNPZ(d *arrays.Dense) error {
	r.attach(d.Name + ".npz")
	r.ctx.SetContentType("application/zip")
	if r.ctx.IsHead() {
		r.ctx.Response.SkipBody = true
		return nil
	}
	give, err := r.holdDense(d)
	if err != nil {
		return err
	}
	from, to := io.Pipe()
	go func() { to.CloseWithError(writeNPZ(to, d)) }() // ends with the answer, which closes from
	r.ctx.SetBodyStream(&whole{ReadCloser: from, res: resource{close: give}}, -1)
	return nil
}

func writeNPZ(to io.Writer, d *arrays.Dense) error {
	z := npy.NewZip(to)
	for _, c := range d.Columns() {
		if err := z.Add(npy.Member{Name: c.Name, Header: c.Header, Data: c.Reader(0, c.Size)}, c.Modified); err != nil {
			return err
		}
	}
	return z.Close()
}

// describeDense tells shape and type in the words of Wendelin's clients.
func (r *request) describeDense(d *arrays.Dense) error {
	answer := struct {
		Shape     []int64 `json:"array_shape"`
		Type      string  `json:"array_dtype"`
		Size      int64   `json:"size"` // in bytes
		Start     string  `json:"start_date,omitempty"`
		Stop      string  `json:"stop_date,omitempty"`
		Variation string  `json:"related_variation,omitempty"` // seconds between the first two rows: "60 S"
	}{Shape: d.Shape, Type: d.Type, Size: d.Size}
	const date = "2006-01-02T15:04:05.999999999Z07:00"
	if first, last, step, ok := d.Times(); ok {
		answer.Start, answer.Stop = first.Format(date), last.Format(date)
		if step > 0 {
			answer.Variation = fmt.Sprintf("%g S", step.Seconds())
		}
	}
	r.ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-cache")
	return r.json(answer)
}
