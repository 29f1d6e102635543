package master

import (
	"maps"
	"strconv"

	"weir/slap"
)

// requestShared finds or makes a shared instance in the partition of a host.
func (m *Master) requestShared(t *tx, n name, r *request) (any, error) {
	if v, ok := simpleFrontend(r); ok {
		return v, nil
	}
	old := t.shared(n)
	if old == nil && r.state == destroyed {
		return goneObject(r), nil
	}
	host, err := m.host(t, n, old, r)
	if err != nil {
		return nil, err
	}
	marshalled, err := slap.Marshal(orEmpty(r.parameters))
	if err != nil {
		return nil, err
	}
	s := shared{name: n, Number: t.nextNumber(), State: started}
	if old != nil {
		s = *old
	} else {
		s.Reference = t.nextReference(n, s.Number)
	}
	s.Host, s.Requester, s.Software, s.Type, s.Parameters = host.place, r.requester, r.software, r.kind, string(marshalled)
	if r.state != "" {
		s.State = r.state
	}
	return m.putShared(t, old, s, host), nil
}

// putShared puts a shared instance when it changed; a destroyed one is
// dropped, and its answer is the last.
func (m *Master) putShared(t *tx, old *shared, s shared, host *partition) any {
	changed := old == nil || old.Host != s.Host || old.Software != s.Software || old.Type != s.Type || old.State != s.State || old.Parameters != s.Parameters
	if changed {
		if s.Stamp = t.stamp(s.Stamp); old != nil && old.Host != s.Host {
			t.touch(&old.Host)
		}
		t.touch(&s.Host)
	}
	switch {
	case s.State == destroyed:
		t.setShared(s.name, nil)
	case changed || !samePlace(old.Requester, s.Requester):
		t.setShared(s.name, &s)
	}
	return sharedObject(&s, host)
}

// nextNumber is greater than that of every shared instance.
func (t *tx) nextNumber() int64 {
	var n int64
	t.eachShared(func(s *shared) { n = max(n, s.Number) })
	return n + 1
}

// nextReference names a new shared instance to its host as slapproxy does, by
// tree and title, and where those of another read the same, by a number, too.
func (t *tx) nextReference(n name, number int64) string {
	taken := map[string]bool{}
	t.eachShared(func(s *shared) { taken[s.Reference] = true })
	joined := n.Root + "_" + n.Title
	reference := joined
	for ; taken[reference]; number++ {
		reference = joined + "_" + strconv.FormatInt(number, 10)
	}
	return reference
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// host finds the instance that takes a shared one: the one that has it, the
// one that the filter names, or the first of the same release and type.
func (m *Master) host(t *tx, n name, old *shared, r *request) (*partition, error) {
	if guid, ok := r.filter["instance_guid"]; ok && guid != nil && guid != "" {
		if p := t.byGUID(slap.PythonText(guid)); p != nil {
			return p, nil
		}
		return nil, notFound("no instance %q to share for: %s", guid, n.Title)
	}
	if old != nil {
		if p := t.partition(old.Host); p != nil && p.Instance != nil && (r.state == destroyed || hosts(p, r)) {
			return p, nil
		}
	}
	for _, node := range m.candidates(t, r) {
		for _, id := range node.Partitions {
			if p := t.partition(place{node.ID, id}); hosts(p, r) {
				return p, nil
			}
		}
	}
	return nil, notFound("No free computer partition found for: %s", n.Title)
}

func hosts(p *partition, r *request) bool {
	return p.Instance != nil && p.Instance.Software == r.software && (r.kind == "" || p.Instance.Type == r.kind)
}

// byGUID gives the busy partition of an instance's guid.
func (t *tx) byGUID(guid string) (found *partition) {
	t.each(func(p *partition) {
		if p.Instance != nil && p.guid() == guid {
			found = p
		}
	})
	return found
}

// publishShared keeps what a host publishes for a shared instance.
func publishShared(t *tx, host place, reference string, connection slap.Parameters) error {
	var row *shared
	for _, s := range t.sharedOf(host) {
		if s.Reference == reference {
			row = s
		}
	}
	if row == nil {
		return notFound("partition %q of computer %q has no shared instance %q", host.Partition, host.Node, reference)
	}
	return t.publishTo(row, connection)
}

func (t *tx) publishTo(row *shared, connection slap.Parameters) error {
	if row.Published && maps.Equal(row.Connection, connection) {
		return nil
	}
	s := *row
	s.Connection, s.Published, s.Stamp = connection, true, t.stamp(row.Stamp)
	t.setShared(s.name, &s)
	t.touch(s.Requester)
	return nil
}
