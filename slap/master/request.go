package master

import (
	"cmp"
	"maps"

	"weir/slap"
)

// A request asks for an instance.
type request struct {
	title, software, kind string
	state                 string // "": as it is
	shared                bool
	parameters            map[string]any
	filter                map[string]any
	requester             *place // as claimed; nil: a person
	certified             bool   // by the certificate of a computer or an instance
}

func (m *Master) postRequest(c *call) (any, error) {
	r, err := readRequest(c)
	if err != nil {
		return nil, err
	}
	r.certified = c.who.computer != ""
	if err := r.check(); err != nil {
		return nil, err
	}
	if v, done, err := m.forward(c.ctx, r, c.r); done || err != nil {
		return v, err
	}
	var v any
	err = m.state.update(c.ctx, func(t *tx) (err error) {
		v, err = m.request(t, r)
		return err
	})
	if v == nil && err == nil {
		err = notReady("instance %s is being allocated, please wait", r.title)
	}
	return v, err
}

func readRequest(c *call) (*request, error) {
	r := new(request)
	var err error
	for field, to := range map[string]*string{"software_release": &r.software, "software_type": &r.kind, "partition_reference": &r.title} {
		if *to, err = c.need(field); err != nil {
			return nil, err
		}
	}
	if r.parameters, err = c.dict("partition_parameter_xml"); err != nil {
		return nil, err
	}
	if r.filter, err = c.dict("filter_xml"); err != nil {
		return nil, err
	}
	shared, err := c.value("shared_xml")
	if err != nil {
		return nil, err
	}
	r.shared = shared == true
	if c.values.Get("state") != "" {
		state, err := c.value("state")
		if err != nil {
			return nil, err
		}
		if state != nil {
			r.state = slap.PythonText(state)
		}
	}
	if r.requester = claimed(c.r); r.requester == nil {
		if n, p := c.optional("computer_id"), c.optional("computer_partition_id"); n != "" && p != "" {
			r.requester = &place{n, p}
		}
	}
	return r, nil
}

// check refuses what can be seen to be wrong without the model.
func (r *request) check() error {
	if err := checkName("the instance's title", r.title); err != nil {
		return err
	}
	if err := checkName("the software type", r.kind); err != nil {
		return err
	}
	if err := checkText("the software release", r.software); err != nil {
		return err
	}
	switch r.state {
	case "", started, stopped, destroyed:
	default:
		return badRequest("state %q of instance %q is none of started, stopped, destroyed", r.state, r.title)
	}
	if err := checkParameters("parameter", r.parameters); err != nil {
		return err
	}
	return checkParameters("filter", r.filter)
}

func checkParameters(what string, m map[string]any) error {
	for k, v := range m {
		if err := checkText(what, k); err != nil {
			return err
		}
		if err := checkText(what+" "+k, slap.PythonText(v)); err != nil {
			return err
		}
	}
	return nil
}

// asking gives the requester's partition, nil for a person. What a free one
// asks for has no tree to be in, as a person's: a certificate does not do for it.
func (r *request) asking(t *tx) (*partition, error) {
	if r.requester == nil {
		return nil, nil
	}
	p := t.partition(*r.requester)
	switch {
	case p == nil:
		return nil, badRequest("No partition matching the authorization header: (%s / %s)", r.requester.Node, r.requester.Partition)
	case p.Instance == nil && r.certified:
		return nil, forbidden("partition %s of computer %s is free: nothing in it can ask for an instance", p.Partition, p.Node)
	}
	return p, nil
}

// request finds or makes the instance and gives the answer.
func (m *Master) request(t *tx, r *request) (any, error) {
	asking, err := r.asking(t)
	if err != nil {
		return nil, err
	}
	n := name{Title: r.title}
	if asking != nil && asking.Instance != nil {
		n.Root = asking.Instance.tree()
	}
	if r.shared {
		return m.requestShared(t, n, r)
	}
	row := t.instance(n)
	switch {
	case row != nil:
		return instanceObject(m.update(t, row, r)), nil
	case r.state == destroyed:
		return goneObject(r), nil
	}
	if row, err = m.allocate(t, n, r); err != nil {
		return nil, err
	}
	i := &instance{
		name: n, Requester: r.requester, Software: r.software, Type: r.kind, Asked: cmp.Or(r.state, started),
		Parameters: slap.ToParameters(r.parameters), Filter: slap.ToParameters(r.filter), Stamp: t.stamp(),
	}
	i.State = t.stateOf(i)
	t.putInstance(row, i)
	if m.o.Async {
		return nil, nil
	}
	return instanceObject(t.partition(row.place)), nil
}

// stateOf is the state that an instance is to be in: the root's, while the
// root is not started, else what was asked.
func (t *tx) stateOf(i *instance) string {
	if i.Root != "" {
		if root := t.instance(name{Title: i.Root}); root != nil && root.Instance.State != started {
			return root.Instance.State
		}
	}
	return i.Asked
}

// update changes an instance to what is asked, and stamps it when that is
// something else than before.
func (m *Master) update(t *tx, row *partition, r *request) *partition {
	old := row.Instance
	i := *old
	i.Software, i.Type = r.software, r.kind
	i.Asked = cmp.Or(r.state, i.Asked)
	i.State = t.stateOf(&i)
	i.Parameters, i.Filter = slap.ToParameters(r.parameters), slap.ToParameters(r.filter)
	changed := i.Software != old.Software || i.Type != old.Type || i.State != old.State || !maps.Equal(i.Parameters, old.Parameters)
	moved := !samePlace(r.requester, old.Requester)
	i.Requester = r.requester
	if changed {
		i.Stamp = t.stamp(old.Stamp)
	}
	if !changed && !moved && i.Asked == old.Asked && maps.Equal(i.Filter, old.Filter) {
		return row
	}
	t.putInstance(row, &i)
	return t.partition(row.place)
}

func samePlace(a, b *place) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
