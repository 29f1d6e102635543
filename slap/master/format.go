package master

import (
	"fmt"
	"slices"

	"weir/slap"
)

// postFormat takes a node's description of itself.
func (m *Master) postFormat(c *call) (any, error) {
	d, err := c.dict("xml")
	if err != nil {
		return nil, err
	}
	n, rows, err := readFormat(d)
	if err != nil {
		return nil, err
	}
	return text("done"), m.format(c, n, rows)
}

// readFormat gives the node and the partitions of a description.
func readFormat(d map[string]any) (node, []*partition, error) {
	n := node{ID: slap.Text(d, "reference"), Address: slap.Text(d, "address"), Netmask: slap.Text(d, "netmask")}
	if err := checkName("the computer's reference", n.ID); err != nil {
		return n, nil, err
	}
	list, ok := d["partition_list"].([]any)
	if !ok {
		return n, nil, badRequest("the description of computer %q has no partition_list", n.ID)
	}
	var rows []*partition
	for k, v := range list {
		p, err := readPartition(n.ID, v)
		if err != nil {
			return n, nil, badRequest("partition %d of computer %q: %v", k, n.ID, err)
		}
		rows = append(rows, p)
	}
	return n, rows, nil
}

func readPartition(node string, v any) (*partition, error) {
	d, _ := v.(map[string]any)
	p := &partition{place: place{node, slap.Text(d, "reference")}}
	if err := checkName("its reference", p.Partition); err != nil {
		return nil, err
	}
	network := slap.Text(slap.Dict(d, "tap"), "name")
	addresses, ok := d["address_list"].([]any)
	if !ok {
		return nil, fmt.Errorf("%q has no address_list", p.Partition)
	}
	capabilities, _ := d["capability_list"].([]any)
	for _, v := range capabilities {
		text := slap.PythonText(v)
		if err := checkName("a capability", text); err != nil {
			return nil, err
		}
		p.Capabilities = append(p.Capabilities, text)
	}
	for _, v := range addresses {
		a, _ := v.(map[string]any)
		row := address{Interface: network, Addr: slap.Text(a, "addr"), Netmask: slap.Text(a, "netmask")}
		if row.Addr == "" {
			return nil, fmt.Errorf("%q has an address without addr", p.Partition)
		}
		p.Addresses = append(p.Addresses, row)
	}
	return p, nil
}

// format makes a node what it says it is. Partitions that it no longer has
// are dropped with what was in them: there is nowhere it could run.
func (m *Master) format(c *call, n node, rows []*partition) error {
	return m.state.update(c.ctx, func(t *tx) error {
		if old := t.node(n.ID); old != nil {
			n.Title, n.Releases, n.Partitions = old.Title, old.Releases, old.Partitions
		}
		n.Formatted = true
		var kept []string
		for _, row := range rows {
			if slices.Contains(kept, row.Partition) {
				return badRequest("computer %q has the partition %q twice", n.ID, row.Partition)
			}
			kept = append(kept, row.Partition)
			if old := t.partition(row.place); old != nil {
				row.Instance = old.Instance
				if slices.Equal(old.Addresses, row.Addresses) && slices.Equal(old.Capabilities, row.Capabilities) {
					continue
				}
			}
			t.setPartition(row.place, row)
		}
		for _, id := range n.Partitions {
			if !slices.Contains(kept, id) {
				m.dropPartition(t, place{n.ID, id})
			}
		}
		n.Partitions = kept
		t.putNode(n)
		return nil
	})
}

func (m *Master) dropPartition(t *tx, p place) {
	if row := t.partition(p); row.Instance != nil {
		m.log.Warn("slap: a format drops a partition with an instance", "computer", p.Node, "partition", p.Partition,
			"instance", row.Instance.Title, "root", row.Instance.Root)
	}
	t.setPartition(p, nil)
	t.forget(p)
}
