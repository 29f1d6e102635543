package slap

import (
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
	r := reader{scanner: scanner{b: b, names: map[string]string{}}, known: map[string]counted{}}
	v, err := r.document()
	if err != nil && !errors.Is(err, ErrMarshal) {
		err = fmt.Errorf("%w: %w", ErrMarshal, err)
	}
	return v, err
}

// A reader walks the tokens of a document.
type reader struct {
	scanner
	known  map[string]counted // by id: containers that are complete
	count  int
	pieces []string // of the text that is being read
}

// A counted is a value and the number of values in it.
type counted struct {
	value any
	count int
}

func (r *reader) document() (any, error) {
	if _, err := r.start(); err != nil {
		return nil, err
	}
	if r.name != "marshal" {
		return nil, fmt.Errorf("%w: the root is no <marshal>", ErrMarshal)
	}
	v, err := r.one("marshal")
	if err != nil {
		return nil, err
	}
	switch _, err := r.start(); {
	case err == io.EOF:
		return v, nil
	case err != nil:
		return nil, err
	}
	return nil, fmt.Errorf("%w: something follows the document", ErrMarshal)
}

// start comes to the next element; false at the end of the parent.
func (r *reader) start() (bool, error) {
	for {
		if err := r.next(); err != nil {
			return false, err
		}
		switch {
		case r.kind != textToken:
			return r.kind == startToken, nil
		case strings.TrimSpace(r.text) != "":
			return false, fmt.Errorf("%w: text between elements: %.40q", ErrMarshal, r.text)
		}
	}
}

// one reads the only value of an element.
func (r *reader) one(parent string) (any, error) {
	if there, err := r.start(); err != nil {
		return nil, err
	} else if !there {
		return nil, fmt.Errorf("%w: <%s> is empty", ErrMarshal, parent)
	}
	v, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if more, err := r.start(); err != nil || more {
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

// value reads the element that start has come to.
func (r *reader) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%w: deeper than %d", ErrMarshal, maxDepth)
	}
	if err := r.grow(1); err != nil {
		return nil, err
	}
	switch tag := r.name; tag {
	case "tuple", "list", "set", "dictionary", "object":
		return r.container(tag, depth)
	case "reference":
		return r.reference()
	case "none", "bool", "int", "long", "float", "string", "unicode":
		text, err := r.content(tag)
		if err != nil {
			return nil, err
		}
		return scalar(tag, text)
	default:
		return nil, fmt.Errorf("%w: unknown element <%.40s>", ErrMarshal, tag)
	}
}

func (r *reader) container(tag string, depth int) (v any, err error) {
	before, id := r.count, r.attribute("id")
	switch tag {
	case "dictionary":
		v, err = r.dict(depth)
	case "object":
		v, err = r.object(depth)
	default:
		var items []any
		items, err = r.items(depth)
		switch tag {
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
	if id != "" {
		r.known[id] = counted{v, r.count - before + 1}
	}
	return v, nil
}

func (r *reader) reference() (any, error) {
	id := r.attribute("id")
	k, ok := r.known[id]
	if !ok {
		return nil, fmt.Errorf("%w: reference to %.40q, which is not complete before it", ErrMarshal, id)
	}
	if err := r.grow(k.count); err != nil {
		return nil, err
	}
	if more, err := r.start(); err != nil || more {
		return nil, errors.Join(err, fmt.Errorf("%w: a reference is not empty", ErrMarshal))
	}
	return k.value, nil
}

func (r *reader) items(depth int) ([]any, error) {
	items := []any{}
	for {
		more, err := r.start()
		if err != nil || !more {
			return items, err
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, v)
	}
}

func (r *reader) dict(depth int) (map[string]any, error) {
	items, err := r.items(depth)
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

func (r *reader) object(depth int) (*Object, error) {
	class, m := r.attribute("class"), r.attribute("module")
	n, ok := classes[class]
	if !ok || m != module {
		return nil, fmt.Errorf("%w: class %.60q of module %.60q is not one of SLAP's", ErrMarshal, class, m)
	}
	items, err := r.items(depth)
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

// content reads the text of an element, to its end.
func (r *reader) content(tag string) (string, error) {
	for r.pieces = r.pieces[:0]; ; {
		if err := r.next(); err != nil {
			return "", err
		}
		switch r.kind {
		case textToken:
			r.pieces = append(r.pieces, r.text)
		case endToken:
			return strings.Join(r.pieces, ""), nil
		default:
			return "", fmt.Errorf("%w: <%s> has more than text in it", ErrMarshal, tag)
		}
	}
}

// unescape takes off the marshaller's own escapes; XML's are gone already.
var unescape = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

func scalar(tag, text string) (any, error) {
	switch tag {
	case "string", "unicode":
		if strings.IndexByte(text, '&') < 0 {
			return text, nil
		}
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
