package streams

import (
	"hash/crc32"
	"testing"

	"pgregory.net/rapid"
)

func TestJoinCRC(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "b")
		at := rapid.IntRange(0, len(b)).Draw(t, "at")
		first, second := crc32.Checksum(b[:at], castagnoli), crc32.Checksum(b[at:], castagnoli)
		if got := joinCRC(first, second, int64(len(b)-at)); got != crc32.Checksum(b, castagnoli) {
			t.Fatalf("%d and %d bytes: %08x", at, len(b)-at, got)
		}
	})
	big := make([]byte, 70<<20) // more bytes than a batch may have
	big[3], big[50<<20] = 7, 9
	if got := joinCRC(crc32.Checksum(big[:5], castagnoli), crc32.Checksum(big[5:], castagnoli), int64(len(big)-5)); got != crc32.Checksum(big, castagnoli) {
		t.Fatalf("%08x", got)
	}
}
