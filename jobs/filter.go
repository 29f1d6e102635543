package jobs

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// A filter is a CIMI filter: "attribute operator value", joined by "and",
// which binds tighter, and "or", with parentheses.
type filter func(*Job) bool

// parseFilter reads a filter; dates such as 'now-7d' are relative to now.
func parseFilter(text string, now time.Time) (filter, error) {
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &filterParser{tokens: tokens, now: now}
	f, err := p.any()
	if err != nil {
		return nil, err
	}
	if t := p.next(); t.kind != tokenEnd {
		return nil, invalid("filter: %q is not expected after a whole filter", t.text)
	}
	return f, nil
}

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenString
	tokenMark // an operator, a bracket, a comma
)

type token struct {
	kind tokenKind
	text string
}

// marks are the longest first.
var marks = []string{"!=", "<=", ">=", "^=", "==", "=", "<", ">", "(", ")", "[", "]", ","}

// lex cuts a filter into tokens.
func lex(text string) ([]token, error) {
	const most = 10_000
	if len(text) > most {
		return nil, invalid("filter: it has %d bytes; up to %d are read", len(text), most)
	}
	var list []token
next:
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		if text[0] == '\'' || text[0] == '"' {
			body, rest, ok := strings.Cut(text[1:], text[:1])
			if !ok {
				return nil, invalid("filter: the string %.40s has no end", text)
			}
			list = append(list, token{tokenString, body})
			text = rest
			continue
		}
		for _, m := range marks {
			if rest, ok := strings.CutPrefix(text, m); ok {
				list = append(list, token{tokenMark, m})
				text = rest
				continue next
			}
		}
		end := strings.IndexAny(text, " \t\r\n'\"!=<>^()[],")
		if end < 0 {
			end = len(text)
		}
		if end == 0 {
			return nil, invalid("filter: %q has no meaning here", text[:1])
		}
		list = append(list, token{tokenWord, text[:end]})
		text = text[end:]
	}
	return list, nil
}

type filterParser struct {
	tokens []token
	now    time.Time
	depth  int
}

func (p *filterParser) peek() token {
	if len(p.tokens) == 0 {
		return token{}
	}
	return p.tokens[0]
}

func (p *filterParser) next() token {
	t := p.peek()
	if t.kind != tokenEnd {
		p.tokens = p.tokens[1:]
	}
	return t
}

// is takes the next token when it is the given one.
func (p *filterParser) is(kind tokenKind, text string) bool {
	if t := p.peek(); t.kind != kind || !strings.EqualFold(t.text, text) {
		return false
	}
	p.next()
	return true
}

func (p *filterParser) any() (filter, error) {
	left, err := p.all()
	for err == nil && p.is(tokenWord, "or") {
		var right filter
		if right, err = p.all(); err == nil {
			before := left
			left = func(j *Job) bool { return before(j) || right(j) }
		}
	}
	return left, err
}

func (p *filterParser) all() (filter, error) {
	left, err := p.one()
	for err == nil && p.is(tokenWord, "and") {
		var right filter
		if right, err = p.one(); err == nil {
			before := left
			left = func(j *Job) bool { return before(j) && right(j) }
		}
	}
	return left, err
}

func (p *filterParser) one() (filter, error) {
	if !p.is(tokenMark, "(") {
		return p.comparison()
	}
	const deepest = 100
	if p.depth++; p.depth > deepest {
		return nil, invalid("filter: more than %d parentheses in each other", deepest)
	}
	f, err := p.any()
	p.depth--
	if err == nil && !p.is(tokenMark, ")") {
		return nil, invalid("filter: a parenthesis is not closed")
	}
	return f, err
}

// mirrored is an operator as it reads from the other side.
var mirrored = map[string]string{"=": "=", "!=": "!=", "==": "==", "^=": "^=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

// comparison reads "attribute operator value", either way round.
func (p *filterParser) comparison() (filter, error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	op := p.next()
	if _, ok := mirrored[op.text]; op.kind != tokenMark || !ok {
		return nil, invalid("filter: %q is no operator; use = != < <= > >= ^= ==", op.text)
	}
	right, err := p.operand()
	if err != nil {
		return nil, err
	}
	operator := op.text
	if left.attribute == nil {
		left, right, operator = right, left, mirrored[operator]
	}
	if left.attribute == nil || right.attribute != nil {
		return nil, invalid("filter: a comparison is one attribute, an operator and one value")
	}
	return func(j *Job) bool {
		for _, v := range right.values {
			if holds(left.attribute(j), operator, v) {
				return true
			}
		}
		return false
	}, nil
}

// An operand is an attribute, or values of which any may fit.
type operand struct {
	attribute func(*Job) []any
	values    []any // string, int64, bool or nil
}

func (p *filterParser) operand() (operand, error) {
	switch t := p.next(); {
	case t.kind == tokenString:
		return operand{values: []any{p.date(t.text)}}, nil
	case t.kind == tokenMark && t.text == "[":
		return p.list()
	case t.kind == tokenWord:
		return p.word(t.text)
	case t.kind == tokenEnd:
		return operand{}, invalid("filter: it ends early")
	default:
		return operand{}, invalid("filter: %q is no attribute and no value", t.text)
	}
}

// list reads the rest of ['a', 'b'].
func (p *filterParser) list() (operand, error) {
	var all operand
	for {
		o, err := p.operand()
		if err != nil {
			return o, err
		}
		if o.attribute != nil {
			return o, invalid("filter: a list holds values")
		}
		all.values = append(all.values, o.values...)
		if p.is(tokenMark, "]") {
			return all, nil
		}
		if !p.is(tokenMark, ",") {
			return o, invalid("filter: a list is not closed by ]")
		}
	}
}

func (p *filterParser) word(text string) (operand, error) {
	switch text {
	case "null":
		return operand{values: []any{nil}}, nil
	case "true", "false":
		return operand{values: []any{text == "true"}}, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return operand{values: []any{n}}, nil
	}
	if text[0] >= '0' && text[0] <= '9' || strings.HasPrefix(text, "now") {
		return operand{values: []any{p.date(text)}}, nil
	}
	if text == "property" && p.is(tokenMark, "[") {
		key := p.next()
		if key.kind != tokenString || !p.is(tokenMark, "]") {
			return operand{}, invalid("filter: write property['name']")
		}
		return operand{attribute: func(j *Job) []any { return texts(j.Properties[key.text]) }}, nil
	}
	of, ok := attribute(text)
	if !ok {
		of = func(*Job) []any { return nil } // as missing
	}
	return operand{attribute: of}, nil
}

// date turns 'now-7d' into a time; other texts stay.
func (p *filterParser) date(text string) string {
	rest, ok := strings.CutPrefix(text, "now")
	if !ok {
		return text
	}
	if rest == "" {
		return stamp(p.now)
	}
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'H': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	unit, ok := units[rest[len(rest)-1]]
	n, err := strconv.Atoi(rest[:len(rest)-1])
	if !ok || err != nil {
		return text
	}
	return stamp(p.now.Add(time.Duration(n) * unit))
}

// holds compares the values of an attribute, none when it is missing.
func holds(have []any, operator string, want any) bool {
	if want == nil {
		missing := len(have) == 0
		return operator == "!=" && !missing || (operator == "=" || operator == "==") && missing
	}
	if operator == "!=" {
		for _, h := range have {
			if c, ok := compare(h, want); ok && c == 0 {
				return false
			}
		}
		return true
	}
	for _, h := range have {
		if holdsOne(h, operator, want) {
			return true
		}
	}
	return false
}

func holdsOne(have any, operator string, want any) bool {
	if operator == "^=" || operator == "==" {
		h, ok1 := have.(string)
		w, ok2 := want.(string)
		if ok1 && ok2 && operator == "^=" {
			return strings.HasPrefix(h, w)
		}
		if ok1 && ok2 {
			return strings.Contains(strings.ToLower(h), strings.ToLower(w))
		}
	}
	c, ok := compare(have, want)
	if !ok {
		return false
	}
	switch operator {
	case "=", "==":
		return c == 0
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	case ">=":
		return c >= 0
	}
	return false
}

// compare orders two values of one kind; a number may be written as a string.
func compare(a, b any) (int, bool) {
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			return cmp.Compare(x, y), true
		}
	case int64:
		switch y := b.(type) {
		case int64:
			return cmp.Compare(x, y), true
		case string:
			if n, err := strconv.ParseInt(y, 10, 64); err == nil {
				return cmp.Compare(x, n), true
			}
		}
	}
	return 0, false
}
