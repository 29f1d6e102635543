package master

import (
	"slices"

	"weir/slap"
)

// allocate finds a free partition: of the computer that the filter names, or
// of the default one, or of any other to which the release is supplied.
func (m *Master) allocate(t *tx, n name, r *request) (*partition, error) {
	for _, node := range m.candidates(t, r) {
		if !m.suits(t, node, n, r.filter) {
			continue
		}
		for _, id := range node.Partitions {
			if p := t.partition(place{node.ID, id}); p.Instance == nil && m.capable(p, r.filter) {
				return p, nil
			}
		}
	}
	return nil, notFound("No free computer partition found for: %s", n.Title)
}

// candidates are the nodes that a request may go to, in order.
func (m *Master) candidates(t *tx, r *request) []*node {
	if guid, ok := r.filter["computer_guid"]; ok && guid != nil && guid != "" {
		if n := t.node(slap.PythonText(guid)); n != nil {
			return []*node{n}
		}
		return nil
	}
	var list []*node
	if n := t.node(m.o.Computer); n != nil {
		list = append(list, n)
	}
	for _, id := range t.m.nodeOrder {
		if n := t.node(id); id != m.o.Computer && offers(n, r.software) {
			list = append(list, n)
		}
	}
	return list
}

// offers tells whether a release is supplied to a node.
func offers(n *node, url string) bool {
	for _, r := range n.Releases {
		if r.URL == url {
			return r.State == available
		}
	}
	return false
}

// nodeFilter is the part of a filter that a node acts upon.
func nodeFilter(f slap.Parameters) map[string]any {
	d := map[string]any{}
	for _, k := range []string{"retention_delay", "fw_restricted_access", "fw_rejected_sources", "fw_authorized_sources"} {
		if v, ok := f[k]; ok {
			d[k] = v
		}
	}
	return d
}

// categories are the names of a filter that a node's attribute must equal.
var categories = []string{
	"network_guid", "project_guid", "group", "cpu_core", "cpu_frequency", "cpu_type", "local_area_network_type", "region",
	"memory_size", "memory_type", "storage_capacity", "storage_interface", "storage_redundancy",
}

// capable tells whether a partition is for a request. One with capabilities
// takes only requests that want one of them; one without has its computer's.
func (m *Master) capable(p *partition, filter map[string]any) bool {
	want := ""
	if v := filter["capability"]; v != nil {
		want = slap.PythonText(v)
	}
	if len(p.Capabilities) > 0 {
		return slices.Contains(p.Capabilities, want)
	}
	return want == "" || want == m.o.Attributes[p.Node]["capability"]
}

// suits tells whether a node is what a filter asks for. A node without an
// attribute does not have any value of it.
func (m *Master) suits(t *tx, n *node, asking name, filter map[string]any) bool {
	for _, k := range categories {
		if v, ok := filter[k]; ok && v != nil && v != "" && m.o.Attributes[n.ID][k] != slap.PythonText(v) {
			return false
		}
	}
	switch filter["mode"] {
	case nil, "":
		return true
	case "unique_by_network":
		return !m.inNetwork(t, n, asking)
	}
	return false
}

// inNetwork tells whether a tree has an instance in a node's network already.
func (m *Master) inNetwork(t *tx, n *node, asking name) bool {
	for _, p := range t.tree(asking.tree()) {
		if m.network(p.Node) == m.network(n.ID) {
			return true
		}
	}
	return false
}

// network is the one that a node is said to be in, or one of its own.
func (m *Master) network(id string) string {
	if g := m.o.Attributes[id]["network_guid"]; g != "" {
		return "network " + g
	}
	return "node " + id
}
