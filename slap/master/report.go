package master

import (
	"maps"

	"weir/slap"
)

// Success bodies are those of slapproxy, whatever is kept: the library does
// not read them, people do compare them.
const ignored = text("Ignored")

// onPartition runs a transaction about the partition that a call names.
func (m *Master) onPartition(c *call, run func(*tx, *partition) error) error {
	p, err := c.place("computer_id", "computer_partition_id")
	if err != nil {
		return err
	}
	return m.state.update(c.ctx, func(t *tx) error {
		row, err := findPartition(t, p)
		if err != nil {
			return err
		}
		return run(t, row)
	})
}

// instanceReport keeps what a node tells of an instance.
func instanceReport(state string) func(*Master, *call) (any, error) {
	return func(m *Master, c *call) (any, error) {
		s := status{State: state, Message: tail(c.values.Get("error_log"))}
		reference := c.optional("slave_reference")
		return ignored, m.onPartition(c, func(t *tx, p *partition) error {
			if reference != "" {
				return reportShared(t, p.place, reference, s)
			}
			if p.Instance != nil {
				t.report(p, s)
			}
			return nil
		})
	}
}

func reportShared(t *tx, host place, reference string, s status) error {
	for _, row := range t.sharedOf(host) {
		if row.Reference == reference {
			if row.Status.State != s.State || row.Status.Message != s.Message {
				changed := *row
				changed.Status = s
				changed.Status.At = t.now
				t.setShared(row.name, &changed)
			}
			return nil
		}
	}
	return notFound("partition %q of computer %q has no shared instance %q", host.Partition, host.Node, reference)
}

// report keeps a status when it is news: nodes repeat theirs every minute.
func (t *tx) report(p *partition, s status) {
	old := p.Instance.Status
	if old.State == s.State && old.Message == s.Message {
		return
	}
	i := *p.Instance
	i.Status = s
	i.Status.At = t.now
	t.putInstance(p, &i)
}

// postBang asks all nodes of a tree to process it again.
func (m *Master) postBang(c *call) (any, error) {
	return text("OK"), m.onPartition(c, func(t *tx, p *partition) error {
		if p.Instance != nil {
			t.report(p, status{State: "bang", Message: tail(c.values.Get("message"))})
			t.touchTree(p.Instance.tree())
		}
		return nil
	})
}

// postComputerBang asks a node to process all its instances again.
func (m *Master) postComputerBang(c *call) (any, error) {
	id, err := c.need("computer_id")
	if err != nil {
		return nil, err
	}
	return "", m.bangNode(c, id)
}

func (m *Master) bangNode(c *call, id string) error {
	return m.state.update(c.ctx, func(t *tx) error {
		n, err := m.find(t, id)
		if err != nil {
			return err
		}
		for _, p := range n.Partitions {
			t.touch(&place{id, p})
		}
		return nil
	})
}

// postRename gives an instance another title; the tree of a root follows.
func (m *Master) postRename(c *call) (any, error) {
	to, err := c.need("new_name")
	if err != nil {
		return nil, err
	}
	if err := checkName("the new name", to); err != nil {
		return nil, err
	}
	return text("done"), m.onPartition(c, func(t *tx, p *partition) error {
		if p.Instance == nil {
			return notFound("partition %q of computer %q is free", p.Partition, p.Node)
		}
		return rename(t, p, to)
	})
}

func rename(t *tx, p *partition, to string) error {
	n := name{Title: to, Root: p.Instance.Root}
	if n == p.Instance.name {
		return nil
	}
	if t.instance(n) != nil {
		return &problem{409, "there is an instance " + to + " already"}
	}
	if n.Root == "" && len(t.tree(to)) > 0 {
		return &problem{409, "there is a tree " + to + " already"}
	}
	if p.Instance.Root == "" {
		renameTree(t, p.Instance.Title, to)
	}
	row := t.partition(p.place)
	i := *row.Instance
	i.name = n
	t.putInstance(row, &i)
	return nil
}

func renameTree(t *tx, from, to string) {
	for _, child := range t.tree(from) {
		if child.Instance.Root == from {
			i := *child.Instance
			i.Root = to
			t.putInstance(child, &i)
		}
	}
	t.eachShared(func(s *shared) {
		if s.Root == from {
			moved := *s
			moved.Root = to
			t.setShared(s.name, nil)
			t.setShared(moved.name, &moved)
		}
	})
}

// postConnection keeps what an instance publishes.
func (m *Master) postConnection(c *call) (any, error) {
	d, err := c.dict("connection_xml")
	if err != nil {
		return nil, err
	}
	if err := checkParameters("connection parameter", d); err != nil {
		return nil, err
	}
	connection, reference := slap.ToParameters(d), c.optional("slave_reference")
	return text("done"), m.onPartition(c, func(t *tx, p *partition) error {
		switch {
		case reference != "":
			return publishShared(t, p.place, reference, connection)
		case p.Instance == nil:
			return notFound("partition %q of computer %q is free", p.Partition, p.Node)
		}
		t.publish(p, connection)
		return nil
	})
}

func (t *tx) publish(p *partition, connection slap.Parameters) {
	if p.Instance.Published && maps.Equal(p.Instance.Connection, connection) {
		return
	}
	i := *p.Instance
	i.Connection, i.Published = connection, true
	t.putInstance(p, &i)
	t.touch(i.Requester)
}

// postRelated takes the list of what an instance asked for in its last run.
// Nothing is collected by it: a run that failed half way has a short list.
func (m *Master) postRelated(c *call) (any, error) {
	v, err := c.value("instance_reference_xml")
	if err != nil {
		return nil, err
	}
	if _, ok := v.([]any); !ok {
		return nil, badRequest("the field instance_reference_xml is no list")
	}
	p, err := c.place("computer_id", "computer_partition_id")
	if err != nil {
		return nil, err
	}
	m.state.view(func(t *tx) { _, err = findPartition(t, p) })
	return text("OK"), err
}
