package master

import (
	"maps"
	"slices"
	"strings"

	"weir/internal/ledger"
)

// A tx is a transaction: it reads the model with its own changes on top, and
// changes nothing else. Rows that it gives are not to be written to; a row to
// put is a copy.
type tx struct {
	m   *model
	now int64 // Unix seconds

	nodes      map[string]*node
	partitions map[place]*partition // nil: dropped
	shareds    map[name]*shared     // nil: dropped
	forwards   map[string]*forwarded
	certs      map[subject]*certificate // nil: dropped
}

func (t *tx) node(id string) *node { return ledger.Latest(t.nodes, t.m.nodes, id) }

func (t *tx) partition(p place) *partition { return ledger.Latest(t.partitions, t.m.partitions, p) }

// instance gives the partition that holds the instance of a name.
func (t *tx) instance(n name) *partition {
	for _, row := range t.partitions {
		if row != nil && row.Instance != nil && row.Instance.name == n {
			return row
		}
	}
	p, ok := t.m.instances[n]
	if !ok {
		return nil
	}
	if _, changed := t.partitions[p]; changed {
		return nil
	}
	return t.m.partitions[p]
}

func (t *tx) shared(n name) *shared { return ledger.Latest(t.shareds, t.m.shareds, n) }

func (t *tx) forwarded(title string) *forwarded {
	return ledger.Latest(t.forwards, t.m.forwards, title)
}

func (t *tx) certificate(s subject) *certificate { return ledger.Latest(t.certs, t.m.certs, s) }

// tree gives the partitions of a tree, root first, then by title.
func (t *tx) tree(root string) []*partition {
	var rows []*partition
	t.each(func(p *partition) {
		if p.Instance != nil && p.Instance.tree() == root {
			rows = append(rows, p)
		}
	})
	slices.SortFunc(rows, func(a, b *partition) int {
		if c := strings.Compare(a.Instance.Root, b.Instance.Root); c != 0 {
			return c
		}
		return strings.Compare(a.Instance.Title, b.Instance.Title)
	})
	return rows
}

// each visits all partitions.
func (t *tx) each(visit func(*partition)) {
	for place, row := range t.m.partitions {
		if _, changed := t.partitions[place]; !changed {
			visit(row)
		}
	}
	for _, row := range t.partitions {
		if row != nil {
			visit(row)
		}
	}
}

// eachShared visits all shared instances in their order.
func (t *tx) eachShared(visit func(*shared)) {
	var rows []*shared
	for n, row := range t.m.shareds {
		if _, changed := t.shareds[n]; !changed {
			rows = append(rows, row)
		}
	}
	for _, row := range t.shareds {
		if row != nil {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b *shared) int { return int(a.Number - b.Number) })
	for _, row := range rows {
		visit(row)
	}
}

// sharedOf gives the shared instances that a partition hosts.
func (t *tx) sharedOf(host place) []*shared {
	var rows []*shared
	t.eachShared(func(s *shared) {
		if s.Host == host {
			rows = append(rows, s)
		}
	})
	return rows
}

func (t *tx) putNode(n node) {
	if t.nodes == nil {
		t.nodes = map[string]*node{}
	}
	t.nodes[n.ID] = &n
}

func (t *tx) setPartition(p place, row *partition) {
	if t.partitions == nil {
		t.partitions = map[place]*partition{}
	}
	t.partitions[p] = row
}

// putInstance puts an instance into a partition, nil to free it.
func (t *tx) putInstance(p *partition, i *instance) {
	row := *p
	row.Instance = i
	t.setPartition(p.place, &row)
}

func (t *tx) setShared(n name, row *shared) {
	if t.shareds == nil {
		t.shareds = map[name]*shared{}
	}
	t.shareds[n] = row
}

func (t *tx) setForwarded(title string, row *forwarded) {
	if t.forwards == nil {
		t.forwards = map[string]*forwarded{}
	}
	t.forwards[title] = row
}

func (t *tx) setCertificate(s subject, row *certificate) {
	if t.certs == nil {
		t.certs = map[subject]*certificate{}
	}
	t.certs[s] = row
}

// lag is how far stamps are behind the clock. A stamp is a version that reads
// like a time: whole seconds as integer text, never in the future, and greater
// with each change. The lag is room for changes within one second.
const lag = 10

// stamp gives the stamp of a change after the given ones.
func (t *tx) stamp(before ...int64) int64 {
	s := t.now - lag
	for _, b := range before {
		s = max(s, b+1)
	}
	return s
}

// touch gives an instance a new stamp, so that its node processes it.
func (t *tx) touch(p *place) {
	if p == nil {
		return
	}
	row := t.partition(*p)
	if row == nil || row.Instance == nil {
		return
	}
	i := *row.Instance
	i.Stamp = t.stamp(i.Stamp)
	t.putInstance(row, &i)
}

// touchTree gives all instances of a tree one new stamp.
func (t *tx) touchTree(root string) {
	rows := t.tree(root)
	var s int64
	for _, row := range rows {
		s = t.stamp(s-1, row.Instance.Stamp)
	}
	for _, row := range rows {
		i := *row.Instance
		i.Stamp = s
		t.putInstance(row, &i)
	}
}

// change gives what the transaction wrote, nil for nothing.
func (t *tx) change() *change {
	if len(t.nodes)+len(t.partitions)+len(t.shareds)+len(t.forwards)+len(t.certs) == 0 {
		return nil
	}
	c := new(change)
	for _, id := range slices.Sorted(maps.Keys(t.nodes)) {
		c.Nodes = append(c.Nodes, t.nodes[id])
	}
	c.Partitions, c.DropPartitions = split(t.partitions)
	c.Shared, c.DropShared = split(t.shareds)
	c.Forwarded, c.DropForwarded = split(t.forwards)
	c.Certificates, c.DropCertificates = split(t.certs)
	return c
}

// split tells the rows that are put from the keys of those that are dropped.
func split[K comparable, V any](rows map[K]*V) (put []*V, dropped []K) {
	for k, row := range rows {
		if row == nil {
			dropped = append(dropped, k)
		} else {
			put = append(put, row)
		}
	}
	return put, dropped
}
