package arrays

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

// pcmStream makes a wav stream of float32 samples, as a microphone gives.
func pcmStream(n int) []byte {
	w := testWAV{channels: 1, bits: 32, tag: waveFloat, rate: 48000, riff: unknownSize, size: unknownSize}.bytes()
	r := rand.New(rand.NewPCG(1, 1))
	for len(w) < n {
		s := float32(math.Round(r.NormFloat64()*3000)) / 32768
		w = binary.LittleEndian.AppendUint32(w, math.Float32bits(s))
	}
	return w
}

// tableStream makes entries of 6 fields.
func tableStream(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = msgp.AppendArrayHeader(b, 2)
		b = append(b, 0xd7, 0)
		b = binary.BigEndian.AppendUint32(b, uint32(1700000000+i/10))
		b = binary.BigEndian.AppendUint32(b, uint32(i%10*1e8))
		b = msgp.AppendMapHeader(b, 6)
		for _, k := range []string{"pressure", "humidity", "temperature"} {
			b = msgp.AppendFloat64(msgp.AppendString(b, k), math.Round(r.Float64()*1e4)/100)
		}
		b = msgp.AppendInt(msgp.AppendString(b, "count"), i)
		b = msgp.AppendString(msgp.AppendString(b, "cpu"), "12.25")
		b = msgp.AppendString(msgp.AppendString(b, "host"), []string{"a", "b", "c"}[i%3])
	}
	return b
}

func csvStream(n int) []byte {
	r := rand.New(rand.NewPCG(1, 3))
	var b bytes.Buffer
	for b.Len() < n {
		for range 7 {
			fmt.Fprintf(&b, "%.2f,", r.NormFloat64()*100)
		}
		fmt.Fprintf(&b, "%d\n", r.IntN(1e6))
	}
	return b.Bytes()
}

// BenchmarkDecode measures decoders alone, rows thrown away.
func BenchmarkDecode(b *testing.B) {
	for kind, data := range map[string][]byte{
		kindNumbers: csvStream(4 << 20), kindWAV: pcmStream(4 << 20), kindMetrics: tableStream(4 << 20),
	} {
		b.Run(kind, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			tab := &table{attrs: map[string]any{}, limit: 32 << 20}
			d, err := newDecoder(Spec{Kind: kind}, nil, tab)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				for at := 0; at < len(data); {
					n := d.decode(data[at:], int64(at), tab)
					if n == 0 {
						break
					}
					at += n
					for _, c := range tab.columns {
						c.data = c.data[:0]
					}
					tab.rows = 0
					tab.refused.reset()
				}
			}
		})
	}
}

// BenchmarkAppend appends 256 MiB of float32 to a group on disk in pieces, each
// published before the next comes.
func BenchmarkAppend(b *testing.B) {
	for _, kind := range []string{kindWAV, kindMetrics} {
		for _, piece := range []int{64 << 10, 1 << 20, 8 << 20} {
			b.Run(fmt.Sprintf("%s/%dKiB", kind, piece>>10), func(b *testing.B) {
				benchmarkAppend(b, kind, piece)
			})
		}
	}
}

func benchmarkAppend(b *testing.B, kind string, piece int) {
	data := pcmStream(64 << 20)
	if kind == kindMetrics {
		data = tableStream(64 << 20)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		s, err := Open(b.TempDir(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		f := &fakeStream{name: "s", data: data}
		for end := piece; ; end += piece {
			f.data = data[:min(end, len(data))]
			for more := true; more; {
				if more, err = s.advance(context.Background(), nil, f, Spec{Kind: kind}); err != nil {
					b.Fatal(err)
				}
			}
			if end >= len(data) {
				break
			}
		}
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkSeal compresses a chunk of 1 MiB.
func BenchmarkSeal(b *testing.B) {
	data := pcmStream(1<<20 + 100)[60 : 60+1<<20]
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	n, z := 0, new(compressor)
	for b.Loop() {
		n = len(z.compress(data, 4))
	}
	b.ReportMetric(float64(n)/(1<<20), "ratio")
}
