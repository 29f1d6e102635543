package streams

import "hash/crc32"

// crcPower[i] is x^(2^i) modulo the polynomial, in the reversed bits of hash/crc32.
var crcPower = func() (t [67]uint32) {
	t[0] = 1 << 30
	for i := 1; i < len(t); i++ {
		t[i] = multiplyCRC(t[i-1], t[i-1])
	}
	return t
}()

// joinCRC gives the checksum of two parts, one after the other, from those of
// the parts, of which the second has n bytes.
func joinCRC(first, second uint32, n int64) uint32 {
	shift := uint32(1 << 31) // x^0
	for i := 3; n > 0; i, n = i+1, n>>1 {
		if n&1 != 0 {
			shift = multiplyCRC(shift, crcPower[i])
		}
	}
	return multiplyCRC(first, shift) ^ second
}

// multiplyCRC multiplies two polynomials modulo that of CRC-32C.
func multiplyCRC(a, b uint32) (product uint32) {
	for ; a != 0; a <<= 1 {
		if a&(1<<31) != 0 {
			product ^= b
		}
		low := b & 1
		b >>= 1
		b ^= -low & crc32.Castagnoli
	}
	return product
}
