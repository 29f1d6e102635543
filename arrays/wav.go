package arrays

import (
	"encoding/binary"
	"fmt"
)

// The phases of a walk through a wav file.
const (
	wavFile = ""      // a RIFF header comes
	wavHead = "chunk" // the header of a chunk comes
	wavData = "data"  // frames come
	wavSkip = "skip"  // the body of a chunk that is of no use comes
	wavLost = "lost"  // nothing is of use up to the next file
)

// wav decodes wav files back to back: RIFF, RF64 or BW64, integer and float
// PCM, sizes that are unknown because the file was made by a stream. All
// frames go to one array of shape (frame, channel).
//
// Sizes in headers are believed no further than the bytes: where the
// beginning of a file stands in the middle of samples, a new file begins.
type wav struct{ st wavState }

type wavState struct {
	Array *wavFormat `json:"array,omitempty"` // what the array was made for

	Phase  string     `json:"phase"`
	Start  int64      `json:"start"`            // of the file
	Riff   int64      `json:"riff,omitempty"`   // end of the file by its header; 0 unknown
	Long   int64      `json:"long,omitempty"`   // size of its data by ds64
	Format *wavFormat `json:"format,omitempty"` // of the file
	Left   int64      `json:"left,omitempty"`   // bytes to come in this phase; -1 unknown
	Odd    bool       `json:"odd,omitempty"`    // a byte of padding may come before the next chunk
}

func (d *wav) state() any          { return &d.st }
func (d *wav) begin(*table)        {}
func (d *wav) resume(*table) error { return nil }

func (d *wav) lost() {
	d.st.Phase, d.st.Left, d.st.Odd = wavLost, -1, false
}

func (d *wav) decode(p []byte, off int64, t *table) int {
	done := 0
	for done < len(p) && !t.full() {
		n := d.step(p[done:], off+int64(done), t)
		if n == 0 {
			break
		}
		done += n
	}
	t.refused.pass(off + int64(done))
	return done
}

// step does one thing at the front of p and says how much of p that took;
// 0 asks for more bytes.
func (d *wav) step(p []byte, off int64, t *table) int {
	switch d.st.Phase {
	case wavHead:
		return d.head(p, off, t)
	case wavData:
		return d.samples(p, off, t)
	case wavSkip, wavLost:
		return d.skip(p, off, t)
	}
	return d.file(p, off, t)
}

// file reads the 12 bytes that begin a file.
func (d *wav) file(p []byte, off int64, t *table) int {
	if len(p) < signature {
		return 0
	}
	d.st = wavState{Array: d.st.Array, Start: off, Phase: wavHead}
	if !isFile(p) {
		d.refuse(t, 0, "not-wav", fmt.Sprintf("%.12q begins no RIFF, RF64 or BW64 file of type WAVE", p[:12]))
		return 1
	}
	if size := binary.LittleEndian.Uint32(p[4:]); size != 0 && size != unknownSize {
		d.st.Riff = off + 8 + int64(size)
	}
	return 12
}

// head reads the header of a chunk, and of the chunks that are of use the
// body, or its beginning.
func (d *wav) head(p []byte, off int64, t *table) int {
	pad := 0
	if d.st.Odd && p[0] == 0 {
		pad = 1
	}
	if len(p) < pad+8 {
		return 0
	}
	c := p[pad:]
	if isRIFF(c) || !isName(c) {
		d.st.Phase, d.st.Odd = wavFile, false
		return pad + d.file(c, off+int64(pad), t)
	}
	name, size := string(c[:4]), int64(binary.LittleEndian.Uint32(c[4:]))
	body, take := off+int64(pad)+8, int64(0)
	if name == "fmt " || name == "ds64" {
		take = min(size, 64)
	}
	if int64(len(c)) < 8+take {
		return 0
	}
	d.st.Phase, d.st.Left, d.st.Odd = wavSkip, size-take, size%2 == 1
	switch name {
	case "ds64":
		d.sizes(c[8 : 8+take])
	case "fmt ":
		d.format(c[8:8+take], body, t)
	case "data":
		d.data(size, body, t)
	}
	d.endChunk()
	return pad + 8 + int(take)
}

// endChunk goes on to the next chunk when nothing of this one is left.
func (d *wav) endChunk() {
	if d.st.Left == 0 {
		d.st.Phase = wavHead
	}
}

// sizes takes the 64-bit sizes of a ds64 chunk: of the file, of its data.
func (d *wav) sizes(body []byte) {
	if len(body) >= 16 {
		d.st.Long = int64(binary.LittleEndian.Uint64(body[8:]) & (1<<63 - 1))
	}
}

// format takes the format of the file, or refuses the file.
func (d *wav) format(body []byte, off int64, t *table) {
	f, err := parseFormat(body)
	if err != nil {
		d.refuse(t, off, "bad-wav", err.Error())
		return
	}
	if d.st.Array == nil {
		d.st.Array = &f
		t.add("pcm", f.dtype(), []string{"frame", "channel"}, f.Channels, f.attrs())
		t.attrs = f.attrs()
	}
	if f != *d.st.Array {
		d.refuse(t, off, "other-format", fmt.Sprintf("the file has %v; the array was begun with %v", f, *d.st.Array))
		return
	}
	d.st.Format = &f
}

// data begins the samples.
func (d *wav) data(size, off int64, t *table) {
	if d.st.Format == nil {
		d.refuse(t, off, "bad-wav", "its data come before its format")
		return
	}
	switch {
	case size == unknownSize && d.st.Long > 0:
		size = d.st.Long
	case size == unknownSize, size >= 0x7ffff000 && size <= 0x80000000:
		size = -1 // as programs write that cannot go back
	case size == 0 && d.st.Riff <= off:
		size = -1 // the program did not come to write it
	}
	d.st.Phase, d.st.Left, d.st.Odd = wavData, size, size > 0 && size%2 == 1
}

// samples takes frames.
func (d *wav) samples(p []byte, off int64, t *table) int {
	n, next := d.extent(p)
	f := d.st.Format
	whole := n - n%f.frame()
	if whole > 0 {
		c := t.columns[0]
		c.data = f.appendFrames(c.data, p[:whole])
		t.rows = len(c.data) / c.rowBytes()
		return d.took(whole)
	}
	if half := n; next || int64(half) == d.st.Left {
		if half > 0 {
			t.refused.add(off, int64(half), "half-frame", fmt.Sprintf("%d bytes at the end of the samples are less than a frame of %d", half, f.frame()))
		}
		if next {
			return half + d.file(p[half:], off+int64(half), t)
		}
		return d.took(half)
	}
	return 0
}

// skip goes over bytes that are of no use.
func (d *wav) skip(p []byte, off int64, t *table) int {
	n, next := d.extent(p)
	if next {
		return n + d.file(p[n:], off+int64(n), t)
	}
	return d.took(n)
}

// took counts n bytes of the phase.
func (d *wav) took(n int) int {
	if d.st.Left >= 0 {
		d.st.Left -= int64(n)
		d.endChunk()
	}
	return n
}

// extent gives how many bytes at the front of p surely belong to the phase,
// and whether a new file begins right after them.
func (d *wav) extent(p []byte) (n int, next bool) {
	if d.st.Left < 0 {
		return findFile(p, true)
	}
	if int64(len(p)) < d.st.Left {
		return findFile(p, true)
	}
	return findFile(p[:d.st.Left], false)
}

// refuse gives up the file; off is how far it was read.
func (d *wav) refuse(t *table, off int64, reason, detail string) {
	length := max(d.st.Riff, off) - d.st.Start
	t.refused.add(d.st.Start, max(length, 0), reason, detail)
	d.lost()
}
