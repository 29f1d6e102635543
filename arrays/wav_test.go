package arrays

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"
)

// A wavFile is a file to be made for a test.
type testWAV struct {
	id                   string // RIFF when empty
	tag                  uint16 // 1 when 0
	channels, bits, rate int
	align                int // as it should be when 0
	ext                  int // bytes of the fmt chunk; 16 when 0
	mask                 uint32
	riff, size           int64 // sizes to claim; right ones when 0
	before, after        []byte
	long                 bool // sizes in ds64
	data                 []byte
	noPad                bool
}

func chunkOf(name string, body []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(name), uint32(len(body)))
	b = append(b, body...)
	if len(body)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

func (w testWAV) bytes() []byte {
	le := binary.LittleEndian
	if w.tag == 0 {
		w.tag = wavePCM
	}
	if w.align == 0 {
		w.align = w.channels * w.bits / 8
	}
	format := le.AppendUint16(nil, w.tag)
	format = le.AppendUint16(format, uint16(w.channels))
	format = le.AppendUint32(format, uint32(w.rate))
	format = le.AppendUint32(format, uint32(w.rate*w.align))
	format = le.AppendUint16(format, uint16(w.align))
	format = le.AppendUint16(format, uint16(w.bits))
	switch w.ext {
	case 18:
		format = append(format, 0, 0)
	case 40:
		le.PutUint16(format, waveExtensible)
		format = le.AppendUint16(format, 22)
		format = le.AppendUint16(format, uint16(w.bits))
		format = le.AppendUint32(format, w.mask)
		format = le.AppendUint16(format, w.tag)
		format = append(format, "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"...)
	}
	var b bytes.Buffer
	if w.long {
		ds := le.AppendUint64(nil, 0)
		ds = le.AppendUint64(ds, uint64(len(w.data)))
		b.Write(chunkOf("ds64", append(ds, make([]byte, 12)...)))
	}
	b.Write(w.before)
	b.Write(chunkOf("fmt ", format))
	size := int64(len(w.data))
	if w.size != 0 {
		size = w.size
	}
	b.WriteString("data")
	b.Write(le.AppendUint32(nil, uint32(size)))
	b.Write(w.data)
	if len(w.data)%2 == 1 && !w.noPad {
		b.WriteByte(0)
	}
	b.Write(w.after)
	riff := int64(b.Len() + 4)
	if w.riff != 0 {
		riff = w.riff
	}
	if w.id == "" {
		w.id = "RIFF"
	}
	out := append([]byte(w.id), le.AppendUint32(nil, uint32(riff))...)
	return append(append(out, "WAVE"...), b.Bytes()...)
}

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(7, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// someWAVs makes files back to back, few of them bad.
func someWAVs(r *rand.Rand) []byte {
	var b bytes.Buffer
	for range r.IntN(6) {
		w := testWAV{channels: 2, bits: 16, rate: 8000, data: noise(r.IntN(300) * 4)}
		switch r.IntN(14) {
		case 0:
			w.before = chunkOf("LIST", noise(r.IntN(60)))
		case 1:
			w.after = chunkOf("LIST", noise(r.IntN(60)))
		case 2:
			w.riff, w.size = unknownSize, unknownSize
		case 3:
			w.riff, w.size = 36, 1<<32 // 0 in the header
		case 4:
			w.data = noise(4*r.IntN(100) + r.IntN(4))
		case 5:
			w.channels = 1
		case 6:
			w.tag = 6
		case 7:
			b.Write(noise(r.IntN(200)))
		case 8:
			w.size = int64(len(w.data)) + 1000
		case 9:
			w.ext = 40
		case 10:
			b.WriteString(strings.Repeat("RIFFRF64WAVE", r.IntN(3)))
		case 11:
			w.long, w.id, w.size, w.riff = true, "RF64", unknownSize, unknownSize
		case 12:
			w.riff, w.size = unknownSize, unknownSize
			w.data = append(w.data, noise(r.IntN(4))...)
		}
		b.Write(w.bytes())
	}
	return b.Bytes()
}

func TestWAV(t *testing.T) {
	t.Parallel()
	pcm16 := noise(4000)
	one := testWAV{channels: 2, bits: 16, rate: 44100, data: pcm16}
	with := func(change func(*testWAV)) []byte {
		w := one
		change(&w)
		return w.bytes()
	}
	for _, c := range []struct {
		name    string
		file    []byte
		dtype   string
		rows    int64
		refused string // reasons
		offset  int64  // 0 is all
	}{
		{name: "plain", file: one.bytes(), dtype: "int16", rows: 1000},
		{name: "8 bits", file: with(func(w *testWAV) { w.bits = 8 }), dtype: "uint8", rows: 2000},
		{name: "24 bits", file: with(func(w *testWAV) { w.bits, w.data = 24, noise(600) }), dtype: "int32", rows: 100},
		{name: "32 bits", file: with(func(w *testWAV) { w.bits = 32 }), dtype: "int32", rows: 500},
		{name: "float32", file: with(func(w *testWAV) { w.bits, w.tag = 32, waveFloat }), dtype: "float32", rows: 500},
		{name: "float64", file: with(func(w *testWAV) { w.bits, w.tag = 64, waveFloat }), dtype: "float64", rows: 250},
		{name: "fmt of 18", file: with(func(w *testWAV) { w.ext = 18 }), dtype: "int16", rows: 1000},
		{name: "extensible", file: with(func(w *testWAV) { w.ext, w.mask = 40, 3 }), dtype: "int16", rows: 1000},
		{name: "RF64", file: with(func(w *testWAV) { w.id, w.long, w.size, w.riff = "RF64", true, unknownSize, unknownSize }), dtype: "int16", rows: 1000},
		{name: "BW64 and LIST after", file: with(func(w *testWAV) {
			w.id, w.long, w.size, w.riff = "BW64", true, unknownSize, unknownSize
			w.after = chunkOf("LIST", noise(101))
		}), dtype: "int16", rows: 1000},
		{name: "sizes unknown", file: with(func(w *testWAV) { w.size, w.riff = unknownSize, unknownSize }), dtype: "int16", rows: 1000},
		{name: "sizes never written", file: with(func(w *testWAV) { w.size, w.riff = 1<<32, 36 }), dtype: "int16", rows: 1000},
		{name: "sizes of sox", file: with(func(w *testWAV) { w.size, w.riff = 0x7ffff000, 0x7ffff024 }), dtype: "int16", rows: 1000},
		{name: "LIST around", file: with(func(w *testWAV) { w.before, w.after = chunkOf("LIST", noise(33)), chunkOf("LIST", noise(7)) }), dtype: "int16", rows: 1000},
		{name: "no samples, LIST", file: with(func(w *testWAV) { w.data, w.after = nil, chunkOf("LIST", noise(8)) }), dtype: "int16", rows: 0},
		{name: "odd without padding, next file", file: append(with(func(w *testWAV) { w.channels, w.bits, w.data, w.noPad = 1, 8, noise(11), true }),
			with(func(w *testWAV) { w.channels, w.bits, w.data = 1, 8, noise(11) })...), dtype: "uint8", rows: 22},
		{name: "two files", file: append(one.bytes(), one.bytes()...), dtype: "int16", rows: 2000},
		{name: "two streamed files", file: bytes.Repeat(with(func(w *testWAV) { w.size, w.riff = unknownSize, unknownSize }), 2), dtype: "int16", rows: 2000},
		{name: "cut file, next file", file: append(one.bytes()[:44+402], one.bytes()...), dtype: "int16", rows: 1100, refused: "half-frame"},
		{name: "other format next", file: append(with(func(w *testWAV) { w.rate = 8000 }), one.bytes()...), dtype: "int16", rows: 1000, refused: "other-format"},
		{name: "other format between", file: bytes.Join([][]byte{one.bytes(), with(func(w *testWAV) { w.bits = 8 }), one.bytes()}, nil), dtype: "int16", rows: 2000, refused: "other-format"},
		{name: "half a frame", file: with(func(w *testWAV) { w.data = noise(4003) }), dtype: "int16", rows: 1000, refused: "half-frame"},
		{name: "no channels", file: with(func(w *testWAV) { w.channels, w.align = 0, 4 }), refused: "bad-wav"},
		{name: "rate 0", file: with(func(w *testWAV) { w.rate = 0 }), refused: "bad-wav"},
		{name: "wrong alignment", file: with(func(w *testWAV) { w.align = 3 }), refused: "bad-wav"},
		{name: "mp3 inside", file: with(func(w *testWAV) { w.tag = 0x55 }), refused: "bad-wav"},
		{name: "12 bits", file: with(func(w *testWAV) { w.bits = 12 }), refused: "bad-wav"},
		{name: "no WAVE", file: []byte(strings.Replace(string(one.bytes()), "WAVE", "AVI ", 1)), refused: "not-wav"},
		{name: "text", file: []byte(strings.Repeat("hello, world\n", 10)), refused: "not-wav"},
		{name: "text, then a file", file: append([]byte("hello, world hello, world"), one.bytes()...), dtype: "int16", rows: 1000, refused: "not-wav"},
		{name: "data before fmt", file: append([]byte("RIFF\x00\x00\x00\x00WAVEdata\x04\x00\x00\x00abcd"), one.bytes()...), dtype: "int16", rows: 1000, refused: "bad-wav"},
		{name: "short fmt", file: append([]byte("RIFF\x00\x00\x00\x00WAVEfmt \x04\x00\x00\x00abcd"), one.bytes()...), dtype: "int16", rows: 1000, refused: "bad-wav"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := feed(t, Spec{Kind: kindWAV}, c.file, nil, whole, never)
			var reasons []string
			for _, r := range got.refused {
				reasons = append(reasons, r.Reason)
			}
			if s := strings.Join(reasons, " "); s != c.refused {
				t.Errorf("refused %q, want %q: %v", s, c.refused, got.refused)
			}
			if got.rows != c.rows {
				t.Errorf("%d rows, want %d", got.rows, c.rows)
			}
			if c.dtype == "" {
				return
			}
			if len(got.columns) != 1 || !strings.HasPrefix(got.columns[0], "pcm "+c.dtype+" ") {
				t.Errorf("columns %.80q, want pcm of %s", got.columns, c.dtype)
			}
			if got.offset < int64(len(c.file))-8 {
				t.Errorf("stopped at byte %d of %d", got.offset, len(c.file))
			}
		})
	}
}
