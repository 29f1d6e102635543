package master

func (m *Master) getRunID(*call) (any, error) { return text(m.runID), nil }

func (m *Master) getHateoasURL(c *call) (any, error) { return text(origin(c.r) + "/hateoas/"), nil }

// find gives a node that was formatted, or the default one, which exists
// before that. A node that is only supplied to is not registered yet.
func (m *Master) find(t *tx, id string) (*node, error) {
	n := t.node(id)
	switch {
	case n != nil && (n.Formatted || id == m.o.Computer):
		return n, nil
	case id == m.o.Computer:
		return &node{ID: id}, nil
	}
	return nil, notFound("computer %q is not registered", id)
}

// findPartition gives a partition that exists.
func findPartition(t *tx, p place) (*partition, error) {
	if row := t.partition(p); row != nil {
		return row, nil
	}
	return nil, notFound("partition %q of computer %q does not exist", p.Partition, p.Node)
}

func (m *Master) getComputer(c *call) (v any, err error) {
	id, err := c.need("computer_id")
	if err != nil {
		return nil, err
	}
	m.state.view(func(t *tx) {
		var n *node
		if n, err = m.find(t, id); err == nil {
			v = computerObject(t, n)
		}
	})
	return v, err
}

// ofPartition answers with what is shown of the partition that a call names by
// two of its parameters.
func (m *Master) ofPartition(c *call, node, id string, show func(t *tx, row *partition, p place) any) (v any, err error) {
	p, err := c.place(node, id)
	if err != nil {
		return nil, err
	}
	m.state.view(func(t *tx) {
		var row *partition
		if row, err = findPartition(t, p); err == nil {
			v = show(t, row, p)
		}
	})
	return v, err
}

func (m *Master) getPartition(c *call) (any, error) {
	return m.ofPartition(c, "computer_reference", "computer_partition_reference", func(t *tx, row *partition, p place) any {
		return partitionObject(row, t.sharedOf(p))
	})
}

// getPartitionStatus tells what the node reported last.
func (m *Master) getPartitionStatus(c *call) (any, error) {
	return m.ofPartition(c, "computer_id", "computer_partition_id", func(_ *tx, row *partition, _ place) any {
		if row.Instance == nil {
			return statusDict(status{})
		}
		return statusDict(row.Instance.Status)
	})
}

func statusDict(s status) map[string]any {
	return map[string]any{"user": "SlapOS Master", "text": s.text(), "created_at": s.At, "state": s.State, "no_data": boolInt(s.State == "")}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// text is the status as one line with the error's tail behind it, in the form
// of the production master.
func (s status) text() string {
	switch s.State {
	case "":
		return ""
	case "error":
		return "#error while instanciating: " + s.Message
	case "bang":
		return "#error bang called: " + s.Message
	}
	return "#access Instance correctly " + s.State
}

// show puts what the node reported last into an object's attributes, as the
// production master does, so that a node reports what is news only.
func (s status) show(attributes map[string]any) {
	if s.State != "" {
		attributes["_access_status"] = s.text()
	}
}

func (m *Master) getComputerStatus(c *call) (v any, err error) {
	id, err := c.need("computer_id")
	if err != nil {
		return nil, err
	}
	m.state.view(func(t *tx) {
		var n *node
		if n, err = m.find(t, id); err != nil {
			return
		}
		s := "#error no data found for " + id
		if n.Formatted {
			s = "#access computer is formatted"
		}
		v = map[string]any{"user": "SlapOS Master", "text": s, "no_data": boolInt(!n.Formatted)}
	})
	return v, err
}

func (m *Master) getReleaseStatus(c *call) (v any, err error) {
	id, err := c.need("computer_id")
	if err != nil {
		return nil, err
	}
	url, err := c.need("url")
	if err != nil {
		return nil, err
	}
	m.state.view(func(t *tx) {
		var n *node
		if n, err = m.find(t, id); err != nil {
			return
		}
		for _, r := range n.Releases {
			if r.URL == url {
				v = map[string]any{"user": id, "text": "#access software release " + r.Status, "state": r.Status, "created_at": r.At, "error": r.Error, "no_data": boolInt(r.Status == "")}
				return
			}
		}
		err = notFound("%s is not supplied to computer %q", url, id)
	})
	return v, err
}

// getTreeAddresses gives the addresses of all partitions of a tree.
func (m *Master) getTreeAddresses(c *call) (any, error) {
	return m.ofPartition(c, "computer_id", "computer_partition_id", func(t *tx, row *partition, _ place) any {
		list := []any{}
		if row.Instance != nil {
			for _, other := range t.tree(row.Instance.tree()) {
				list = append(list, addressList(other)...)
			}
		}
		return list
	})
}

// getProduct gives the releases of a product, or of the product of a release.
func (m *Master) getProduct(c *call) (any, error) {
	name, url := c.optional("software_product_reference"), c.optional("software_release_url")
	switch {
	case (name == "") == (url == ""):
		return nil, badRequest("give one of software_product_reference and software_release_url")
	case url != "":
		return []any{url}, nil
	}
	if u, ok := m.o.Products[name]; ok {
		return []any{u}, nil
	}
	return []any{}, nil
}
