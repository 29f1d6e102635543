package slap

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// PythonText is what Python's str gives for a value. Parameters of instances
// are such text, so that masters agree on whether a request changed something.
func PythonText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b strings.Builder
	pythonRepr(&b, v)
	return b.String()
}

func pythonRepr(b *strings.Builder, v any) {
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int:
		b.WriteString(strconv.Itoa(v))
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case *big.Int:
		b.WriteString(v.String())
	case float64:
		b.WriteString(PythonFloat(v))
	case string:
		quote(b, v)
	case Tuple:
		pythonItems(b, "(", v, ")")
	case []any:
		pythonItems(b, "[", v, "]")
	case Set:
		if len(v) == 0 {
			b.WriteString("set()")
		} else {
			pythonItems(b, "{", v, "}")
		}
	case map[string]any:
		b.WriteByte('{')
		for i, k := range sortedKeys(v) {
			if i > 0 {
				b.WriteString(", ")
			}
			quote(b, k)
			b.WriteString(": ")
			pythonRepr(b, v[k])
		}
		b.WriteByte('}')
	case *Object:
		fmt.Fprintf(b, "<%s %s>", v.Class, PythonText(v.Args))
	}
}

func pythonItems(b *strings.Builder, open string, items []any, end string) {
	b.WriteString(open)
	for i, v := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		pythonRepr(b, v)
	}
	if open == "(" && len(items) == 1 {
		b.WriteByte(',')
	}
	b.WriteString(end)
}

// quote writes text as Python's repr does.
func quote(b *strings.Builder, s string) {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	b.WriteByte(q)
	for _, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(b, `\x%02x`, r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteByte(q)
}
