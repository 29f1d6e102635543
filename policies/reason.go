package policies

import (
	"errors"

	"weir/catalog"
	"weir/streams"
)

// reasonMarker is the reason of Fluent Bit's group markers, which are no
// events: no sender is told of them.
const reasonMarker = "group-marker"

// failureOf is the stable word for an append that did not happen, or may not
// have.
func failureOf(err error) string {
	switch {
	case errors.Is(err, streams.ErrNoSpace):
		return "no-space"
	case errors.Is(err, streams.ErrClosed), errors.Is(err, catalog.ErrClosed):
		return "closing"
	case errors.Is(err, streams.ErrUnknown):
		return "outcome-unknown"
	}
	return "append-failed"
}

// reasonOf is the stable word for an error of the data; empty for an error
// that is not the data's fault.
func reasonOf(err error) string {
	for _, r := range []struct {
		err    error
		reason string
	}{
		{ErrUnmatched, "unmatched-tag"},
		{ErrUnknownPolicy, "unknown-policy"},
		{ErrTag, "bad-tag"},
		{ErrConflict, "other-policy"},
		{ErrTooLarge, "too-large"},
		{ErrData, "bad-data"},
		{catalog.ErrUnknownSupply, "unknown-supply"},
		{catalog.ErrUnknownProduct, "unknown-product"},
		{catalog.ErrState, "not-open"},
		{catalog.ErrFull, "catalog-full"},
	} {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return ""
}
