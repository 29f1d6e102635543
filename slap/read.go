package slap

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
)

// Unmarshal reads a document. Document types, unknown elements and entities,
// and classes other than SLAP's are refused. A reference gives the value that
// it names, and counts towards the limits as if it were written out.
func Unmarshal(b []byte) (any, error) {
	if len(b) > MaxDocument {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrMarshal, len(b), MaxDocument)
	}
	r := reader{d: xml.NewDecoder(bytes.NewReader(b)), known: map[string]counted{}}
	v, err := r.document()
	if err != nil && !errors.Is(err, ErrMarshal) {
		err = fmt.Errorf("%w: %w", ErrMarshal, err)
	}
	return v, err
}

// A reader walks the tokens of a document.
type reader struct {
	d     *xml.Decoder
	known map[string]counted // by id: containers that are complete
	count int
}

// A counted is a value and the number of values in it.
type counted struct {
	value any
	count int
}

func (r *reader) document() (any, error) {
	root, err := r.start("")
	if err != nil {
		return nil, err
	}
	if root == nil || root.Name.Local != "marshal" {
		return nil, fmt.Errorf("%w: the root is no <marshal>", ErrMarshal)
	}
	v, err := r.one("marshal")
	if err != nil {
		return nil, err
	}
	for {
		switch t, err := r.token(); {
		case err == io.EOF:
			return v, nil
		case err != nil:
			return nil, err
		case t != nil:
			return nil, fmt.Errorf("%w: something follows the document", ErrMarshal)
		}
	}
}

// token gives the next start or end, or nil for white space and comments.
func (r *reader) token() (xml.Token, error) {
	t, err := r.d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case xml.StartElement, xml.EndElement:
		return t, nil
	case xml.CharData:
		if len(bytes.TrimSpace(t)) > 0 {
			return nil, fmt.Errorf("%w: text between elements: %.40q", ErrMarshal, t)
		}
	case xml.Directive:
		return nil, fmt.Errorf("%w: a document type is not allowed", ErrMarshal)
	}
	return nil, nil
}

// start gives the next element, or nil at the end of the parent.
func (r *reader) start(parent string) (*xml.StartElement, error) {
	for {
		t, err := r.token()
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			return &t, nil
		case xml.EndElement:
			if parent == "" {
				return nil, fmt.Errorf("%w: an end without a start", ErrMarshal)
			}
			return nil, nil
		}
	}
}

// one reads the only value of an element.
func (r *reader) one(parent string) (any, error) {
	s, err := r.start(parent)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, fmt.Errorf("%w: <%s> is empty", ErrMarshal, parent)
	}
	v, err := r.value(s, 0)
	if err != nil {
		return nil, err
	}
	if s, err = r.start(parent); err != nil || s != nil {
		return nil, errors.Join(err, fmt.Errorf("%w: <%s> has more than one value", ErrMarshal, parent))
	}
	return v, nil
}

// grow counts values, and refuses a document that has or repeats too many.
func (r *reader) grow(n int) error {
	if r.count += n; r.count > maxValues {
		return fmt.Errorf("%w: more than %d values", ErrMarshal, maxValues)
	}
	return nil
}

func (r *reader) value(s *xml.StartElement, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%w: deeper than %d", ErrMarshal, maxDepth)
	}
	if err := r.grow(1); err != nil {
		return nil, err
	}
	switch tag := s.Name.Local; tag {
	case "tuple", "list", "set", "dictionary", "object":
		return r.container(s, depth)
	case "reference":
		return r.reference(s)
	case "none", "bool", "int", "long", "float", "string", "unicode":
		text, err := r.chars(tag)
		if err != nil {
			return nil, err
		}
		return scalar(tag, text)
	default:
		return nil, fmt.Errorf("%w: unknown element <%.40s>", ErrMarshal, tag)
	}
}

func (r *reader) container(s *xml.StartElement, depth int) (v any, err error) {
	before := r.count
	switch s.Name.Local {
	case "dictionary":
		v, err = r.dict(depth)
	case "object":
		v, err = r.object(s, depth)
	default:
		var items []any
		items, err = r.items(s.Name.Local, depth)
		switch s.Name.Local {
		case "tuple":
			v = Tuple(items)
		case "set":
			v = Set(items)
		default:
			v = items
		}
	}
	if err != nil {
		return nil, err
	}
	if id := attribute(s, "id"); id != "" {
		r.known[id] = counted{v, r.count - before + 1}
	}
	return v, nil
}

func (r *reader) reference(s *xml.StartElement) (any, error) {
	id := attribute(s, "id")
	k, ok := r.known[id]
	if !ok {
		return nil, fmt.Errorf("%w: reference to %.40q, which is not complete before it", ErrMarshal, id)
	}
	if err := r.grow(k.count); err != nil {
		return nil, err
	}
	if end, err := r.start("reference"); err != nil || end != nil {
		return nil, errors.Join(err, fmt.Errorf("%w: a reference is not empty", ErrMarshal))
	}
	return k.value, nil
}

func (r *reader) items(tag string, depth int) ([]any, error) {
	items := []any{}
	for {
		s, err := r.start(tag)
		if err != nil || s == nil {
			return items, err
		}
		v, err := r.value(s, depth+1)
		if err != nil {
			return nil, err
		}
		items = append(items, v)
	}
}

func (r *reader) dict(depth int) (map[string]any, error) {
	items, err := r.items("dictionary", depth)
	if err != nil {
		return nil, err
	}
	if len(items)%2 != 0 {
		return nil, fmt.Errorf("%w: a dictionary has a key without a value", ErrMarshal)
	}
	m := make(map[string]any, len(items)/2)
	for i := 0; i < len(items); i += 2 {
		switch items[i].(type) {
		case nil, bool, int64, *big.Int, float64, string:
			m[PythonText(items[i])] = items[i+1]
		default:
			return nil, fmt.Errorf("%w: a %T is no key of a dictionary", ErrMarshal, items[i])
		}
	}
	return m, nil
}

func (r *reader) object(s *xml.StartElement, depth int) (*Object, error) {
	class := attribute(s, "class")
	n, ok := classes[class]
	if m := attribute(s, "module"); !ok || m != module {
		return nil, fmt.Errorf("%w: class %.60q of module %.60q is not one of SLAP's", ErrMarshal, class, m)
	}
	items, err := r.items("object", depth)
	if err != nil {
		return nil, err
	}
	if len(items) == 2 {
		args, isArgs := items[0].(Tuple)
		attributes, isDict := items[1].(map[string]any)
		if isArgs && isDict && len(args) == n {
			return &Object{Class: class, Args: args, Attributes: attributes}, nil
		}
	}
	return nil, fmt.Errorf("%w: an object of class %s is a tuple of %d and a dictionary", ErrMarshal, class, n)
}

// chars reads the text of an element.
func (r *reader) chars(tag string) (string, error) {
	var text []byte
	for {
		t, err := r.d.Token()
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.CharData:
			text = append(text, t...)
		case xml.EndElement:
			return string(text), nil
		case xml.StartElement, xml.Directive:
			return "", fmt.Errorf("%w: <%s> has more than text in it", ErrMarshal, tag)
		}
	}
}

// unescape takes off the marshaller's own escapes; XML's are gone already.
var unescape = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

func scalar(tag, text string) (any, error) {
	switch tag {
	case "string", "unicode":
		return unescape.Replace(text), nil
	case "none":
		if text == "" {
			return nil, nil
		}
	case "bool":
		switch strings.TrimSpace(text) {
		case "0":
			return false, nil
		case "1":
			return true, nil
		}
	case "int", "long":
		return integer(strings.TrimSuffix(strings.TrimSpace(text), "L"))
	case "float":
		if f, err := strconv.ParseFloat(strings.TrimSpace(text), 64); err == nil && !strings.ContainsAny(text, "xX_") {
			return f, nil
		}
	}
	return nil, fmt.Errorf("%w: %.40q is no %s", ErrMarshal, text, tag)
}

func attribute(s *xml.StartElement, name string) string {
	for _, a := range s.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
