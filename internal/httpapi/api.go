package httpapi

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"

	"weir/arrays"
)

// viewDeployments is the view that tells the policies' instances.
const viewDeployments = "deployments"

// isDeployments tells whether the address, however it is encoded, means them.
func (t target) isDeployments() bool {
	escaped, ok := t.under("/api")
	path, err := unescape(escaped)
	return ok && err == nil && path == viewDeployments
}

// deployments tells how far the policies' instances are.
func (r *request) deployments() error {
	return r.json(struct {
		Deployments any `json:"deployments"`
	}{r.s.deployments()})
}

func (s *Server) deployments() any {
	if s.Deployments == nil {
		return []any{}
	}
	return s.Deployments()
}

// apiViews are what is at one address below /api.
var apiViews = map[string]func(*request) error{
	"status":        (*request).status,
	"route":         (*request).explainRoute,
	viewDeployments: (*request).deployments,
}

// api answers below /api: state, routing, jobs, arrays in forms that a page draws.
func (r *request) api() error {
	escaped, _ := r.target.under("/api")
	path, err := unescape(escaped)
	if err != nil {
		return refuse(400, "bad-encoding", "the address %q is badly percent-encoded", escaped)
	}
	if serve, ok := apiViews[path]; ok {
		return serve(r)
	}
	if name, ok := strings.CutPrefix(path, "arrays/"); ok && name != "" {
		return r.arrayAPI(name)
	}
	return r.notFound()
}

// arrayAPI answers /api/arrays/NAME, …/NAME/ARRAY/plot and …/NAME/ARRAY/slice.
func (r *request) arrayAPI(path string) error {
	for _, view := range []struct {
		suffix string
		serve  func(r *request, group, array string) error
	}{{"/plot", (*request).plot}, {"/slice", (*request).slice}} {
		whole, ok := strings.CutSuffix(path, view.suffix)
		at := strings.LastIndexByte(whole, '/')
		if ok && at > 0 {
			return view.serve(r, whole[:at], whole[at+1:])
		}
	}
	info, err := r.s.Arrays.Info(path)
	if err != nil {
		return err
	}
	return r.json(info)
}

// Bounds of a plot and of a slice.
const (
	plotDefault = 1000
	plotMost    = 10000
	sliceBytes  = 4 << 20
)

// plot answers with a curve of one column: ?column=, ?start=, ?stop=, ?points=.
func (r *request) plot(group, array string) error {
	var err error
	column := r.number("column", 0, &err)
	start := r.number("start", 0, &err)
	stop := r.number("stop", math.MaxInt64, &err)
	points := r.number("points", plotDefault, &err)
	if err != nil {
		return err
	}
	if points < 1 || points > plotMost {
		return refuse(400, "bad-query", "points=%d is not between 1 and %d", points, plotMost)
	}
	p, err := r.s.Arrays.Plot(group, array, int(column), start, stop, int(points))
	if err != nil {
		return err
	}
	return r.json(struct {
		Info  arrays.ArrayInfo `json:"info"`
		Index []int64          `json:"index"`
		X     []float64        `json:"x,omitempty"`
		Min   numbers          `json:"min"`
		Max   numbers          `json:"max"`
	}{p.Info, p.Index, p.X, p.Min, p.Max})
}

// slice answers with rows of an array as they are in memory: C order, little
// endian. The headers say their type and shape.
func (r *request) slice(group, array string) error {
	var err error
	start := r.number("start", 0, &err)
	stop := r.number("stop", math.MaxInt64, &err)
	if err != nil {
		return err
	}
	answers := r.s.answers
	if err := answers.take(r.s.ctx, sliceBytes, r.s.BodyWait); err != nil {
		return busy("slices")
	}
	give := func() error { answers.give(sliceBytes); return nil } // after the request's end
	s, err := r.s.Arrays.Slice(group, array, start, stop, sliceBytes)
	if err != nil {
		return errors.Join(err, give())
	}
	shape := []string{strconv.FormatInt(s.Rows, 10)}
	for _, n := range s.Info.Shape[min(1, len(s.Info.Shape)):] {
		shape = append(shape, strconv.FormatInt(n, 10))
	}
	h := &r.ctx.Response.Header
	h.Set("Weir-Data-Type", s.Info.DataType)
	h.Set("Weir-Shape", strings.Join(shape, ","))
	h.Set("Weir-Start", strconv.FormatInt(s.Start, 10))
	r.ctx.SetContentType("application/octet-stream")
	body := io.NopCloser(bytes.NewReader(s.Data))
	r.ctx.SetBodyStream(&whole{ReadCloser: body, res: resource{close: give}}, len(s.Data))
	return nil
}

// number reads a field of the query; the first mistake goes to err.
func (r *request) number(name string, missing int64, err *error) int64 {
	text := r.target.value(name)
	if text == "" {
		return missing
	}
	n, bad := strconv.ParseInt(text, 10, 64)
	if bad != nil && *err == nil {
		*err = refuse(400, "bad-query", "%s=%s is no whole number", name, text)
	}
	return n
}

// numbers are JSON numbers; what is no number is null.
type numbers []float64

// MarshalJSON writes the numbers.
func (n numbers) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, 2+16*len(n))
	b = append(b, '[')
	for i, v := range n {
		if i > 0 {
			b = append(b, ',')
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendFloat(b, v, 'g', -1, 64)
		}
	}
	return append(b, ']'), nil
}
