package policies

import "errors"

// reasonMarker is the reason of Fluent Bit's group markers, which are no
// events: no sender is told of them.
const reasonMarker = "group-marker"

// reasonOf is the stable word for an error of the data; empty for an error
// that is not the data's fault.
func reasonOf(err error) string {
	for _, r := range []struct {
		err    error
		reason string
	}{
		{ErrUnmatched, "unmatched"},
		{ErrUnknownPolicy, "unknown-policy"},
		{ErrTag, "bad-tag"},
		{ErrConflict, "conflict"},
		{ErrTooLarge, "too-large"},
		{ErrData, "bad-data"},
	} {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return ""
}

func orFailed(reason string) string {
	if reason == "" {
		return "append-failed"
	}
	return reason
}
