package slap

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"unicode/utf8"
)

// Marshal gives the document of a value, in ASCII. Text that XML cannot carry
// (control characters, bytes that are no UTF-8) is an error.
func Marshal(v any) ([]byte, error) { return AppendMarshal(nil, v) }

// AppendMarshal is Marshal behind bytes that are there.
func AppendMarshal(b []byte, v any) ([]byte, error) {
	w := writer{b: append(b, "<marshal>"...), id: 1}
	if err := w.value(v, 0); err != nil {
		return b, err
	}
	return append(w.b, "</marshal>"...), nil
}

// A writer numbers containers in the order of the document, from 2.
type writer struct {
	b  []byte
	id int
}

func (w *writer) value(v any, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: deeper than %d", ErrMarshal, maxDepth)
	}
	switch v := v.(type) {
	case nil:
		w.b = append(w.b, "<none/>"...)
	case bool:
		w.b = append(w.b, "<bool>0</bool>"...)
		if v {
			w.b[len(w.b)-len("0</bool>")] = '1'
		}
	case int:
		w.number("int", strconv.Itoa(v))
	case int64:
		w.number("int", strconv.FormatInt(v, 10))
	case *big.Int:
		w.bigInt(v)
	case float64:
		w.number("float", PythonFloat(v))
	case string:
		return w.text(v)
	case Tuple:
		return w.items("tuple", false, v, depth)
	case Set:
		return w.items("set", true, v, depth)
	case []any:
		return w.items("list", true, v, depth)
	case []string:
		return w.texts(v)
	case map[string]any:
		return w.dict(v, depth)
	case *Object:
		return w.object(v, depth)
	default:
		return fmt.Errorf("%w: a %T cannot be sent", ErrMarshal, v)
	}
	return nil
}

func (w *writer) number(tag, text string) {
	w.b = append(w.b, '<')
	w.b = append(w.b, tag...)
	w.b = append(w.b, '>')
	w.b = append(w.b, text...)
	w.close(tag)
}

// longFrom is where Python's writer begins to say long.
const longFrom = 24

func (w *writer) bigInt(n *big.Int) {
	text := n.String()
	if len(text) > longFrom {
		w.number("long", text)
	} else {
		w.number("int", text)
	}
}

// open begins a container with an id.
func (w *writer) open(tag string) {
	w.id++
	w.b = append(w.b, '<')
	w.b = append(w.b, tag...)
	w.b = append(w.b, ` id="i`...)
	w.b = strconv.AppendInt(w.b, int64(w.id), 10)
	w.b = append(w.b, '"')
}

func (w *writer) close(tag string) {
	w.b = append(w.b, "</"...)
	w.b = append(w.b, tag...)
	w.b = append(w.b, '>')
}

// begin opens a container; it tells false when it is empty and closed already.
func (w *writer) begin(tag string, numbered bool, n int) bool {
	if numbered {
		w.open(tag)
	} else {
		w.b = append(w.b, '<')
		w.b = append(w.b, tag...)
	}
	if n == 0 {
		w.b = append(w.b, "/>"...)
		return false
	}
	w.b = append(w.b, '>')
	return true
}

func (w *writer) items(tag string, numbered bool, items []any, depth int) error {
	if !w.begin(tag, numbered, len(items)) {
		return nil
	}
	for _, i := range items {
		if err := w.value(i, depth+1); err != nil {
			return err
		}
	}
	w.close(tag)
	return nil
}

func (w *writer) texts(items []string) error {
	if !w.begin("list", true, len(items)) {
		return nil
	}
	for _, i := range items {
		if err := w.text(i); err != nil {
			return err
		}
	}
	w.close("list")
	return nil
}

func (w *writer) dict(m map[string]any, depth int) error {
	if !w.begin("dictionary", true, len(m)) {
		return nil
	}
	for _, k := range sortedKeys(m) {
		if err := w.text(k); err != nil {
			return err
		}
		if err := w.value(m[k], depth+1); err != nil {
			return fmt.Errorf("%w (in %.40q)", err, k)
		}
	}
	w.close("dictionary")
	return nil
}

func (w *writer) object(o *Object, depth int) error {
	if n, ok := classes[o.Class]; !ok || n != len(o.Args) {
		return fmt.Errorf("%w: no object is a %.40q of %d arguments", ErrMarshal, o.Class, len(o.Args))
	}
	w.open("object")
	w.b = append(w.b, ` module="`+module+`" class="`...)
	w.b = append(w.b, o.Class...)
	w.b = append(w.b, `">`...)
	if err := w.items("tuple", false, o.Args, depth); err != nil {
		return err
	}
	if err := w.dict(o.Attributes, depth+1); err != nil {
		return err
	}
	w.close("object")
	return nil
}

// text writes text escaped twice: once as the marshaller does, and that again
// as XML.
func (w *writer) text(s string) error {
	w.b = append(w.b, "<string>"...)
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if !isXML(r) || r == utf8.RuneError && n == 1 {
				return fmt.Errorf("%w: text that XML cannot carry: %.40q", ErrMarshal, s)
			}
			w.b = append(w.b, "&#"...)
			w.b = strconv.AppendInt(w.b, int64(r), 10)
			w.b = append(w.b, ';')
			i += n
			continue
		}
		i++
		switch {
		case c == '&':
			w.b = append(w.b, "&amp;amp;"...)
		case c == '<':
			w.b = append(w.b, "&amp;lt;"...)
		case c == '>':
			w.b = append(w.b, "&amp;gt;"...)
		case c == '\r':
			w.b = append(w.b, "&#13;"...)
		case c < ' ' && c != '\t' && c != '\n':
			return fmt.Errorf("%w: text that XML cannot carry: %.40q", ErrMarshal, s)
		default:
			w.b = append(w.b, c)
		}
	}
	w.close("string")
	return nil
}

// isXML tells whether XML 1.0 has the character.
func isXML(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= ' ' && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000 && r <= 0x10ffff
}

// PythonFloat is Python's text of a float: the shortest that reads back, with
// an exponent below 1e-4 and from 1e16.
func PythonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 0):
		if f < 0 {
			return "-inf"
		}
		return "inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if f == math.Trunc(f) {
		text += ".0"
	}
	return text
}
