package tags

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// ErrTag: the tag is not written as its grammar says.
var ErrTag = errors.New("tags: bad tag")

// A Meaning is what a tag names.
type Meaning struct {
	Supply    string `json:"supply"`    // reference of the data supply
	Product   string `json:"product"`   // reference of the data product
	Ingestion string `json:"ingestion"` // reference of the data ingestion
	Stream    string `json:"stream"`    // that the data goes to
	// Fields are all that the grammar names in the tag.
	Fields map[string]string `json:"fields,omitempty"`
}

// A Grammar reads tags. It is safe for concurrent use.
type Grammar struct {
	spec    Spec
	read    func(tag string) (Meaning, error)
	example string
}

// Compile makes a grammar; the error names the first field that is wrong.
func (s Spec) Compile() (*Grammar, error) {
	bad := s.Validate()
	for _, field := range slices.Sorted(maps.Keys(bad)) {
		return nil, fmt.Errorf("tags: grammar: %s %w", field, bad[field])
	}
	return s.compile()
}

func (s Spec) compile() (*Grammar, error) {
	g := &Grammar{spec: s}
	switch s.Kind {
	case SensorProduct:
		g.read, g.example = readParts("sensor"), "sensor1.temperature"
	case MQTT:
		g.read, g.example = readParts("supply"), "broker1.temperature"
	case WholeTag:
		g.read, g.example = readWhole, "machine1.log"
	case Prefix:
		g.read, g.example = s.readPrefix, s.Prefix+"machine1"
	case Ebulk:
		g.read, g.example = readEbulk, "supplier/dataset/file/csv/END/1024/0cc175b9c0f1b6a831c399e269772661"
	default:
		if err := g.readPattern(); err != nil {
			return nil, err
		}
	}
	if len(s.Examples) > 0 {
		g.example = s.Examples[0]
	}
	return g, nil
}

// Read gives what a tag names, or ErrTag with an example of a good one.
func (g *Grammar) Read(tag string) (Meaning, error) {
	if !utf8.ValidString(tag) { // the catalog's journal and answers are JSON
		return Meaning{}, fmt.Errorf("%w: %q has bytes that are no UTF-8: write the tag in UTF-8", ErrTag, short(tag))
	}
	m, err := g.read(tag)
	if err == nil && (m.Supply == "" || m.Product == "" || m.Ingestion == "" || m.Stream == "") {
		err = errors.New("names an empty supply, product, ingestion or stream")
	}
	if err == nil {
		return m, nil
	}
	if g.example == "" {
		return Meaning{}, fmt.Errorf("%w: %q %w", ErrTag, short(tag), err)
	}
	return Meaning{}, fmt.Errorf("%w: %q %w: write it like %s", ErrTag, short(tag), err, g.example)
}

// readParts reads NAME.PRODUCT; further parts are ignored.
func readParts(name string) func(string) (Meaning, error) {
	return func(tag string) (Meaning, error) {
		first, rest, ok := strings.Cut(tag, ".")
		if !ok {
			return Meaning{}, fmt.Errorf("has no dot between %s and product", name)
		}
		product, _, _ := strings.Cut(rest, ".")
		if first == "" || product == "" {
			return Meaning{}, fmt.Errorf("has an empty %s or product", name)
		}
		return Meaning{Supply: first, Product: product, Ingestion: first, Stream: first + "." + product,
			Fields: map[string]string{name: first, "product": product}}, nil
	}
}

// readWhole takes the tag for the product.
func readWhole(tag string) (Meaning, error) {
	first, _, _ := strings.Cut(tag, ".")
	if first == "" {
		return Meaning{}, errors.New("begins with a dot")
	}
	return Meaning{Supply: first, Product: tag, Ingestion: first, Stream: tag}, nil
}

func (s Spec) readPrefix(tag string) (Meaning, error) {
	rest, ok := strings.CutPrefix(tag, s.Prefix)
	if !ok || rest == "" {
		return Meaning{}, fmt.Errorf("does not begin with %s and go on", s.Prefix)
	}
	return Meaning{Supply: rest, Product: s.Product, Ingestion: rest, Stream: tag, Fields: map[string]string{"supply": rest}}, nil
}

// Parts of a tag of ebulk, and the bytes that it cannot have.
const (
	ebulkParts = 7
	ebulkBad   = `&;#%"+`
)

// readEbulk reads the seven fields or more of Wendelin's data lake.
func readEbulk(tag string) (Meaning, error) {
	if i := strings.IndexAny(tag, ebulkBad); i >= 0 {
		return Meaning{}, fmt.Errorf("has a %q, which ebulk forbids", tag[i])
	}
	parts := strings.Split(tag, "/")
	n := len(parts)
	if n < ebulkParts {
		return Meaning{}, fmt.Errorf("has %d fields between slashes, and %d are the least", n, ebulkParts)
	}
	f := map[string]string{"supplier": parts[0], "dataset": parts[1], "filename": strings.Join(parts[2:n-4], "/"),
		"extension": parts[n-4], "eof": parts[n-3], "size": parts[n-2], "hash": parts[n-1]}
	file := f["dataset"] + "/" + f["filename"] + "/" + f["extension"]
	return Meaning{Supply: f["supplier"], Product: f["dataset"], Ingestion: file, Stream: file, Fields: f}, nil
}

// readPattern makes the reader of a pattern.
func (g *Grammar) readPattern() error {
	p, err := compilePattern(g.spec.Pattern)
	if err != nil {
		return err
	}
	templates := map[string]template{}
	for field, text := range g.spec.templates() {
		if templates[field], err = parseTemplate(text); err != nil {
			return err
		}
	}
	g.example = p.example
	names := p.re.SubexpNames()
	g.read = func(tag string) (Meaning, error) {
		found := p.re.FindStringSubmatch(tag)
		if found == nil {
			return Meaning{}, fmt.Errorf("does not match %s", g.spec.Pattern)
		}
		m := Meaning{Stream: tag, Fields: map[string]string{}}
		for i, name := range names {
			if name != "" {
				m.Fields[name] = found[i]
			}
		}
		value := func(name string) string { return m.Fields[name] }
		m.Supply, m.Product, m.Ingestion = templates["supply"].fill(value), templates["product"].fill(value), templates["ingestion"].fill(value)
		if t, ok := templates["stream"]; ok {
			m.Stream = t.fill(value)
		}
		return m, nil
	}
	return nil
}

// short cuts a text that a peer chose, for errors.
func short(s string) string {
	if len(s) <= 200 {
		return s
	}
	return s[:200] + "…"
}
