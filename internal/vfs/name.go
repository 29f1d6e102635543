package vfs

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// longest is the length of an escaped name beyond which it is cut.
const longest = 200

// Escape gives the file name for any reference: bytes outside [A-Za-z0-9._-],
// and a leading dot, become %XX; what is longer than 200 bytes is cut there
// and ends in "%~" and 32 hex digits of the reference's SHA-256.
func Escape(ref string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(ref); i++ {
		c := ref[i]
		if plain(c) && (c != '.' || i > 0) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
	if b.Len() <= longest {
		return b.String()
	}
	sum := sha256.Sum256([]byte(ref))
	return b.String()[:longest] + "%~" + hex.EncodeToString(sum[:16])
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}
