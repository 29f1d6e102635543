package policies

import (
	"errors"
	"fmt"
	"strings"
)

// maxPattern bounds the text of a list of patterns, so that a match costs a
// bounded number of steps.
const maxPattern = 4096

// A Pattern is a list of fluentd match patterns. It is safe for concurrent use.
type Pattern struct {
	text string
	any  []matcher
}

// A matcher is one alternative of a Pattern.
type matcher interface{ match(tag string) bool }

// ParsePattern reads patterns separated by white space; a tag matches the list
// when it matches one of them. DESIGN.md has the table of what they mean.
func ParsePattern(s string) (*Pattern, error) {
	if len(s) > maxPattern {
		return nil, fmt.Errorf("pattern of %d bytes is too long: write at most %d", len(s), maxPattern)
	}
	p := &Pattern{text: s}
	for _, field := range strings.Fields(s) {
		m, err := parseOne(field)
		if err != nil {
			return nil, err
		}
		p.any = append(p.any, m)
	}
	if len(p.any) == 0 {
		return nil, errors.New("pattern is empty: write ** to match every tag")
	}
	return p, nil
}

func parseOne(s string) (matcher, error) {
	if !strings.HasPrefix(s, "/") {
		return compile(parseGlob(s)), nil
	}
	if len(s) < 2 || !strings.HasSuffix(s, "/") {
		return nil, fmt.Errorf("pattern %q begins as a regular expression but does not end in /: write /…/, or \\/ for a tag that begins with a slash", s)
	}
	return parseRegexp(s[1 : len(s)-1])
}

// Match tells whether a tag matches.
func (p *Pattern) Match(tag string) bool {
	for _, m := range p.any {
		if m.match(tag) {
			return true
		}
	}
	return false
}

// String is the text that was parsed.
func (p *Pattern) String() string { return p.text }
