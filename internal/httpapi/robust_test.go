package httpapi

import (
	"fmt"
	"strings"
	"testing"
)

// A body that ends early keeps nothing and is counted.
func TestTruncatedBodies(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, request, stream string }{
		{"ingest", "POST /portal_ingestion_policies/raw/ingest?reference=raw.cut HTTP/1.1\r\nHost: x\r\n" +
			"Content-Type: application/octet-stream\r\nContent-Length: 30\r\n\r\n" + string(entry("short")), "raw.cut"},
		{"upload", "PUT /streams/up.cut HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nshort", "up.cut"},
		{"upload beyond the first buffer", "PUT /streams/up.cut HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" +
			strings.Repeat("x", 299999), "up.cut"},
		{"ingest beyond the first buffer", "POST /portal_ingestion_policies/small/ingest?reference=small.cut HTTP/1.1\r\nHost: x\r\n" +
			"Content-Type: application/octet-stream\r\nContent-Length: 900\r\n\r\n" + strings.Repeat("x", 899), "small.cut"},
		{"chunked", "PUT /streams/up.cut HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "up.cut"},
		{"chunk cut", "PUT /streams/up.cut HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "up.cut"},
		{"chunk size broken", "PUT /streams/up.cut HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", "up.cut"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			if back := w.raw(tc.request); !strings.HasPrefix(back, "HTTP/1.1 400 ") {
				t.Errorf("the answer is %q, not a 400", back)
			}
			w.absent(tc.stream)
			if c, ok := w.refused("truncated-body"); !ok {
				t.Errorf("it was not counted as truncated-body but %+v", fmt.Sprint(c, w.router.Stats().Refused))
			}
			w.ingest("raw", "raw.other", entry("others go on")).want(t, 204, "")
		})
	}
}
