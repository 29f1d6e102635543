package conf

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// A place is where something is in a file, both from 1.
type place struct{ line, column int }

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

// A decoder fills a Config from the nodes of a file. It knows where everything
// was, and goes on after a mistake.
type decoder struct {
	file   string
	source Source
	places map[string]place
	broken map[string]bool // paths of values that could not be read
	told   map[string]bool // paths that at has reported
	found  Diagnostics
}

func newDecoder(file string, s Source) *decoder {
	return &decoder{file: file, source: s.filled(), places: make(map[string]place),
		broken: make(map[string]bool), told: make(map[string]bool)}
}

// wrong reports a mistake of the value at a path.
func (d *decoder) wrong(n *yaml.Node, path, format string, args ...any) {
	d.broken[path] = true
	d.errorf(placeOf(n), "%s "+format, append([]any{orRoot(path)}, args...)...)
}

func (d *decoder) errorf(p place, format string, args ...any) {
	d.found = append(d.found, Diagnostic{d.file, p.line, p.column, fmt.Sprintf(format, args...)})
}

// fill writes the value of a node to v, which is at the given path.
func (d *decoder) fill(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if isNull(n) {
		return // a key with nothing after it keeps its default
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.wrong(n, path, "has the tag %s, which means nothing here: remove it", n.Tag)
		return
	}
	switch v.Interface().(type) {
	case Size, Mode, Secret, time.Duration, string, bool, int:
		d.scalar(n, v, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.section(n, v, path)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.fill(n, v.Elem(), path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Map:
		d.table(n, v, path)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// section fills a struct from a mapping; its keys are the struct's.
func (d *decoder) section(n *yaml.Node, v reflect.Value, path string) {
	keys := fields(v.Type())
	known := make([]string, 0, len(keys))
	for k := range keys {
		known = append(known, k)
	}
	slices.Sort(known)
	d.pairs(n, path, func(key, value *yaml.Node, at string) {
		if strings.HasPrefix(key.Value, "x_") {
			return
		}
		i, ok := keys[key.Value]
		if !ok {
			d.unknown(key, path, known)
			return
		}
		d.fill(value, v.Field(i), at)
	})
}

func (d *decoder) unknown(key *yaml.Node, path string, known []string) {
	where := ""
	if path != "" {
		where = " in " + path
	}
	hint := "the keys are " + strings.Join(known, ", ")
	if other, ok := meant(path, key.Value); ok {
		hint = other
	} else if near := nearest(key.Value, known); near != "" {
		hint = "did you mean " + near + "?"
	}
	d.errorf(placeOf(key), "unknown key %q%s: %s", key.Value, where, hint)
}

// pairs gives the keys and values of a mapping, each key once.
func (d *decoder) pairs(n *yaml.Node, path string, each func(key, value *yaml.Node, at string)) {
	if n.Kind != yaml.MappingNode {
		d.wrong(n, path, "is %s: write keys and values", kindName(n))
		return
	}
	first := make(map[string]place)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.errorf(placeOf(key), "a key of %s is %s: write a word", orRoot(path), kindName(key))
			continue
		}
		if p, again := first[key.Value]; again {
			d.errorf(placeOf(key), "key %q is already at line %d: keep one of them", key.Value, p.line)
			continue
		}
		first[key.Value] = placeOf(key)
		at := join(path, key.Value)
		d.places[at] = placeOf(value)
		each(key, value, at)
	}
}

// table fills a map of words.
func (d *decoder) table(n *yaml.Node, v reflect.Value, path string) {
	v.Set(reflect.MakeMap(v.Type()))
	d.pairs(n, path, func(key, value *yaml.Node, at string) {
		item := reflect.New(v.Type().Elem()).Elem()
		d.fill(value, item, at)
		v.SetMapIndex(reflect.ValueOf(key.Value), item)
	})
}

// list fills a slice; a single word stands for a list of one.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	v.SetZero()
	items := n.Content
	if n.Kind == yaml.ScalarNode && v.Type().Elem().Kind() == reflect.String {
		items = []*yaml.Node{n}
	} else if n.Kind != yaml.SequenceNode {
		d.wrong(n, path, "is %s: write a list", kindName(n))
		return
	}
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.places[at] = placeOf(item)
		e := reflect.New(v.Type().Elem()).Elem()
		d.fill(item, e, at)
		v.Set(reflect.Append(v, e))
	}
}

// scalar fills one value, with its variables replaced.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.wrong(n, path, "is %s: write one value", kindName(n))
		return
	}
	text, err := expand(n.Value, d.source.Getenv)
	if err == nil {
		err = d.set(v, text)
	}
	if err != nil {
		d.broken[path] = true
		d.errorf(placeOf(n), "%s: %v", path, err)
	}
}

func (d *decoder) set(v reflect.Value, text string) (err error) {
	switch p := v.Addr().Interface().(type) {
	case *string:
		*p = text
	case *bool:
		*p, err = parseBool(text)
	case *int:
		var n int64
		n, err = parseInt(text)
		*p = int(n)
	case *Size:
		*p, err = parseSize(text)
	case *Mode:
		*p, err = parseMode(text)
	case *time.Duration:
		*p, err = parseDuration(text)
	case *Secret:
		*p, err = d.secret(text)
	}
	return err
}

// fields gives the index of a struct's field for each key.
func fields(t reflect.Type) map[string]int {
	keys := make(map[string]int)
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("yaml"); key != "" {
			keys[key] = i
		}
	}
	return keys
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func orRoot(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("the value %q", n.Value)
}
