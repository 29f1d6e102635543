package master

import (
	"maps"
	"slices"
	"strings"
)

// A change is a set of rows to put and to drop. It is what a transaction
// writes, what the stream keeps, and, with all rows in it, a snapshot.
type change struct {
	Nodes            []*node        `json:"nodes,omitempty"`
	Partitions       []*partition   `json:"partitions,omitempty"`
	Shared           []*shared      `json:"shared,omitempty"`
	Forwarded        []*forwarded   `json:"forwarded,omitempty"`
	Certificates     []*certificate `json:"certificates,omitempty"`
	DropPartitions   []place        `json:"drop_partitions,omitempty"`
	DropShared       []name         `json:"drop_shared,omitempty"`
	DropForwarded    []string       `json:"drop_forwarded,omitempty"`
	DropCertificates []subject      `json:"drop_certificates,omitempty"`
}

// apply puts a change into the model. What is dropped goes first, so that a
// row may take the name of one that is dropped.
func (m *model) apply(c *change) {
	for _, n := range c.DropShared {
		delete(m.shareds, n)
	}
	for _, p := range c.DropPartitions {
		m.unindex(p)
		delete(m.partitions, p)
	}
	for _, t := range c.DropForwarded {
		delete(m.forwards, t)
	}
	for _, n := range c.Nodes {
		if m.nodes[n.ID] == nil {
			m.nodeOrder = append(m.nodeOrder, n.ID)
		}
		m.nodes[n.ID] = n
	}
	for _, p := range c.Partitions {
		m.unindex(p.place)
	}
	for _, p := range c.Partitions {
		m.partitions[p.place] = p
		if p.Instance != nil {
			m.instances[p.Instance.name] = p.place
		}
	}
	for _, s := range c.Shared {
		m.shareds[s.name] = s
	}
	for _, f := range c.Forwarded {
		m.forwards[f.Title] = f
	}
	m.applyCertificates(c)
}

func (m *model) applyCertificates(c *change) {
	revoke := func(s subject) {
		if old := m.certs[s]; old != nil {
			delete(m.serials, old.Serial)
			delete(m.certs, s)
		}
	}
	for _, s := range c.DropCertificates {
		revoke(s)
	}
	for _, row := range c.Certificates {
		revoke(row.subject)
		m.certs[row.subject], m.serials[row.Serial] = row, row
	}
}

// unindex takes a partition's instance out of the index.
func (m *model) unindex(p place) {
	if old := m.partitions[p]; old != nil && old.Instance != nil && m.instances[old.Instance.name] == p {
		delete(m.instances, old.Instance.name)
	}
}

// all gives the change that makes an empty model this one.
func (m *model) all() *change {
	c := new(change)
	for _, id := range m.nodeOrder {
		n := m.nodes[id]
		c.Nodes = append(c.Nodes, n)
		for _, p := range n.Partitions {
			c.Partitions = append(c.Partitions, m.partitions[place{id, p}])
		}
	}
	c.Shared = slices.SortedFunc(maps.Values(m.shareds), func(a, b *shared) int { return int(a.Number - b.Number) })
	for _, t := range slices.Sorted(maps.Keys(m.forwards)) {
		c.Forwarded = append(c.Forwarded, m.forwards[t])
	}
	c.Certificates = slices.SortedFunc(maps.Values(m.certs), func(a, b *certificate) int { return strings.Compare(a.Serial, b.Serial) })
	return c
}
