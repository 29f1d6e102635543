package tags

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Kinds of grammars.
const (
	SensorProduct = "sensor.product" // SENSOR.PRODUCT, and parts that are ignored
	WholeTag      = "tag"            // the tag is the product, its first part the supply
	Prefix        = "prefix"         // a fixed prefix, then the supply; the product is fixed
	MQTT          = "mqtt"           // SUPPLY.PRODUCT, and parts that are ignored
	Ebulk         = "ebulk"          // SUPPLIER/DATASET/FILE…/EXTENSION/EOF/SIZE/HASH
	Custom        = "pattern"        // as Spec.Pattern says
)

// A Spec says how the tags of a policy are written.
type Spec struct {
	Kind   string
	Prefix string // of kind prefix
	// Product of kind prefix; of kind pattern a template, "{product}" when it
	// is empty.
	Product string
	// Pattern of kind pattern: a text with {NAMES}, each of which takes as few
	// bytes as it can and at least one; or /RE/, an RE2 expression of the whole
	// tag with named groups.
	Pattern string
	// Templates of kind pattern, made of text and {NAMES} of the pattern:
	Supply    string // "{supply}" when it is empty
	Ingestion string // the supply when it is empty
	Stream    string // the tag itself when it is empty
	// Examples are tags that must be readable; they are shown to senders of
	// tags that are not.
	Examples []string
}

// options says which fields a kind has.
var options = map[string][]string{
	SensorProduct: nil, WholeTag: nil, MQTT: nil, Ebulk: nil,
	Prefix: {"prefix", "product"},
	Custom: {"pattern", "supply", "product", "ingestion", "stream"},
}

// Validate says what is wrong, by field (kind, prefix, product, pattern,
// supply, ingestion, stream, examples).
func (s Spec) Validate() map[string]error {
	bad := map[string]error{}
	allowed, known := options[s.Kind]
	if !known {
		bad["kind"] = fmt.Errorf("%q is not known: write %s, %s, %s, %s, %s or %s", s.Kind, SensorProduct, WholeTag, Prefix, MQTT, Ebulk, Custom)
		return bad
	}
	for name, value := range s.texts() {
		if value != "" && !slices.Contains(allowed, name) {
			bad[name] = fmt.Errorf("means nothing for a grammar of kind %s: remove it", s.Kind)
		}
	}
	switch {
	case s.Kind == Prefix && s.Prefix == "":
		bad["prefix"] = errors.New("is missing: write what each tag begins with, such as ors. or cdn-")
	case s.Kind == Prefix && s.Product == "":
		bad["product"] = errors.New("is missing: name the product that the data is")
	case s.Kind == Custom:
		s.validatePattern(bad)
	}
	if len(bad) > 0 {
		return bad
	}
	plain := s
	plain.Examples = nil // one that is wrong is not shown as right
	g, err := plain.compile()
	if err != nil {
		bad["pattern"] = err
		return bad
	}
	for _, tag := range s.Examples {
		if _, err := g.Read(tag); err != nil {
			bad["examples"] = err
		}
	}
	return bad
}

func (s Spec) texts() map[string]string {
	return map[string]string{"prefix": s.Prefix, "product": s.Product, "pattern": s.Pattern,
		"supply": s.Supply, "ingestion": s.Ingestion, "stream": s.Stream}
}

// validatePattern checks a pattern and that its templates know their names.
func (s Spec) validatePattern(bad map[string]error) {
	if s.Pattern == "" {
		bad["pattern"] = errors.New("is missing: write a text with names, such as plant.{supply}.{product}, or /RE/ with named groups")
		return
	}
	p, err := compilePattern(s.Pattern)
	if err != nil {
		bad["pattern"] = err
		return
	}
	for field, text := range s.templates() {
		t, err := parseTemplate(text)
		if err != nil {
			bad[field] = err
			continue
		}
		for _, name := range t.names() {
			if slices.Contains(p.names(), name) {
				continue
			}
			bad[field] = fmt.Errorf("%q asks for {%s}, which the pattern %s has not: it has %s", text, name, s.Pattern, braced(p.names()))
		}
	}
}

// templates gives those of a pattern, with their defaults.
func (s Spec) templates() map[string]string {
	t := map[string]string{"supply": s.Supply, "product": s.Product, "ingestion": s.Ingestion, "stream": s.Stream}
	for field, missing := range map[string]string{"supply": "{supply}", "product": "{product}"} {
		if t[field] == "" {
			t[field] = missing
		}
	}
	if t["ingestion"] == "" {
		t["ingestion"] = t["supply"]
	}
	if t["stream"] == "" {
		delete(t, "stream")
	}
	return t
}

func braced(names []string) string {
	if len(names) == 0 {
		return "no names"
	}
	return "{" + strings.Join(names, "}, {") + "}"
}
