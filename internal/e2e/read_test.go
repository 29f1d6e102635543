package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A group is what a reader must find in a Zarr group.
type group struct {
	Name       string           `json:"name"`
	Arrays     map[string]array `json:"arrays"`
	Attributes map[string]any   `json:"attributes,omitempty"`
	Times      []int64          `json:"-"` // of the coordinate time, in ns since 1970
	Time       string           `json:"time,omitempty"`
}

// An array is what a reader must find in an array.
type array struct {
	Values     any            `json:"-"` // a slice of a fixed-size type, C order
	File       string         `json:"file"`
	Dtype      string         `json:"dtype"`
	Shape      []int          `json:"shape"`
	Mean       *float64       `json:"mean,omitempty"`
	Attributes map[string]any `json:"attributes,omitempty"`
}

// checkArrays has stock readers open the groups by URL and compare every value.
func checkArrays(t *testing.T, w *weir, groups ...group) {
	t.Helper()
	python := registryPeer(t, "WEIR_PYTHON", "Python with zarr and xarray")
	dir := t.TempDir()
	n := 0
	store := func(values any) string {
		var b bytes.Buffer
		if err := binary.Write(&b, binary.LittleEndian, values); err != nil {
			t.Fatal(err)
		}
		n++
		file := filepath.Join(dir, fmt.Sprintf("%d.bin", n))
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for i, g := range groups {
		for name, a := range g.Arrays {
			a.File = store(a.Values)
			g.Arrays[name] = a
		}
		if g.Times != nil {
			groups[i].Time = store(g.Times)
		}
	}
	manifest := filepath.Join(dir, "manifest.json")
	writeJSON(t, manifest, map[string]any{"base": w.url(""), "groups": groups})
	if out, err := exec.Command(python, "testdata/read.py", "compare", manifest).CombinedOutput(); err != nil {
		t.Errorf("readers: %v\n%s", err, out)
	}
}

func writeJSON(t *testing.T, file string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestMetrics: records of numbers become one array a field with a time
// coordinate.
func TestMetrics(t *testing.T) {
	t.Parallel()
	w := start(t, acceptance()...)
	const n = 5000
	load, used, text := make([]float64, n), make([]float64, n), make([]float64, n)
	times := make([]int64, n)
	c := mustDial(t, w.Forward)
	var list []entry
	for i := range n {
		load[i], used[i], text[i] = float64(i)/7, float64(i*1000), float64(i)+0.25
		sec, nsec := uint32(1_700_000_000+i/10), uint32(i%10*100_000_000+123_456_789%100_000_000)
		times[i] = int64(sec)*1e9 + int64(nsec)
		list = append(list, entry{sec, nsec, map[string]any{
			"load": load[i], "used": i * 1000, "text": fmt.Sprintf("%g", text[i]),
		}})
		if len(list) == 100 {
			chunk := fmt.Sprintf("metrics-%d", i)
			c.send(t, packed("metrics.table", encode(list...), chunk), chunk)
			list = nil
		}
	}
	w.awaitRows("metrics.table", "load", n)
	column := func(v []float64) array { return array{Dtype: "float64", Shape: []int{n}, Values: v} }
	checkArrays(t, w, group{Name: "metrics.table", Times: times, Arrays: map[string]array{
		"load": column(load), "used": column(used), "text": column(text),
	}})
}

// TestWavs uploads sound files of many formats and sends them in pieces as
// fluentd's bin input would; each becomes an array of its samples.
func TestWavs(t *testing.T) {
	t.Parallel()
	w := start(t, acceptance()...)
	var groups []group
	for i, s := range sounds() {
		file, samples := s.file(uint64(i))
		shape := []int{s.frames, s.channels}
		for _, way := range []string{"put", "forward"} {
			name := "wavs." + way + "." + s.name
			if way == "put" {
				w.put(name, file)
			} else {
				sendPieces(t, w, name, file, 8192)
			}
			if got := w.stream(name); !bytes.Equal(got, file) {
				t.Errorf("%s: the stream has %d bytes, the file %d", name, len(got), len(file))
			}
			w.awaitRows(name, "pcm", s.frames)
			groups = append(groups, group{Name: name, Arrays: map[string]array{
				"pcm": {Dtype: s.dtype, Shape: shape, Values: samples},
			}})
		}
	}
	checkArrays(t, w, groups...)
	for _, g := range groups {
		if a := w.do("GET", "/arrays/"+g.Name+"/zarr.json", nil); !strings.Contains(string(a.Body), "48000") {
			t.Errorf("%s: nothing in its metadata says the sample rate: %s", g.Name, a.Body)
		}
	}
}

// sendPieces sends a file as fluentd's bin input does: a record for each read.
func sendPieces(t *testing.T, w *weir, tag string, file []byte, size int) {
	t.Helper()
	c := mustDial(t, w.Forward)
	for i, at := 0, 0; at < len(file); i++ {
		n := min(size, len(file)-at)
		chunk := fmt.Sprintf("%s-%d", tag, i)
		record := entry{1_700_000_000, uint32(i), map[string]any{"message": file[at : at+n]}}
		c.send(t, packed(tag, encode(record), chunk), chunk)
		at += n
	}
}

// TestGrowing has readers open groups again and again while they grow: they
// see rows that were sent, in order, and none that was not.
func TestGrowing(t *testing.T) {
	t.Parallel()
	python := registryPeer(t, "WEIR_PYTHON", "Python with zarr and xarray")
	w := start(t, acceptance()...)
	dir := t.TempDir()
	const epoch = 1_700_000_000
	writers := []growing{
		{tag: "numbers.grow", arrays: map[string]string{"value": "half"}, step: numbersStep},
		{tag: "metrics.grow", arrays: map[string]string{"a": "half", "b": "minus"}, step: metricsStep},
		{tag: "wavs.grow", arrays: map[string]string{"pcm": "pcm2"}, step: soundStep},
	}
	stop, opened := filepath.Join(dir, "stop"), filepath.Join(dir, "opened")
	var groups []map[string]any
	for i := range writers {
		g := &writers[i]
		g.sent = filepath.Join(dir, g.tag)
		g.note(t, 0)
		groups = append(groups, map[string]any{"name": g.tag, "arrays": g.arrays, "sent": g.sent})
	}
	manifest := filepath.Join(dir, "manifest.json")
	writeJSON(t, manifest, map[string]any{"base": w.url(""), "groups": groups, "stop": stop, "opened": opened,
		"epoch": int64(epoch) * 1e9, "deadline": time.Now().Add(4 * patience).Unix()})
	reader := exec.Command(python, "testdata/read.py", "grow", manifest)
	var out bytes.Buffer
	reader.Stdout, reader.Stderr = &out, &out
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	const opens = 40
	for began := time.Now(); readNumber(opened) < opens && time.Since(began) < 2*patience; time.Sleep(3 * time.Millisecond) {
		for i := range writers {
			writers[i].send(t, w, epoch)
		}
	}
	if err := os.WriteFile(stop, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if n := readNumber(opened); n < opens {
		t.Errorf("the reader opened groups %d times within %v, want %d", n, 2*patience, opens)
	}
	if err := reader.Wait(); err != nil {
		t.Errorf("reader: %v\n%s", err, out.Bytes())
	}
	t.Log(out.String())
}

// readNumber gives the number in a file, 0 when there is none yet.
func readNumber(file string) int {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(string(b))
	return n
}

// A growing is a writer of one tag.
type growing struct {
	tag    string
	arrays map[string]string // array: the formula of its values
	sent   string            // file with the number of rows sent
	rows   int
	chunk  int
	wire   *wire
	// step gives the next piece of bytes and how many rows are whole with it.
	step func(rows, chunk, epoch int) (entries []byte, next int)
}

// note says how many rows are about to be sent; readers must not see more.
func (g *growing) note(t *testing.T, rows int) {
	t.Helper()
	if err := os.WriteFile(g.sent+".new", fmt.Append(nil, rows), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(g.sent+".new", g.sent); err != nil {
		t.Fatal(err)
	}
}

func (g *growing) send(t *testing.T, w *weir, epoch int) {
	t.Helper()
	if g.wire == nil {
		g.wire = mustDial(t, w.Forward)
	}
	entries, next := g.step(g.rows, g.chunk, epoch)
	g.note(t, next)
	chunk := fmt.Sprintf("%s-%d", g.tag, g.chunk)
	g.wire.send(t, packed(g.tag, entries, chunk), chunk)
	g.rows, g.chunk = next, g.chunk+1
}

func numbersStep(rows, chunk, epoch int) ([]byte, int) {
	next := rows + 1 + chunk*37%3000
	var b strings.Builder
	for i := rows; i < next; i++ {
		fmt.Fprintf(&b, "%g\n", float64(i)/2)
	}
	return encode(entry{uint32(epoch), 0, b.String()}), next
}

func metricsStep(rows, chunk, epoch int) ([]byte, int) {
	next := rows + 1 + chunk*11%90
	var b []byte
	for i := rows; i < next; i++ {
		e := entry{uint32(epoch + i/1000), uint32(i % 1000 * 1_000_000), map[string]any{"a": float64(i) / 2, "b": -i}}
		b = e.encode(b)
	}
	return b, next
}

func soundStep(rows, chunk, epoch int) ([]byte, int) {
	next := rows + 1 + chunk*53%9000
	var b []byte
	if rows == 0 {
		b = sound{channels: 2, bits: 16, streaming: true}.header(0)
	}
	for i := 2 * rows; i < 2*next; i++ {
		b = binary.LittleEndian.AppendUint16(b, uint16(i%65536-32768))
	}
	return encode(entry{uint32(epoch), 0, map[string]any{"message": b}}), next
}

// TestReplacedArrays: when a stream is replaced its group becomes that of the
// new bytes, whatever the old ones were, also when that happens again and
// again and the process is killed meanwhile.
func TestReplacedArrays(t *testing.T) {
	t.Parallel()
	w := start(t, acceptance()...)
	first := sound{name: "first", frames: 200_000, channels: 5, bits: 24, dtype: "int32"}
	last := sound{name: "last", frames: 1234, channels: 2, bits: 16, dtype: "int16"}
	file, _ := first.file(1)
	w.put("wavs.replaced", file)
	for i := range 6 {
		w.put("wavs.replaced", file)
		w.put("numbers.replaced", []byte(strings.Repeat("7\n", 1000*(6-i))))
		if i == 3 {
			w.kill()
			w.up()
		}
	}
	file, samples := last.file(2)
	w.put("wavs.replaced", file)
	w.put("numbers.replaced", []byte("1\n2\n3\n"))
	w.await("the groups are those of the last uploads", func() bool {
		return w.rows("wavs.replaced", "pcm") == last.frames && w.rows("numbers.replaced", "value") == 3
	})
	checkArrays(t, w,
		group{Name: "wavs.replaced", Arrays: map[string]array{
			"pcm": {Dtype: last.dtype, Shape: []int{last.frames, last.channels}, Values: samples},
		}},
		group{Name: "numbers.replaced", Arrays: map[string]array{
			"value": {Dtype: "float64", Shape: []int{3}, Values: []float64{1, 2, 3}},
		}})
}
