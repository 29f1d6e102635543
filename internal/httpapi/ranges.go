package httpapi

import (
	"math"
	"strconv"
	"strings"
)

// A contentRange is a request's Content-Range.
type contentRange struct {
	kind               rangeKind
	first, last, total int64
}

type rangeKind uint8

const (
	rangePart   rangeKind = iota // bytes F-L/T
	rangeStatus                  // bytes */*
)

// parseContentRange reads "bytes F-L/T" or "bytes */*".
func parseContentRange(s string) (contentRange, bool) {
	rest, ok := cutUnit(s, "bytes ")
	if !ok {
		return contentRange{}, false
	}
	if rest == "*/*" {
		return contentRange{kind: rangeStatus}, true
	}
	span, totalText, ok := strings.Cut(rest, "/")
	if !ok {
		return contentRange{}, false
	}
	firstText, lastText, ok := strings.Cut(span, "-")
	if !ok {
		return contentRange{}, false
	}
	first, ok1 := parseBytes(firstText)
	last, ok2 := parseBytes(lastText)
	total, ok3 := parseBytes(totalText)
	if !ok1 || !ok2 || !ok3 || last < first {
		return contentRange{}, false
	}
	return contentRange{first: first, last: last, total: total}, true
}

// A span is the bytes [start, end).
type span struct{ start, end int64 }

// maxSpans bounds the parts of one answer.
const maxSpans = 64

// parseRange reads a Range header for a thing of the bytes [begin, size). ok is
// false when the header is to be ignored: it is no byte range, badly formed, or
// asks for more in sum than there is. No span and ok means that none can be
// satisfied; a range that begins before the first byte cannot.
func parseRange(s string, begin, size int64) (spans []span, ok bool) {
	rest, ok := cutUnit(s, "bytes=")
	if !ok {
		return nil, false
	}
	var sum int64
	var seen bool
	for part := range strings.SplitSeq(rest, ",") {
		part = strings.Trim(part, " \t")
		if part == "" {
			continue
		}
		seen = true
		sp, valid := parseSpan(part, begin, size)
		if !valid || len(spans) == maxSpans {
			return nil, false
		}
		if sp.start >= sp.end || sp.start < begin {
			continue
		}
		sum += sp.end - sp.start
		spans = append(spans, sp)
	}
	if !seen || sum > size-begin {
		return nil, false
	}
	return spans, true
}

// parseSpan reads "F-L", "F-" or "-N". A span that cannot be satisfied is empty.
func parseSpan(s string, begin, size int64) (span, bool) {
	firstText, lastText, ok := strings.Cut(s, "-")
	if !ok {
		return span{}, false
	}
	if firstText == "" {
		n, ok := parseBytes(lastText)
		return span{max(begin, size-n), size}, ok
	}
	first, ok := parseBytes(firstText)
	if !ok {
		return span{}, false
	}
	if lastText == "" {
		return span{first, size}, true
	}
	last, ok := parseBytes(lastText)
	if !ok || last < first {
		return span{}, false
	}
	return span{first, min(last, size-1) + 1}, true
}

// parseBytes reads a count of bytes: digits only, below 2^63-1.
func parseBytes(s string) (int64, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n < math.MaxInt64
}

// cutUnit cuts a prefix whose letters may be in either case.
func cutUnit(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", false
	}
	return s[len(prefix):], true
}
