package arrays

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// python finds an interpreter that has zarr and xarray: WEIR_PYTHON, or python3.
func python(t *testing.T) string {
	t.Helper()
	py := os.Getenv("WEIR_PYTHON")
	if py == "" {
		py = "python3"
	}
	if out, err := exec.Command(py, "-c", "import zarr, xarray, numpy").CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s: %v\n%s", py, err, out)
		}
		t.Skipf("%s has no zarr and xarray (%v); set WEIR_PYTHON to one that has", py, err)
	}
	return py
}

// pythonStreams makes what testdata/read.py expects, in growing pieces.
type pythonStreams struct {
	numbers, wav, metrics *fakeStream
	n                     int
}

func newPythonStreams() *pythonStreams {
	p := &pythonStreams{
		numbers: &fakeStream{name: "numbers"}, wav: &fakeStream{name: "wav"}, metrics: &fakeStream{name: "metrics"},
	}
	p.wav.append(testWAV{channels: 2, bits: 16, rate: 8000, riff: unknownSize, size: unknownSize}.bytes())
	return p
}

// grow adds k rows to each stream.
func (p *pythonStreams) grow(k int) {
	var text, pcm, entries []byte
	for i := p.n; i < p.n+k; i++ {
		text = append(strconv.AppendFloat(text, float64(i)/8, 'g', -1, 64), '\n')
		pcm = binary.LittleEndian.AppendUint16(pcm, uint16(int16(i%30000)))
		pcm = binary.LittleEndian.AppendUint16(pcm, uint16(int16(-(i % 30000))))
		m := map[string]any{"cpu": float64(i) / 4, "word": fmt.Sprintf("w%d", i%3)}
		if i >= 20000 {
			m["late"] = i
		}
		entries = append(entries, entry(1700000000+i, m)...)
	}
	p.n += k
	p.numbers.append(text)
	p.wav.append(pcm)
	p.metrics.append(entries)
}

func (p *pythonStreams) advance(t *testing.T, s *Store) {
	t.Helper()
	advance(t, s, p.numbers, Spec{Kind: kindNumbers})
	advance(t, s, p.wav, Spec{Kind: kindWAV})
	advance(t, s, p.metrics, Spec{Kind: kindMetrics})
}

// readPython runs testdata/read.py and gives the rows that it saw.
func readPython(py string, args ...string) (opens int, rows []int, err error) {
	cmd := exec.Command(py, append([]string{filepath.Join("testdata", "read.py")}, args...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return 0, nil, fmt.Errorf("read.py: %w\n%s", err, errs.Bytes())
	}
	var answer struct {
		Opens int
		Rows  []int
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return 0, nil, fmt.Errorf("read.py said %q: %w", out, err)
	}
	return answer.Opens, answer.Rows, nil
}

// TestPythonReads opens groups with stock zarr and xarray and compares every
// value, with chunks that are full and ones that are not.
func TestPythonReads(t *testing.T) {
	t.Parallel()
	py := python(t)
	dir := t.TempDir()
	s := open(t, dir, Options{ChunkBytes: 64 << 10})
	p := newPythonStreams()
	for _, k := range []int{1, 8191, 1, 20000} {
		p.grow(k)
		p.advance(t, s)
	}
	if _, rows, err := readPython(py, dir, "once"); err != nil || fmt.Sprint(rows) != "[28193 28193 28193]" {
		t.Errorf("python sees %v rows: %v", rows, err)
	}
}

// TestPythonReadsWhileGrowing opens groups again and again while they grow: no
// reader may see a row that was not written.
func TestPythonReadsWhileGrowing(t *testing.T) {
	t.Parallel()
	py := python(t)
	dir := t.TempDir()
	s := open(t, dir, Options{ChunkBytes: 64 << 10})
	p := newPythonStreams()
	p.grow(1)
	p.advance(t, s)
	stop := filepath.Join(t.TempDir(), "stop")
	type result struct {
		opens int
		rows  []int
		err   error
	}
	read := make(chan result, 1)
	go func() {
		opens, rows, err := readPython(py, dir, "grow", stop)
		read <- result{opens, rows, err}
	}()
	for i := 0; i < 400 && !t.Failed(); i++ {
		p.grow(100 + i%7)
		p.advance(t, s)
	}
	if err := os.WriteFile(stop, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := <-read
	want := fmt.Sprint([]int{p.n, p.n, p.n})
	if r.err != nil || fmt.Sprint(r.rows) != want {
		t.Errorf("python saw %v rows at the end, want %s: %v", r.rows, want, r.err)
	}
	t.Logf("%d opens of three groups while they grew", r.opens)
}
