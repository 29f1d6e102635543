package master

import (
	"unicode/utf8"
)

// Limits of texts.
const (
	maxName   = 1024 // of computers, partitions, titles, types
	errorTail = 4096 // what is kept of an error's text
)

// checkText refuses text that XML cannot carry, so that no row makes the
// answers of a whole node impossible.
func checkText(what, s string) error {
	for i, r := range s {
		bad := r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff
		if r == utf8.RuneError {
			_, n := utf8.DecodeRuneInString(s[i:])
			bad = n <= 1
		}
		if bad {
			return badRequest("%s holds a character that XML cannot carry, at byte %d", what, i)
		}
	}
	return nil
}

// checkName is checkText for what is kept as a name.
func checkName(what, s string) error {
	if s == "" || len(s) > maxName {
		return badRequest("%s has %d bytes; 1 to %d are allowed", what, len(s), maxName)
	}
	return checkText(what, s)
}

// tail gives the end of a text, valid for XML.
func tail(s string) string {
	if len(s) > errorTail {
		s = s[len(s)-errorTail:]
	}
	b := make([]rune, 0, len(s))
	for _, r := range s {
		if checkText("", string(r)) != nil || r == utf8.RuneError {
			r = '?'
		}
		b = append(b, r)
	}
	return string(b)
}
