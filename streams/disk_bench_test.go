package streams

import (
	"fmt"
	"path/filepath"
	"testing"

	"weir/internal/vfs"
)

// BenchmarkDisk is what the disk itself does: one write and fdatasync after
// the other, within a file that was laid down before. A write holds what 64
// writers append together, so that appends/s is the limit of a group commit
// that does nothing else and never writes while it syncs.
func BenchmarkDisk(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		for _, together := range []int{1, benchWriters} {
			b.Run(fmt.Sprintf("size=%d/together=%d", size, together), func(b *testing.B) {
				benchDisk(b, size*together, together)
			})
		}
	}
}

func benchDisk(b *testing.B, n, together int) {
	const space = 256 << 20
	f, err := vfs.OS{}.Create(filepath.Join(benchDir(b), "file"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < space; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros, at); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Datasync(); err != nil {
		b.Fatal(err)
	}
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * 7)
	}
	b.SetBytes(int64(n))
	b.ResetTimer()
	for i := range b.N {
		if _, err := f.WriteAt(p, int64(i%(space/n)*n)); err != nil {
			b.Fatal(err)
		}
		if err := f.Datasync(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*together)/b.Elapsed().Seconds(), "appends/s")
}
