package tags

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A template is text and names in turn: piece i is a name where named[i].
type template struct {
	pieces []string
	named  []bool
}

// parseTemplate reads a text with {NAMES}.
func parseTemplate(s string) (template, error) {
	var t template
	for rest := s; rest != ""; {
		text, after, open := strings.Cut(rest, "{")
		if strings.Contains(text, "}") {
			return t, fmt.Errorf("%q closes a brace that it did not open: write {NAME}", s)
		}
		t.add(text, false)
		if !open {
			break
		}
		name, next, closed := strings.Cut(after, "}")
		if !closed {
			return t, fmt.Errorf("%q does not close its brace: write {NAME}", s)
		}
		if !goodName.MatchString(name) {
			return t, fmt.Errorf("%q has {%s}, which is no name: use small letters, digits and _, such as {sensor}", s, name)
		}
		t.add(name, true)
		rest = next
	}
	return t, nil
}

var goodName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (t *template) add(piece string, named bool) {
	if piece != "" {
		t.pieces, t.named = append(t.pieces, piece), append(t.named, named)
	}
}

func (t template) names() (list []string) {
	for i, named := range t.named {
		if named {
			list = append(list, t.pieces[i])
		}
	}
	return list
}

// fill writes the template with the values of its names.
func (t template) fill(value func(name string) string) string {
	var b strings.Builder
	for i, piece := range t.pieces {
		if t.named[i] {
			piece = value(piece)
		}
		b.WriteString(piece)
	}
	return b.String()
}

// A pattern takes a tag apart.
type pattern struct {
	re      *regexp.Regexp
	example string
}

// names lists the named groups.
func (p pattern) names() []string {
	return slices.DeleteFunc(slices.Clone(p.re.SubexpNames()), func(s string) bool { return s == "" })
}

// compilePattern reads a template or /RE/.
func compilePattern(s string) (pattern, error) {
	if len(s) > 1 && s[0] == '/' && s[len(s)-1] == '/' {
		return compileExpression(s)
	}
	t, err := parseTemplate(s)
	if err != nil {
		return pattern{}, err
	}
	var re strings.Builder
	seen := map[string]bool{}
	for i, piece := range t.pieces {
		if !t.named[i] {
			re.WriteString(regexp.QuoteMeta(piece))
			continue
		}
		if i > 0 && t.named[i-1] {
			return pattern{}, fmt.Errorf("%q has nothing between {%s} and {%s} that tells where one ends: put a text there", s, t.pieces[i-1], piece)
		}
		if seen[piece] {
			return pattern{}, fmt.Errorf("%q has {%s} twice: rename one", s, piece)
		}
		seen[piece] = true
		re.WriteString("(?P<" + piece + ">.+?)")
	}
	if len(seen) == 0 {
		return pattern{}, fmt.Errorf("%q names nothing: write names in braces, such as plant.{supply}.{product}", s)
	}
	compiled, err := regexp.Compile("^(?s:" + re.String() + ")$")
	return pattern{compiled, t.fill(func(name string) string { return name })}, err
}

func compileExpression(s string) (pattern, error) {
	re, err := regexp.Compile("^(?s:" + s[1:len(s)-1] + ")$")
	if err != nil {
		return pattern{}, fmt.Errorf("%s is no RE2 expression: %w", s, err)
	}
	p := pattern{re: re}
	names := p.names()
	if len(names) == 0 {
		return pattern{}, errors.New("the expression names nothing: write named groups, such as (?P<supply>[^.]+)")
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return pattern{}, fmt.Errorf("the expression has the group %s twice: rename one", name)
		}
	}
	return p, nil
}
