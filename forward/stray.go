package forward

import "bytes"

// guess says what a peer seems to speak that sends no messages.
func guess(b []byte) string {
	for _, m := range []string{"GET ", "POST ", "PUT ", "HEAD ", "OPTIONS ", "DELETE "} {
		if bytes.HasPrefix(b, []byte(m)) {
			return "looks like an HTTP request; this port speaks the forward protocol"
		}
	}
	if len(b) > 2 && b[0] == 0x16 && b[1] == 3 {
		return "looks like TLS; this port is plain"
	}
	return "values that are no arrays"
}
