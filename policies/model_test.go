package policies

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A term is a part of a pattern of the model: one that gives, for a place in a
// tag, all places where it may end.
type term struct {
	text string
	ends func(tag string, at int) map[int]bool
}

func set(places ...int) map[int]bool {
	m := make(map[int]bool)
	for _, p := range places {
		m[p] = true
	}
	return m
}

func literal(c byte) term {
	text := string(c)
	if strings.IndexByte(`.*{},\/`, c) >= 0 {
		text = `\` + text
	}
	return term{text, func(tag string, at int) map[int]bool {
		if at < len(tag) && tag[at] == c {
			return set(at + 1)
		}
		return nil
	}}
}

// run is any run of bytes that ok takes.
func run(text string, ok func(c byte) bool) term {
	return term{text, func(tag string, at int) map[int]bool {
		ends := set(at)
		for ; at < len(tag) && ok(tag[at]); at++ {
			ends[at+1] = true
		}
		return ends
	}}
}

var (
	star    = run("*", func(c byte) bool { return c != '.' })
	anyRun  = run("**", func(byte) bool { return true })
	leading = term{"**.", func(tag string, at int) map[int]bool {
		ends := make(map[int]bool)
		if at == 0 {
			ends[0] = true
		}
		for i := at; i < len(tag); i++ {
			if tag[i] == '.' {
				ends[i+1] = true
			}
		}
		return ends
	}}
)

// dotted is t after a dot that is not there when nothing follows.
func dotted(t term) term {
	return term{"." + t.text, func(tag string, at int) map[int]bool {
		if at < len(tag) && tag[at] != '.' {
			return nil
		}
		return t.ends(tag, at)
	}}
}

func oneOfTerms(alts [][]term, closed bool) term {
	var texts []string
	for _, a := range alts {
		texts = append(texts, textOf(a))
	}
	text := "{" + strings.Join(texts, ",")
	if closed {
		text += "}"
	}
	return term{text, func(tag string, at int) map[int]bool {
		ends := make(map[int]bool)
		for _, a := range alts {
			for e := range endsOf(a, tag, at) {
				ends[e] = true
			}
		}
		return ends
	}}
}

func textOf(terms []term) string {
	var b strings.Builder
	for _, t := range terms {
		b.WriteString(t.text)
	}
	return b.String()
}

func endsOf(terms []term, tag string, at int) map[int]bool {
	now := set(at)
	for _, t := range terms {
		next := make(map[int]bool)
		for p := range now {
			for e := range t.ends(tag, p) {
				next[e] = true
			}
		}
		now = next
	}
	return now
}

// drawTerms draws a sequence in which no stars meet, which would be read as
// others than were meant.
func drawTerms(t *rapid.T, depth int) (out []term) {
	stars := false
	for range rapid.IntRange(0, 4).Draw(t, "terms") {
		kind := rapid.IntRange(0, 8).Draw(t, "kind")
		if stars && kind < 6 {
			kind = 8
		}
		stars = kind < 6
		switch kind {
		case 0, 1:
			out = append(out, star)
		case 2:
			out = append(out, anyRun)
		case 3:
			out = append(out, leading)
		case 4:
			out = append(out, dotted(anyRun))
		case 5:
			out = append(out, dotted(leading))
		case 6:
			if depth > 0 {
				var alts [][]term
				for range rapid.IntRange(1, 3).Draw(t, "alternatives") {
					alts = append(alts, drawTerms(t, depth-1))
				}
				out = append(out, oneOfTerms(alts, true))
			}
		default:
			out = append(out, literal(rapid.SampledFrom([]byte("ab.*{,}\\/[")).Draw(t, "byte")))
		}
	}
	return out
}

func TestPatternAgainstModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		terms := drawTerms(t, 2)
		text := textOf(terms)
		if text == "" {
			return
		}
		p, err := ParsePattern(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for range 8 {
			tag := rapid.StringOfN(rapid.RuneFrom([]rune("ab.*{,\\/[")), 0, 8, -1).Draw(t, "tag")
			if want := endsOf(terms, tag, 0)[len(tag)]; p.Match(tag) != want {
				t.Fatalf("%q and %q: got %v, want %v", text, tag, !want, want)
			}
		}
	})
}

// A hostile pattern on a hostile tag takes a bounded time.
func TestPatternBounded(t *testing.T) {
	t.Parallel()
	p, err := ParsePattern(strings.Repeat("{a*,**a,", 250) + strings.Repeat("**.", 600))
	if err != nil {
		t.Fatal(err)
	}
	if p.Match(strings.Repeat("a.", 512) + "\x00") {
		t.Log("matches")
	}
	if _, err := ParsePattern(strings.Repeat("{", maxPattern)); err != nil {
		t.Error(err)
	}
}

func FuzzPattern(f *testing.F) {
	for _, c := range cases {
		for _, tag := range append(c.yes, c.not...) {
			f.Add(c.pattern, tag)
		}
	}
	f.Add(`/[^]a[:alpha:]\]]/`, "a")
	f.Fuzz(func(t *testing.T, pattern, tag string) {
		if len(tag) > 100 || len(pattern) > 200 {
			return
		}
		p, err := ParsePattern(pattern)
		if err != nil {
			if p != nil {
				t.Error("a pattern with an error")
			}
			return
		}
		got := p.Match(tag)
		alternatives := false
		for _, one := range strings.Fields(pattern) {
			q, err := ParsePattern(one)
			if err != nil {
				t.Fatalf("%q is good, its part %q is not: %v", pattern, one, err)
			}
			alternatives = alternatives || q.Match(tag)
		}
		if got != alternatives {
			t.Errorf("%q and %q: %v, its parts %v", pattern, tag, got, alternatives)
		}
		if strings.ContainsAny(pattern, "*{}\\/") || len(strings.Fields(pattern)) != 1 {
			return
		}
		if got != (strings.TrimSpace(pattern) == tag) {
			t.Errorf("the plain pattern %q and %q: %v", pattern, tag, got)
		}
	})
}

// FuzzKeep keeps any body under each policy. Nothing of an accepted body is
// lost: what is not in the stream is in a dead letter.
func FuzzKeep(f *testing.F) {
	f.Add(entry("1,2\n"))
	f.Add(join(entry(map[string]any{"message": "a"}), entry(map[string]any{"value": 1.5}), entry(nil)))
	f.Add([]byte("RIFF"))
	f.Add(join(entry("a"), []byte{0x92, 0xd7, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0x80, 0x91, 1, 0x92}))
	f.Add([]byte{0x92, 0, 0xdf, 255, 255, 255, 255})
	f.Add([]byte{0x92, 0, 0x81, 0xa3})
	r, err := New(Options{Policies: everyKeep, Now: clock})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, ru := range r.rules {
			for _, raw := range []bool{false, true} {
				out, err := ru.extract(new(work), &Batch{Entries: body, Raw: raw})
				if err != nil {
					continue
				}
				bad := 0
				for _, b := range out.bad {
					bad += len(b.data)
					if b.reason == "" || b.detail == "" || b.records == 0 {
						t.Errorf("a refusal that says nothing: %+v", b)
					}
				}
				if out.records == 0 && bad != len(body) && len(out.data) != len(body) {
					t.Errorf("%s, raw %v: of %d bytes %d are kept and %d refused", ru.Name, raw, len(body), len(out.data), bad)
				}
				if bad > len(body) {
					t.Errorf("%s: %d bytes refused of %d", ru.Name, bad, len(body))
				}
			}
		}
	})
}

func ExampleRouter_Explain() {
	r, err := New(Options{Policies: []Policy{{Name: "logs", Match: "app.**"}, {Name: "rest", Match: "**"}}})
	if err != nil {
		panic(err)
	}
	for _, t := range r.Explain("web.access").Trials {
		fmt.Println(t.Policy, t.Match, t.Matches, t.Takes)
	}
	// Output:
	// logs app.** false false
	// rest ** true true
}
