package slap

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
)

// Values on the wire are these Go types:
//
//	nil, bool, int64, *big.Int (what int64 does not hold), float64, string,
//	Tuple, []any (a list), Set, map[string]any (a dictionary), *Object
//
// Marshal takes int and []string as well.

// A Tuple is a Python tuple.
type Tuple []any

// A Set is a Python set, in the order of the wire.
type Set []any

// An Object is an instance of one of the four classes that SLAP sends:
// Computer, ComputerPartition, SoftwareRelease, SoftwareInstance.
type Object struct {
	Class      string
	Args       Tuple // of the constructor
	Attributes map[string]any
}

// ErrMarshal: bytes are no value of SLAP, or a value cannot be sent.
var ErrMarshal = errors.New("slap: not a marshalled value")

// module is the Python module of all objects.
const module = "slapos.slap.slap"

// classes are those that readers accept, with the lengths of their tuples.
var classes = map[string]int{"Computer": 1, "ComputerPartition": 3, "SoftwareRelease": 2, "SoftwareInstance": 0}

// Limits of a document that is read.
const (
	// MaxDocument is the size of a document in bytes.
	MaxDocument = 64 << 20
	maxDepth    = 64
	maxValues   = 1 << 21 // with what references repeat
)

// Text gives an attribute or entry that is text, "" when it is missing or
// something else.
func Text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

// Dict gives an attribute or entry that is a dictionary, nil when it is not.
func Dict(m map[string]any, key string) map[string]any {
	d, _ := m[key].(map[string]any)
	return d
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// integer gives the smallest type that holds n.
func integer(text string) (any, error) {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok || len(text) > 4000 {
		return nil, fmt.Errorf("%w: %.40q is no integer", ErrMarshal, text)
	}
	if n.IsInt64() {
		return n.Int64(), nil
	}
	return n, nil
}
