package forward

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

// benchEntries packs n records of about 150 bytes, as a web server's log has.
func benchEntries(n int) []byte {
	var b []byte
	for i := range n {
		b = append(b, pack(list{et{at, uint32(i)}, pairs{
			"remote", "203.0.113.220", "method", "GET", "path", fmt.Sprintf("/static/%06d.html", i),
			"code", 200, "size", 70000 + i, "agent", "Mozilla/5.0 (X11; Linux x86_64)",
		}})...)
	}
	return b
}

// benchFrames gives a megabyte or so of frames of each mode.
func benchFrames(mode string) (frames []byte, records int) {
	var b []byte
	for len(b) < 1<<20 {
		entries := benchEntries(1000)
		switch mode {
		case "message":
			for rest := entries; len(rest) > 0; {
				e, next, err := Next(rest)
				if err != nil {
					panic(err)
				}
				b = append(b, packs(raw("\x94\xa5bench"), raw(e.Time), raw(e.Record), chunk)...)
				rest = next
			}
		case "forward":
			b = append(b, packs(raw("\x93\xa5bench\xdc\x03\xe8"), raw(entries), chunk)...)
		case "packed":
			b = append(b, pack(list{"bench", entries, chunk})...)
		case "gzip":
			b = append(b, pack(list{"bench", zip(entries), pairs{"chunk", "id", "compressed", "gzip"}})...)
		case "zstd":
			b = append(b, pack(list{"bench", zstandard(entries), pairs{"chunk", "id", "compressed", "zstd"}})...)
		}
		records += 1000
	}
	return b, records
}

// BenchmarkDecode decodes buffers of whole frames. Bytes are those on the
// wire; records/s compares the modes.
func BenchmarkDecode(b *testing.B) {
	for _, mode := range []string{"message", "forward", "packed", "gzip", "zstd"} {
		b.Run(mode, func(b *testing.B) {
			frames, records := benchFrames(mode)
			buf := make([]byte, len(frames))
			d := fuzzed()
			*d.o = Options{}.withDefaults()
			b.SetBytes(int64(len(frames)))
			b.ReportAllocs()
			for b.Loop() {
				copy(buf, frames) // decoding writes to its buffer
				d.reset()
				got := 0
				for rest := buf; len(rest) > 0; {
					f := &d.frame
					n, st := f.parse(rest, false)
					if st != whole {
						b.Fatal(st)
					}
					if err := d.add(f, rest[:n:n]); err != nil {
						b.Fatal(err)
					}
					rest = rest[n:]
					if d.full() {
						got += count(d.msgs)
						d.reset()
					}
				}
				if got += count(d.msgs); got != records {
					b.Fatalf("%d records, want %d", got, records)
				}
			}
			b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func count(msgs []Message) (n int) {
	for i := range msgs {
		n += msgs[i].Records
	}
	return n
}

// BenchmarkWalk compares the walk over entries with msgp's.
func BenchmarkWalk(b *testing.B) {
	entries := benchEntries(1000)
	b.Run("check", func(b *testing.B) {
		b.SetBytes(int64(len(entries)))
		b.ReportAllocs()
		for b.Loop() {
			if n, _, err := Check(entries); n != 1000 || err != nil {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("msgp", func(b *testing.B) {
		b.SetBytes(int64(len(entries)))
		b.ReportAllocs()
		for b.Loop() {
			var err error
			for rest := entries; len(rest) > 0; {
				if rest, err = msgp.Skip(rest); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// A nothing is a handler that keeps nothing.
type nothing struct{}

func (nothing) Keep(_ context.Context, _ *Peer, msgs []Message) (int, error) { return len(msgs), nil }

// BenchmarkServer sends frames over loopback to a handler that does nothing.
func BenchmarkServer(b *testing.B) {
	for _, mode := range []string{"message", "packed"} {
		b.Run(mode, func(b *testing.B) {
			frames, _ := benchFrames(mode)
			frames = bytes.Repeat(frames, 8)
			_, a := serve(b, Options{Handler: nothing{}})
			b.SetBytes(int64(len(frames)))
			b.ReportAllocs()
			for b.Loop() {
				if got := exchange(b, a, frames); len(got) == 0 {
					b.Fatal("no acks")
				}
			}
		})
	}
}
