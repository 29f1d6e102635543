package conf

import "testing"

// TestAnonymousSource: as in fluentd, addresses that no client covers may send
// unless the file says otherwise.
func TestAnonymousSource(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for _, c := range []struct {
		allow *bool
		deny  bool
	}{{nil, false}, {&yes, false}, {&no, true}} {
		o := (&Security{SelfHostname: "h", AllowAnonymousSource: c.allow}).options()
		if o.DenyAnonymous != c.deny {
			t.Errorf("allow_anonymous_source %v: denied %v, want %v", c.allow, o.DenyAnonymous, c.deny)
		}
	}
}
