package forward

import "bytes"

// looksTLS is the guess for a client that opens TLS.
const looksTLS = "looks like TLS; this port is plain"

// guess says what a peer seems to speak that sends no messages.
func guess(b []byte) string {
	for _, m := range []string{"GET ", "POST ", "PUT ", "HEAD ", "OPTIONS ", "DELETE "} {
		if bytes.HasPrefix(b, []byte(m)) {
			return "looks like an HTTP request; this port speaks the forward protocol"
		}
	}
	if len(b) > 2 && b[0] == 0x16 && b[1] == 3 {
		return looksTLS
	}
	return "values that are no arrays"
}
