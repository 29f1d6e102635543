package arrays

import (
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"
)

// A Spec says how a stream becomes a group.
type Spec struct {
	// Kind is the decoder: "numbers", "wav" or "metrics".
	Kind string `json:"kind"`
	// Columns declares columns of kind "metrics" that are not to be inferred:
	// name to "float64" or "category".
	Columns map[string]string `json:"columns,omitempty"`
	// Time names the field of kind "metrics" that holds the time; empty is the
	// entry's own time.
	Time string `json:"time,omitempty"`
}

// Kinds lists the decoders.
func Kinds() []string { return []string{kindMetrics, kindNumbers, kindWAV} }

const (
	kindNumbers = "numbers"
	kindWAV     = "wav"
	kindMetrics = "metrics"
)

// Validate says what is wrong with the spec; keys are the names of fields as
// the configuration has them (kind, columns, columns.NAME, time).
func (s Spec) Validate() map[string]error {
	bad := map[string]error{}
	if !slices.Contains(Kinds(), s.Kind) {
		bad["kind"] = fmt.Errorf("unknown kind %q; use one of %s", s.Kind, strings.Join(Kinds(), ", "))
	}
	if s.Kind != kindMetrics && s.Time != "" {
		bad["time"] = fmt.Errorf("only arrays of kind %s have a time field", kindMetrics)
	}
	if s.Kind != kindMetrics && len(s.Columns) > 0 {
		bad["columns"] = fmt.Errorf("only arrays of kind %s have columns", kindMetrics)
		return bad
	}
	if len(s.Columns) > maxColumns {
		bad["columns"] = fmt.Errorf("%d columns; at most %d are possible", len(s.Columns), maxColumns)
	}
	for _, name := range sortedKeys(s.Columns) {
		if err := validateColumn(name, s.Columns[name], s.Time); err != nil {
			bad["columns."+name] = err
		}
	}
	return bad
}

func validateColumn(name, kind, time string) error {
	switch {
	case name == "":
		return fmt.Errorf("a column needs a name")
	case kind != columnFloat && kind != columnCategory:
		return fmt.Errorf("unknown type %q; use %s or %s", kind, columnFloat, columnCategory)
	case name == time:
		return fmt.Errorf("this field holds the time; it cannot be a column as well")
	}
	return nil
}

// equal tells whether both specs make the same arrays of the same bytes.
func (s Spec) equal(o Spec) bool {
	return s.Kind == o.Kind && s.Time == o.Time &&
		(len(s.Columns) == 0 && len(o.Columns) == 0 || reflect.DeepEqual(s.Columns, o.Columns))
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
