package policies

import (
	"weir/streams"
	"weir/tags"
)

// A Trial is one policy's pattern tried on a tag.
type Trial struct {
	Policy  string `json:"policy"`
	Match   string `json:"match"`
	Matches bool   `json:"matches"`
	// Takes is set for the first policy that matches; those after it get
	// nothing of the tag.
	Takes bool `json:"takes"`
}

// An Explanation says where batches of a tag go, and why.
type Explanation struct {
	Tag    string  `json:"tag"`
	Trials []Trial `json:"trials"` // in the order of the configuration
	Policy string  `json:"policy,omitempty"`
	Stream string  `json:"stream,omitempty"` // where batches are kept, dead letters included
	// Meaning is what the policy's grammar reads in the tag.
	Meaning *tags.Meaning `json:"meaning,omitempty"`
	Error   string        `json:"error,omitempty"` // why the policy does not take them
}

// Explain tries each pattern on a tag, in order. A router without a store does
// not know which policy made a stream.
func (r *Router) Explain(tag string) Explanation {
	e := Explanation{Tag: tag, Stream: deadName}
	for _, ru := range r.rules {
		t := Trial{Policy: ru.Name, Match: ru.Match}
		t.Matches = len(tag) <= streams.MaxName && ru.pattern.Match(tag) // a longer one is no tag
		t.Takes = t.Matches && e.Policy == ""
		if t.Takes {
			e.Policy = ru.Name
		}
		e.Trials = append(e.Trials, t)
	}
	rt, err := r.find(target{tag: tag})
	if err == nil {
		e.Stream, e.Meaning = rt.name, rt.meaning
		if err = r.wouldAdmit(rt); err == nil {
			err = r.ownedNow(rt)
		}
	}
	if err != nil {
		e.Error = err.Error()
		if rt != nil {
			e.Stream = deadName + "." + rt.rule.Name
		}
	}
	return e
}

// ownedNow is ErrConflict where the stream of a route exists and belongs to
// another policy.
func (r *Router) ownedNow(rt *route) error {
	if r.streams == nil {
		return nil
	}
	if st, ok := r.streams.Stream(rt.name); ok {
		return r.owned(rt, st)
	}
	return nil
}
