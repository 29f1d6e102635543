package master

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir/slap"
)

// A property of a JSON request.
type property struct {
	name     string
	kind     string // string, boolean, object, array
	required bool
	oneOf    []string
	items    []property // of an array of objects
}

func must(names ...string) []property {
	var list []property
	for _, n := range names {
		list = append(list, property{name: n, kind: "string", required: true})
	}
	return list
}

// check gives the first thing that is wrong with an object, in the words of
// Python's jsonschema, which clients of slapproxy know.
func check(in map[string]any, schema []property) error {
	for _, p := range schema {
		v, ok := in[p.name]
		if !ok {
			if p.required {
				return badRequest("'%s' is a required property", p.name)
			}
			continue
		}
		if err := p.check(v); err != nil {
			return err
		}
	}
	var extra []string
	for _, k := range slices.Sorted(maps.Keys(in)) {
		if !slices.ContainsFunc(schema, func(p property) bool { return p.name == k }) {
			extra = append(extra, "'"+k+"'")
		}
	}
	switch len(extra) {
	case 0:
		return nil
	case 1:
		return badRequest("Additional properties are not allowed (%s was unexpected)", extra[0])
	}
	return badRequest("Additional properties are not allowed (%s were unexpected)", strings.Join(extra, ", "))
}

func (p property) check(v any) error {
	ok := false
	switch p.kind {
	case "string":
		_, ok = v.(string)
	case "boolean":
		_, ok = v.(bool)
	case "object":
		_, ok = v.(map[string]any)
	case "array":
		_, ok = v.([]any)
	}
	if !ok {
		return badRequest("%s is not of type '%s'", pythonOf(v), p.kind)
	}
	if s, _ := v.(string); p.oneOf != nil && !slices.Contains(p.oneOf, s) {
		return badRequest("'%s' is not one of ['%s']", s, strings.Join(p.oneOf, "', '"))
	}
	if list, _ := v.([]any); p.items != nil {
		for _, item := range list {
			d, ok := item.(map[string]any)
			if !ok {
				return badRequest("%s is not of type 'object'", pythonOf(item))
			}
			if err := check(d, p.items); err != nil {
				return err
			}
		}
	}
	return nil
}

// pythonOf is a JSON value as Python writes it.
func pythonOf(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("'%s'", s)
	}
	return slap.PythonText(v)
}
