package policies

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"weir/streams"
)

// How a policy tells a batch that came before.
const (
	DedupeChunk   = "chunk"   // by the sender's identity; the default
	DedupeContent = "content" // by the bytes themselves
)

// What Policy.Check may be.
const (
	CheckEntries  = "entries"  // each entry is looked at before it is kept; the default
	CheckEnvelope = "envelope" // when it is read
)

const kindMetrics = "metrics"

// maxPolicyName leaves room for the dead letter stream's name.
const maxPolicyName = 100

// takes says what a stream must hold for a decoder to read it.
var takes = map[string][]Keep{
	"numbers":   {Text, Bytes, Decoded},
	"wav":       {Bytes},
	kindMetrics: {Verbatim},
}

// Validate says what is wrong with a policy; keys are names of fields as the
// configuration has them (name, match, keep, field, array.kind, dedupe, …).
// Keep and Dedupe may be empty for verbatim and chunk.
func (p Policy) Validate() map[string]error {
	bad := make(map[string]error)
	set := func(key string, err error) {
		if err != nil {
			bad[key] = err
		}
	}
	set("name", checkName(p.Name))
	_, err := ParsePattern(p.Match)
	set("match", err)
	set("keep", oneOf(string(p.Keep), "", string(Verbatim), string(Text), string(Bytes), string(Decoded), string(Buckets), string(Messages)))
	set("dedupe", oneOf(p.Dedupe, "", DedupeChunk, DedupeContent))
	set("check", oneOf(p.Check, "", CheckEntries, CheckEnvelope))
	if p.Check == CheckEnvelope && p.Keep != Verbatim && p.Keep != "" {
		set("check", fmt.Errorf("envelope keeps whole frames, of which keep: %s takes nothing: write keep: verbatim, or check: entries", p.Keep))
	}
	if p.Check == CheckEnvelope && p.Array != nil {
		set("check", errors.New("envelope leaves frames unopened, and an array needs their entries: remove array, or write check: entries"))
	}
	if p.Field != "" && (p.Keep == Verbatim || p.Keep == "") {
		set("field", errors.New("a policy that keeps verbatim keeps every field: remove field, or write keep: text"))
	}
	if p.Field != "" && p.Keep == Decoded {
		set("field", errors.New("a policy that keeps decoded keeps the whole record: remove field, or write keep: text"))
	}
	set("key", p.checkKey())
	if p.MaxBytes < 0 {
		set("max_bytes", errors.New("below zero: write a size such as 8MiB, or 0 for the listener's bound"))
	}
	set("retention", p.checkRetention())
	if p.Grammar != nil {
		for key, err := range p.Grammar.Validate() {
			set("grammar."+key, err)
		}
	} else if p.Unknown {
		set("unknown", errors.New("means nothing without a grammar, since every tag is taken then: remove it, or write grammar"))
	}
	if p.Array != nil {
		for key, err := range p.Array.Validate() {
			set("array."+key, err)
		}
		if bad["array.kind"] == nil && bad["keep"] == nil {
			set("array.kind", p.checkArray())
		}
	}
	return bad
}

// checkRetention tells whether the beginning of the policy's streams may go.
func (p Policy) checkRetention() error {
	switch r := p.Retention; {
	case r == streams.Limit{}:
		return nil
	case r.Age < 0 || r.Bytes < 0:
		return errors.New("is below zero: write an age such as 30d, and a size such as 100GB")
	case p.Keep == Buckets || p.Keep == Messages:
		return fmt.Errorf("the numbers of what keep: %s stores count from the stream's first byte, which has to stay: remove retention", p.Keep)
	}
	return nil
}

// checkArray tells whether the decoder can read what the policy keeps.
func (p Policy) checkArray() error {
	keep := p.Keep
	if keep == "" {
		keep = Verbatim
	}
	want, known := takes[p.Array.Kind]
	if !known || slices.Contains(want, keep) {
		return nil
	}
	return fmt.Errorf("an array of kind %s is not built from what keep: %s stores: write keep: %s", p.Array.Kind, keep, want[0])
}

func checkName(name string) error {
	if name == "" {
		return errors.New("missing: give the policy a name")
	}
	if len(name) > maxPolicyName {
		return fmt.Errorf("has %d bytes: use at most %d", len(name), maxPolicyName)
	}
	odd := strings.ContainsFunc(name, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c))
	})
	if odd || name[0] == '_' || name[0] == '.' {
		return fmt.Errorf("%q is no name: use letters, digits, . _ and -, and begin with a letter or digit", name)
	}
	return nil
}

func oneOf(s string, words ...string) error {
	if slices.Contains(words, s) {
		return nil
	}
	return fmt.Errorf("%q is not known: write %s", s, strings.Join(words[1:], ", "))
}
