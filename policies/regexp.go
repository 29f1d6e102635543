package policies

import (
	"fmt"
	"regexp"
	"strings"
)

// An expression is a regular expression over the whole tag.
type expression struct{ re *regexp.Regexp }

func (e expression) match(tag string) bool { return e.re.MatchString(tag) }

// parseRegexp reads a regular expression that fluentd gives to Ruby. What RE2
// lacks, or would read as something else without a word, is refused by name.
func parseRegexp(s string) (matcher, error) {
	if what := rubyOnly(s); what != "" {
		return nil, fmt.Errorf("pattern /%s/ uses %s: write it with ** and {x,y}, or as two policies in order", s, what)
	}
	re, err := regexp.Compile(`(?s)\A(?:` + s + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("pattern /%s/ is not understood: %w", s, err)
	}
	return expression{re}, nil
}

// rubyParts are parts of Ruby's expressions that RE2 has not, or has for
// something else.
var rubyParts = []struct{ text, name string }{
	{"(?=", "look-ahead, (?=…), which RE2 expressions do not have"},
	{"(?!", "look-ahead, (?!…), which RE2 expressions do not have"},
	{"(?<=", "look-behind, (?<=…), which RE2 expressions do not have"},
	{"(?<!", "look-behind, (?<!…), which RE2 expressions do not have"},
	{"(?>", "an atomic group, (?>…), which RE2 expressions do not have"},
	{"(?#", "a comment, (?#…), which RE2 expressions do not have"},
	{"{,", "{,n}, which is {0,n} in Ruby and plain text in RE2"},
}

// rubyOnly names the first part of an expression that means something else
// here than in Ruby; empty when there is none.
func rubyOnly(s string) string {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
			if what := rubyEscape(s[i:]); what != "" {
				return what
			}
		case '[':
			n, what := rubyClass(s[i:])
			if what != "" {
				return what
			}
			i += n - 1
		default:
			for _, p := range rubyParts {
				if strings.HasPrefix(s[i:], p.text) {
					return p.name
				}
			}
		}
	}
	return ""
}

// rubyClass looks at the set […] that begins s, as rubyOnly does, and gives
// its length.
func rubyClass(s string) (n int, what string) {
	i := 1
	if strings.HasPrefix(s[i:], "^") {
		i++
	}
	if strings.HasPrefix(s[i:], "]") {
		i++ // plain as the first of a set
	}
	for i < len(s) && s[i] != ']' {
		switch rest := s[i:]; {
		case s[i] == '\\':
			i++
			if what := rubyEscape(s[i:]); what != "" {
				return 0, what
			}
		case strings.HasPrefix(rest, "&&"):
			return 0, "&& inside [], which is an intersection in Ruby and plain text in RE2"
		case strings.HasPrefix(rest, "[:") && strings.Contains(rest, ":]"):
			i += strings.Index(rest, ":]") + 1
		case s[i] == '[':
			return 0, "[ inside [], which is a nested set in Ruby and plain text in RE2"
		}
		i++
	}
	return min(i+1, len(s)), ""
}

// rubyEscape looks at what follows a backslash.
func rubyEscape(s string) string {
	if s == "" {
		return ""
	}
	switch c := s[0]; {
	case c >= '1' && c <= '9' || c == 'k':
		return `a reference to a group, \` + string(c) + ", which RE2 expressions do not have"
	case strings.IndexByte("hHGKRXQECZeuM", c) >= 0:
		return `\` + string(c) + ", which RE2 expressions do not have in Ruby's meaning"
	}
	return ""
}
