package inflate

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	fast "github.com/klauspost/compress/gzip"
)

// logs gives n bytes or so like the packed records of a web server.
func logs(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("alpha order user cart index login image static health search queue stream report export")
	agents := []string{"Mozilla/5.0 (X11; Linux x86_64)", "curl/8.5.0", "Go-http-client/2.0"}
	var b bytes.Buffer
	for seq := uint64(0); b.Len() < n; seq++ {
		fmt.Fprintf(&b, "\x92\xd7\x00%08x\x87\xa3seq\xcf%08x\xa6remote\xac203.0.%03d.%03d\xa4code\xa3200\xa4size%d\xa5agent%s\xa4path",
			1700000000+seq, seq, r.IntN(256), r.IntN(256), r.IntN(100000), agents[r.IntN(3)])
		for range 6 {
			fmt.Fprintf(&b, "/%s%d", words[r.IntN(len(words))], r.IntN(1000))
		}
	}
	return b.Bytes()
}

// member compresses.
func member(t testing.TB, b []byte, level int) []byte {
	t.Helper()
	var w bytes.Buffer
	z, err := gzip.NewWriterLevel(&w, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return w.Bytes()
}

// decode decodes src into room that grows, first by step, and shows that nothing
// is written beyond it.
func decode(t testing.TB, src []byte, step, limit int) ([]byte, error) {
	t.Helper()
	var d Decoder
	d.Reset(src)
	for out, room := []byte(nil), step; ; room += max(step, room/8) {
		const guard = 0xa5
		next := make([]byte, room+32)
		copy(next, out)
		for i := room; i < len(next); i++ {
			next[i] = guard
		}
		got, err := d.Decode(next[:len(out):room])
		for i, c := range next[room:] {
			if c != guard {
				t.Fatalf("byte %d behind the room of %d is written", i, room)
			}
		}
		if err != ErrFull || len(got) > limit {
			return got, err
		}
		if room-len(got) >= 258 {
			t.Fatalf("%d of %d bytes is full", len(got), room)
		}
		out = got
	}
}

// standard decodes by the standard library.
func standard(src []byte, limit int) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(src))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, int64(limit)))
}

// same holds what decode makes of src against what the standard library does.
func same(t testing.TB, src []byte, step, limit int) {
	t.Helper()
	got, err := decode(t, src, step, limit)
	want, wantErr := standard(src, limit)
	if len(want) >= limit && wantErr == nil {
		return // it was not read to its end
	}
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%v, the standard library says %v of %x", err, wantErr, src)
	}
	if err == nil && !bytes.Equal(got, want) {
		t.Fatalf("%d bytes differ from %d", len(got), len(want))
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 2, 100, 5000, 100_000} {
		random := make([]byte, n)
		rand.NewChaCha8([32]byte{}).Read(random)
		for kind, data := range map[string][]byte{
			"logs": logs(n + 1)[:n], "zeros": make([]byte, n), "periods": periods(n), "random": random,
		} {
			for _, level := range []int{gzip.HuffmanOnly, 0, 1, 6, 9} {
				src := member(t, data, level)
				for _, step := range []int{300, 4096, n + 1} {
					if n > 5000 && step == 300 {
						continue
					}
					got, err := decode(t, src, step, 1<<30)
					if err != nil || !bytes.Equal(got, data) {
						t.Fatalf("%d bytes of %s, level %d: %d bytes, %v", n, kind, level, len(got), err)
					}
				}
			}
		}
	}
}

// periods gives bytes that repeat at every distance up to 40.
func periods(n int) (b []byte) {
	for d := 1; len(b) < n; d = d%40 + 1 {
		for i := range 20 * d {
			b = append(b, byte(i%d)+byte(d)*7)
		}
	}
	return b[:n]
}

func TestExactRoom(t *testing.T) {
	t.Parallel()
	// Pairs of letters, and between them the longest match.
	r := rand.New(rand.NewPCG(5, 6))
	var data []byte
	for len(data) < 4_000 {
		for range 20 + r.IntN(4) {
			data = append(data, 'a'+byte(r.IntN(4)))
		}
		data = append(data, make([]byte, 259)...)
	}
	for range 25_000 {
		data = append(data, 'a'+byte(r.IntN(4)))
	}
	src := member(t, data, 6)
	var d Decoder
	for n := range 4_000 {
		d.Reset(src)
		got, err := d.Decode(make([]byte, 0, n))
		if err != ErrFull || n-len(got) >= 258 || !bytes.Equal(got, data[:len(got)]) {
			t.Fatalf("room for %d: %d bytes, %v", n, len(got), err)
		}
	}
	d.Reset(src)
	if got, err := d.Decode(make([]byte, 0, len(data))); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("room for all: %d bytes, %v", len(got), err)
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	empty, one, two := member(t, nil, 6), member(t, logs(100_000), 6), member(t, []byte("two"), 0)
	fixed := member(t, []byte("fixed"), 6)
	// Fixed codes that repeat the byte before them twice, and the right trailer.
	before := append(append(bytes.Clone(two), fixed[:10]...), 0x03, 0x02, 0x00)
	before = binary.LittleEndian.AppendUint32(before, crc32.ChecksumIEEE([]byte("ooo")))
	before = append(before, 3, 0, 0, 0)
	for name, c := range map[string]struct {
		src []byte
		err error
	}{
		"several":                     {bytes.Join([][]byte{empty, one, two, empty, one, empty}, nil), nil},
		"none":                        {nil, io.ErrUnexpectedEOF},
		"zeros behind":                {append(bytes.Clone(two), 0, 0, 0), io.ErrUnexpectedEOF},
		"more zeros behind":           {append(bytes.Clone(two), make([]byte, 20)...), errHeader},
		"cut in the second":           {append(bytes.Clone(two), one[:5000]...), io.ErrUnexpectedEOF},
		"no gzip":                     {[]byte("no member begins here"), errHeader},
		"all kinds":                   {bytes.Join([][]byte{fixed, one, fixed, two, one}, nil), nil},
		"a match before the member":   {before, errCorrupt},
		"the same, with more to come": {append(bytes.Clone(before), one...), errCorrupt},
	} {
		if _, err := decode(t, c.src, 300, 1<<20); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
		same(t, c.src, 1000, 1<<20)
	}
}

// TestHeaders has what may stand before the data of a member.
func TestHeaders(t *testing.T) {
	t.Parallel()
	body := member(t, []byte("data"), 6)[10:]
	const head = "\x1f\x8b\x08%c\x00\x00\x00\x00\x00\xff"
	sum := func(h string) string {
		return string(binary.LittleEndian.AppendUint16([]byte(h), uint16(crc32.ChecksumIEEE([]byte(h)))))
	}
	flags := func(f byte) string { return strings.Replace(head, "%c", string([]byte{f}), 1) }
	for name, c := range map[string]struct {
		head string
		ok   bool
	}{
		"plain":                  {flags(0), true},
		"text":                   {flags(1), true},
		"name":                   {flags(flagName) + "name\x00", true},
		"comment":                {flags(flagComment) + "\x00", true},
		"extra":                  {flags(flagExtra) + "\x03\x00abc", true},
		"all":                    {sum(flags(0x1f) + "\x01\x00a" + "name\x00" + "comment\x00"), true},
		"sum":                    {sum(flags(flagSum)), true},
		"wrong sum":              {flags(flagSum) + "ab", false},
		"sum cut":                {flags(flagSum)[:10] + "a", false},
		"another method":         {strings.Replace(flags(0), "\x08", "\x07", 1), false},
		"name without an end":    {flags(flagName) + "name", false},
		"extra that is cut":      {flags(flagExtra) + "\xff\xffabc", false},
		"extra without a length": {flags(flagExtra) + "\xff", false},
	} {
		src := []byte(c.head)
		if c.ok || name == "wrong sum" || name == "another method" {
			src = append(src, body...)
		}
		if got, err := decode(t, src, 300, 1<<20); (err == nil) != c.ok || c.ok && string(got) != "data" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		same(t, src, 300, 1<<20)
	}
}

// A bitWriter writes bits, the lowest first.
type bitWriter struct {
	out  []byte
	bits uint64
	n    uint
}

func (w *bitWriter) write(v uint64, n uint) {
	w.bits |= v << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.bits))
		w.bits >>= 8
	}
}

// TestCodes has blocks with as many codes as can be said, of which the format
// allows all but the last two of each kind.
func TestCodes(t *testing.T) {
	t.Parallel()
	for lits := 257; lits <= 288; lits++ {
		for dists := 1; dists <= 32; dists++ {
			var w bitWriter
			w.write(1|2<<1, 3)
			w.write(uint64(lits-257)|uint64(dists-1)<<5|15<<10, 14)
			for _, symbol := range order[:19] { // the lengths 0 and 1 and both runs of zeros
				w.write(map[uint8]uint64{0: 2, 1: 2, 17: 2, 18: 2}[symbol], 3)
			}
			one := func() { w.write(2, 2) } // canonical codes: 0 is 00, 1 is 01, 17 is 10, 18 is 11, first bit lowest
			zeros := func(n int) {
				for ; n > 10; n -= min(n, 138) {
					w.write(3, 2)
					w.write(uint64(min(n, 138)-11), 7)
				}
				for range n {
					w.write(0, 2)
				}
			}
			zeros('a')
			one()
			zeros(256 - 'a' - 1)
			one()
			zeros(lits - 257)
			one()
			zeros(dists - 1)
			w.write(0b100, 3) // a, a, end
			w.write(0, 7)
			src := append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), w.out...)
			src = binary.LittleEndian.AppendUint32(src, crc32.ChecksumIEEE([]byte("aa")))
			src = append(src, 2, 0, 0, 0)
			want := error(nil)
			if lits > 286 || dists > 30 {
				want = errCorrupt
			}
			if got, err := decode(t, src, 300, 1000); !errors.Is(err, want) || want == nil && string(got) != "aa" {
				t.Errorf("%d and %d codes: %q, %v", lits, dists, got, err)
			}
			same(t, src, 300, 1000)
		}
	}
}

// TestDamage changes each bit of payloads with blocks of all kinds, and cuts
// them everywhere: the outcome is that of the standard library.
func TestDamage(t *testing.T) {
	t.Parallel()
	for _, src := range [][]byte{
		member(t, logs(250), 6), member(t, []byte("abcabcabcabc fixed codes"), 9), member(t, logs(50), 0),
		member(t, make([]byte, 3000), 6), member(t, periods(150), gzip.HuffmanOnly),
	} {
		for i := range src {
			same(t, src[:i], 300, 1<<16)
			for bit := range 8 {
				odd := bytes.Clone(src)
				odd[i] ^= 1 << bit
				same(t, odd, 300, 1<<16)
			}
		}
	}
}

// TestSize counts without keeping, across windows and members.
func TestSize(t *testing.T) {
	t.Parallel()
	far := make([]byte, window-50) // so far apart are all matches of what repeats it
	rand.NewChaCha8([32]byte{}).Read(far)
	data := slices.Concat(logs(500_000), make([]byte, 500_000), bytes.Repeat(far, 20))
	small := logs(10)
	src := slices.Concat(member(t, small, 6), member(t, data, 6), member(t, small, 6))
	want := int64(len(data) + 2*len(small))
	var d Decoder
	for _, limit := range []int64{1 << 40, want} {
		if n, err := d.Size(src, limit); n != want || err != nil {
			t.Errorf("limit %d: %d, %v, want %d", limit, n, err, want)
		}
	}
	for _, limit := range []int64{want - 1, 400_000, 0} {
		if n, err := d.Size(src, limit); err != ErrFull || n <= limit || n > limit+4*window {
			t.Errorf("limit %d: %d, %v", limit, n, err)
		}
	}
	if _, err := d.Size(src[:len(src)-1], want); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut: %v", err)
	}
	src[len(src)-8] ^= 1
	if _, err := d.Size(src, want); !errors.Is(err, errCorrupt) {
		t.Errorf("wrong checksum: %v", err)
	}
}

// FuzzDecode decodes whatever comes as the standard library does.
func FuzzDecode(f *testing.F) {
	for level := range 10 {
		f.Add(member(f, logs(2000), level), uint16(300))
	}
	f.Add(append(member(f, []byte("abc"), 6), member(f, make([]byte, 5000), 6)...), uint16(17))
	f.Add(member(f, periods(3000), gzip.HuffmanOnly), uint16(0))
	f.Fuzz(func(t *testing.T, src []byte, step uint16) { same(t, src, int(step)+300, 1<<20) })
}

// FuzzBlocks is FuzzDecode with a header before the blocks and the trailer
// that the data has behind them, so that more of it is read.
func FuzzBlocks(f *testing.F) {
	for level := range 10 {
		f.Add(member(f, logs(2000), level)[10:], uint16(300))
	}
	f.Fuzz(func(t *testing.T, blocks []byte, step uint16) {
		const limit = 1 << 20
		src := append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), blocks...)
		rest := bytes.NewReader(blocks)
		data, err := io.ReadAll(io.LimitReader(flate.NewReader(rest), limit))
		if err == nil && len(data) < limit {
			src = src[:len(src)-rest.Len()]
			src = binary.LittleEndian.AppendUint32(src, crc32.ChecksumIEEE(data))
			src = binary.LittleEndian.AppendUint32(src, uint32(len(data)))
		}
		same(t, src, int(step)+300, limit)
	})
}

func BenchmarkDecode(b *testing.B) {
	text := logs(160_000)
	noise := make([]byte, 160_000)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range noise {
		noise[i] = byte(r.UintN(16)) + 'a'
	}
	for _, c := range []struct {
		name string
		data []byte
	}{{"logs", text}, {"letters", noise}, {"zeros", make([]byte, 160_000)}, {"short", text[:700]}} {
		src := member(b, c.data, 6)
		b.Run(c.name+"/here", func(b *testing.B) {
			var d Decoder
			out := make([]byte, 0, len(c.data)+1)
			b.SetBytes(int64(len(c.data)))
			b.ReportAllocs()
			for b.Loop() {
				d.Reset(src)
				if got, err := d.Decode(out); err != nil || len(got) != len(c.data) {
					b.Fatal(len(got), err)
				}
			}
		})
		b.Run(c.name+"/klauspost", func(b *testing.B) {
			var z fast.Reader
			var s bytes.Reader
			out := make([]byte, len(c.data)+1)
			b.SetBytes(int64(len(c.data)))
			b.ReportAllocs()
			for b.Loop() {
				s.Reset(src)
				if err := z.Reset(&s); err != nil {
					b.Fatal(err)
				}
				if n, err := io.ReadFull(&z, out); n != len(c.data) || !errors.Is(err, io.ErrUnexpectedEOF) {
					b.Fatal(n, err)
				}
			}
		})
	}
}
