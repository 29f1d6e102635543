package slap

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Parameters of an instance, and what it publishes, are text by name. Empty
// text and no text are the same on the way: "" stands for both.
type Parameters map[string]string

// ToParameters makes the values of a dictionary text, as masters keep them.
func ToParameters(m map[string]any) Parameters {
	p := make(Parameters, len(m))
	for k, v := range m {
		p[k] = PythonText(v)
	}
	return p
}

// Values gives the dictionary for the wire; empty text is none there.
func (p Parameters) Values() map[string]any {
	m := make(map[string]any, len(p))
	for k, v := range p {
		if v == "" {
			m[k] = nil
		} else {
			m[k] = v
		}
	}
	return m
}

// XML gives the parameters' own document: an element <parameter id="name"> of
// text each, sorted by name.
func (p Parameters) XML() string {
	var b bytes.Buffer
	b.WriteString("<?xml version='1.0' encoding='utf-8'?>\n<instance>\n")
	if len(p) == 0 {
		b.Reset()
		b.WriteString("<?xml version='1.0' encoding='utf-8'?>\n<instance/>\n")
		return b.String()
	}
	for _, k := range slices.Sorted(maps.Keys(p)) {
		b.WriteString(`  <parameter id="`)
		escape(&b, k, true)
		if p[k] == "" {
			b.WriteString("\"/>\n")
			continue
		}
		b.WriteString(`">`)
		escape(&b, p[k], false)
		b.WriteString("</parameter>\n")
	}
	b.WriteString("</instance>\n")
	return b.String()
}

func escape(b *bytes.Buffer, s string, quoted bool) {
	for _, r := range s {
		switch {
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '"' && quoted:
			b.WriteString("&quot;")
		case r == '\r' || quoted && (r == '\n' || r == '\t'):
			fmt.Fprintf(b, "&#%d;", r)
		case isXML(r):
			b.WriteRune(r)
		default:
			b.WriteRune('�')
		}
	}
}

// ParseParameters reads the document of parameters. A name that comes twice
// has its texts joined by a space.
func ParseParameters(b []byte) (Parameters, error) {
	p, err := parseParameters(xml.NewDecoder(bytes.NewReader(b)))
	if err != nil {
		return nil, fmt.Errorf("slap: parameter document: %w", err)
	}
	return p, nil
}

func parseParameters(d *xml.Decoder) (Parameters, error) {
	p := Parameters{}
	depth := 0
	var name string
	var text strings.Builder
	for {
		t, err := d.Token()
		if err == io.EOF {
			return p, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.Directive:
			return nil, errors.New("a document type is not allowed")
		case xml.StartElement:
			if depth++; depth > 2 || depth == 2 && t.Name.Local != "parameter" {
				return nil, fmt.Errorf("element <%.40s> is not expected", t.Name.Local)
			}
			name = ""
			if k := slices.IndexFunc(t.Attr, func(a xml.Attr) bool { return a.Name.Local == "id" }); k >= 0 {
				name = t.Attr[k].Value
			}
			text.Reset()
		case xml.CharData:
			if depth == 2 {
				text.Write(t)
			}
		case xml.EndElement:
			if depth--; depth == 1 {
				if old, ok := p[name]; ok {
					p[name] = old + " " + text.String()
				} else {
					p[name] = text.String()
				}
			}
		}
	}
}

// JSONKey is the parameter that holds all of an instance's parameters as one
// JSON text, where its software release says that it takes "json-in-xml".
const JSONKey = "_"

// JSONParameters puts any JSON value into the one parameter "_".
func JSONParameters(v any) (Parameters, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("slap: parameters as JSON: %w", err)
	}
	return Parameters{JSONKey: string(b)}, nil
}
