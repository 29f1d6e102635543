package slap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A scanner parts a document into starts and ends of elements and the text
// between them. Of XML it knows what values need: elements and attributes
// whose names are ASCII, text, the five entities that are not declared, and
// UTF-8. Comments and instructions are passed over; a document type, and with
// it all other entities, is refused. What it takes encoding/xml takes, too, as
// the same; that one would be most of the work of a node's run.
type scanner struct {
	b     []byte
	at    int
	open  []string          // names of the elements that are open
	names map[string]string // each name once
	short bool              // the start was <name/>: its end is next

	// The token that next came to.
	kind  tokenKind
	name  string // of a start or end
	attrs []attr // of a start
	text  string
}

type tokenKind byte

const (
	startToken tokenKind = iota
	endToken
	textToken
)

type attr struct{ name, value string }

var errSyntax = errors.New("no well-formed XML")

// attribute gives the first of the name, or "".
func (s *scanner) attribute(name string) string {
	for _, a := range s.attrs {
		if a.name == name {
			return a.value
		}
	}
	return ""
}

// next comes to the next token, or gives io.EOF when all elements have ended.
func (s *scanner) next() error {
	if s.short {
		s.short = false
		return s.end(s.open[len(s.open)-1])
	}
	for s.at < len(s.b) {
		if s.b[s.at] != '<' {
			return s.chars()
		}
		rest := s.b[s.at+1:]
		switch {
		case bytes.HasPrefix(rest, []byte("/")):
			return s.endTag()
		case bytes.HasPrefix(rest, []byte("?")):
			if err := s.instruction(); err != nil {
				return err
			}
		case bytes.HasPrefix(rest, []byte("!--")):
			s.at += len("<!--")
			if _, err := s.until("--"); err != nil {
				return err
			}
			if !s.take('>') {
				return s.bad("a comment with -- in it")
			}
		case bytes.HasPrefix(rest, []byte("![CDATA[")):
			s.at += len("<![CDATA[")
			return s.data()
		case bytes.HasPrefix(rest, []byte("!")):
			return s.bad("a document type is not allowed")
		default:
			return s.startTag()
		}
	}
	if len(s.open) > 0 {
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}

func (s *scanner) bad(what string) error {
	return fmt.Errorf("%w: %s before byte %d", errSyntax, what, s.at)
}

// startTag reads <name attribute="value" …> or the same with />.
func (s *scanner) startTag() (err error) {
	s.at++
	if s.name, err = s.word(); err != nil {
		return err
	}
	s.kind, s.attrs = startToken, s.attrs[:0]
	for {
		s.space()
		switch {
		case s.take('/'):
			s.short = true
			if !s.take('>') {
				return s.bad("/ without >")
			}
			fallthrough
		case s.take('>'):
			s.open = append(s.open, s.name)
			return nil
		}
		a, err := s.attr()
		if err != nil {
			return err
		}
		s.attrs = append(s.attrs, a)
	}
}

func (s *scanner) attr() (a attr, err error) {
	if a.name, err = s.word(); err != nil {
		return a, err
	}
	s.space()
	if !s.take('=') {
		return a, s.bad("an attribute without a value")
	}
	s.space()
	quote := "\""
	if !s.take('"') {
		if quote = "'"; !s.take('\'') {
			return a, s.bad("a value without quotes")
		}
	}
	raw, err := s.until(quote)
	if err == nil && bytes.IndexByte(raw, '<') >= 0 {
		err = s.bad("< in a value")
	}
	if err == nil {
		a.value, err = s.decode(raw)
	}
	return a, err
}

func (s *scanner) endTag() error {
	s.at += len("</")
	name, err := s.word()
	if err != nil {
		return err
	}
	s.space()
	if !s.take('>') || len(s.open) == 0 || s.open[len(s.open)-1] != name {
		return s.bad("an end of what is not open")
	}
	return s.end(name)
}

func (s *scanner) end(name string) error {
	s.kind, s.name = endToken, name
	s.open = s.open[:len(s.open)-1]
	return nil
}

// instruction passes over <? … ?>. The one named xml tells the encoding.
func (s *scanner) instruction() error {
	s.at += len("<?")
	target, err := s.word()
	if err != nil {
		return err
	}
	if c := s.b[min(s.at, len(s.b)-1)]; c != '?' && c > ' ' {
		return s.bad("a name that is none")
	}
	for s.space(); target == "xml" && !bytes.HasPrefix(s.b[s.at:], []byte("?>")); s.space() {
		a, err := s.attr()
		if err != nil {
			return err
		}
		if a.name == "version" && a.value != "1.0" || a.name == "encoding" && !strings.EqualFold(a.value, "utf-8") {
			return s.bad("neither XML 1.0 nor UTF-8")
		}
	}
	_, err = s.until("?>")
	return err
}

// chars reads text up to the next element.
func (s *scanner) chars() (err error) {
	raw := s.b[s.at:]
	if end := bytes.IndexByte(raw, '<'); end >= 0 {
		raw = raw[:end]
	}
	s.at += len(raw)
	if bytes.Contains(raw, []byte("]]>")) {
		return s.bad("]]> outside of CDATA")
	}
	s.kind = textToken
	s.text, err = s.decode(raw)
	return err
}

// data reads the text of a CDATA section, in which & is itself.
func (s *scanner) data() error {
	raw, err := s.until("]]>")
	if err != nil {
		return err
	}
	s.kind = textToken
	s.text, err = s.decode(bytes.ReplaceAll(raw, []byte("&"), []byte("&amp;")))
	return err
}

// decode gives text as it was before it was written as XML.
func (s *scanner) decode(raw []byte) (string, error) {
	if plain(raw) {
		return string(raw), nil
	}
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		r, size := utf8.DecodeRune(raw)
		switch {
		case r == utf8.RuneError && size == 1:
			return "", s.bad("a byte that is no UTF-8")
		case r == '&':
			r, size = entity(raw)
		case r == '\r':
			r, size = '\n', 1+len(raw[1:])-len(bytes.TrimPrefix(raw[1:], []byte("\n")))
		}
		if !isXML(r) {
			return "", s.bad("an entity or character that is not allowed")
		}
		out, raw = utf8.AppendRune(out, r), raw[size:]
	}
	return string(out), nil
}

// plain tells whether text is itself.
func plain(raw []byte) bool {
	for _, c := range raw {
		if c < ' ' && c != '\n' && c != '\t' || c == '&' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// entity gives the character that &name; stands for and the bytes that it
// takes, or -1.
func entity(raw []byte) (r rune, size int) {
	name, _, ended := strings.Cut(string(raw[1:min(len(raw), 16)]), ";")
	if !ended {
		return -1, 0
	}
	size = len(name) + len("&;")
	base := 10
	switch {
	case name == "lt":
		return '<', size
	case name == "gt":
		return '>', size
	case name == "amp":
		return '&', size
	case name == "apos":
		return '\'', size
	case name == "quot":
		return '"', size
	case strings.HasPrefix(name, "#x"):
		base, name = 16, name[1:]
	case !strings.HasPrefix(name, "#"):
		return -1, 0
	}
	n, err := strconv.ParseUint(name[1:], base, 31)
	if err != nil {
		return -1, 0
	}
	return rune(n), size
}

// until gives what comes before the end, and passes that.
func (s *scanner) until(end string) ([]byte, error) {
	n := bytes.Index(s.b[s.at:], []byte(end))
	if n < 0 {
		return nil, io.ErrUnexpectedEOF
	}
	raw := s.b[s.at : s.at+n]
	s.at += n + len(end)
	return raw, nil
}

// take passes a byte, if it is the next.
func (s *scanner) take(c byte) bool {
	if s.at == len(s.b) || s.b[s.at] != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) space() {
	for s.take(' ') || s.take('\n') || s.take('\t') || s.take('\r') {
	}
}

// word gives the name of an element, attribute or instruction.
func (s *scanner) word() (string, error) {
	from := s.at
	for ; s.at < len(s.b); s.at++ {
		c := s.b[s.at]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (s.at == from || !(c >= '0' && c <= '9' || c == '-' || c == '.')) {
			break
		}
	}
	if s.at == from {
		return "", s.bad("no name")
	}
	if name, ok := s.names[string(s.b[from:s.at])]; ok {
		return name, nil
	}
	name := string(s.b[from:s.at])
	s.names[name] = name
	return name, nil
}
