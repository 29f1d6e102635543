package master

import "testing"

func TestSearch(t *testing.T) {
	t.Parallel()
	const instance, node = `portal_type:"Instance Tree" AND validation_state:validated`, `portal_type:"Compute Node" AND validation_state:validated`
	for query, want := range map[string]struct {
		kind, name string
		ok         bool
	}{
		instance:                          {"instance", "", true},
		node:                              {"node", "", true},
		instance + ` AND title:="a b"`:    {"instance", "a b", true},
		instance + ` AND title:=""`:       {"instance", "", true},
		node + ` AND reference:="COMP-1"`: {"node", "COMP-1", true},
		node + ` AND title:="COMP-1"`:     {},
		instance + ` AND title:="`:        {},
		instance + ` AND title:="a" b"`:   {},
		instance + `x`:                    {},
		"":                                {},
	} {
		if kind, name, ok := search(query); kind != want.kind || name != want.name || ok != want.ok {
			t.Errorf("search(%s) = %q, %q, %v", query, kind, name, ok)
		}
	}
}
