package authority

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"time"
)

// tokenLasts is how long a registration token is good for.
const tokenLasts = 24 * time.Hour

const tokenBytes = 8 + 16

var tokenText = base32.StdEncoding.WithPadding(base32.NoPadding)

// Token gives a text that lets who has it register computers for a day. It is
// the time of its end with a signature: none is kept anywhere.
func (a *Authority) Token() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(a.now().Add(tokenLasts).Unix()))
	return strings.ToLower(tokenText.EncodeToString(append(b, a.signToken(b)...)))
}

// CheckToken tells whether a text is such a token, and its end not yet over.
func (a *Authority) CheckToken(text string) bool {
	b, err := tokenText.DecodeString(strings.ToUpper(text))
	if err != nil || len(b) != tokenBytes || !hmac.Equal(b[8:], a.signToken(b[:8])) {
		return false
	}
	return a.now().Unix() <= int64(binary.BigEndian.Uint64(b[:8]))
}

func (a *Authority) signToken(b []byte) []byte {
	secret, _ := a.key.Bytes() // of a curve that has a length: never fails
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("weir slap registration token"))
	h.Write(b)
	return h.Sum(nil)[:tokenBytes-8]
}
