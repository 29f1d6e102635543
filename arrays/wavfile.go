package arrays

import "bytes"

// unknownSize is a size of 32 bits that says nothing.
const unknownSize = 0xffffffff

// signature is the size of the beginning by which a file is known: RIFF (or
// RF64, BW64), a size, WAVE, and the name of the first chunk.
const signature = 16

// isRIFF tells whether p begins like a file.
func isRIFF(p []byte) bool {
	switch string(p[:4]) {
	case "RIFF", "RF64", "BW64":
		return true
	}
	return false
}

// isFile tells whether p, of signature bytes or more, begins a file.
func isFile(p []byte) bool {
	return isRIFF(p) && string(p[8:12]) == "WAVE" && isName(p[12:])
}

// isName tells whether p begins with what can be the name of a chunk.
func isName(p []byte) bool {
	for _, c := range p[:4] {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

// findFile gives the offset of the first file that begins in p. Without one it
// gives len(p), or with open, when more bytes will follow, the offset from
// which on they could make one.
func findFile(p []byte, open bool) (n int, found bool) {
	for from := 8; from < len(p); {
		i := bytes.Index(p[from:], []byte("WAVE"))
		if i < 0 {
			break
		}
		at := from + i - 8
		if at+signature <= len(p) && isFile(p[at:]) {
			return at, true
		}
		from += i + 1
	}
	if !open {
		return len(p), false
	}
	for n = max(0, len(p)-signature+1); n < len(p); n++ {
		if couldBegin(p[n:]) {
			return n, false
		}
	}
	return len(p), false
}

// couldBegin tells whether p, of less than signature bytes, may be the front
// of a file.
func couldBegin(p []byte) bool {
	for _, magic := range []string{"RIFF", "RF64", "BW64"} {
		n := min(len(p), 4)
		if string(p[:n]) == magic[:n] {
			rest := p[min(len(p), 8):min(len(p), 12)]
			return string(rest) == "WAVE"[:len(rest)]
		}
	}
	return false
}
