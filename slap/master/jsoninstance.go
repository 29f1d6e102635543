package master

import (
	"strings"

	"weir/slap"
)

// guid names an instance in the JSON interface.
func guid(n name, shared bool) string {
	if shared {
		return n.Title + "___" + n.Root + "___1"
	}
	return n.Title + "___" + n.Root + "___0"
}

func parseGUID(s string) (n name, shared bool, err error) {
	parts := strings.Split(s, "___")
	if len(parts) != 3 || parts[2] != "0" && parts[2] != "1" {
		return n, false, notFound("instance_guid %s not handled.", s)
	}
	return name{parts[0], parts[1]}, parts[2] == "1", nil
}

// lookup finds what a guid names: one of the two is not nil.
func lookup(t *tx, s string) (*partition, *shared, error) {
	n, isShared, err := parseGUID(s)
	if err != nil {
		return nil, nil, err
	}
	if isShared {
		if row := t.shared(n); row != nil {
			return nil, row, nil
		}
	} else if row := t.instance(n); row != nil {
		return row, nil, nil
	}
	return nil, nil, notFound("No software instance %s found.", s)
}

func (m *Master) jsonRequest(c *jsonCall) (any, error) {
	r := &request{
		title: c.text("title"), software: c.text("software_release_uri"), kind: c.text("software_type"), state: c.text("state"),
		shared: c.in["shared"] == true, parameters: slap.Dict(c.in, "parameters"), filter: slap.Dict(c.in, "sla_parameters"), requester: claimed(c.r),
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	v, done, err := m.forward(c.ctx, r, c.r)
	if !done && err == nil {
		err = m.state.update(c.ctx, func(t *tx) (err error) {
			v, err = m.request(t, r)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	return m.jsonAnswer(r, v)
}

// jsonAnswer is the answer to a request, made from that of the other interface.
func (m *Master) jsonAnswer(r *request, v any) (any, error) {
	o, ok := v.(*slap.Object)
	if !ok {
		return nil, notReady("instance %s is not allocated yet, please wait", r.title)
	}
	a := o.Attributes
	n := name{Title: r.title}
	m.state.view(func(t *tx) {
		if r.requester != nil {
			if p := t.partition(*r.requester); p != nil && p.Instance != nil {
				n.Root = p.Instance.tree()
			}
		}
	})
	parameters := map[string]any{}
	for k, v := range slap.Dict(a, "_parameter_dict") {
		parameters[k] = v
	}
	stamp := stampOf(parameters["timestamp"])
	delete(parameters, "timestamp")
	state := slap.Text(a, "_requested_state")
	if state == "" {
		state = started
	}
	return fullInstance(n, r.shared, slap.Text(a, "slap_software_release_url"), slap.Text(a, "slap_software_type"), state, slap.Dict(a, "_connection_dict"),
		parameters, a["ip_list"], place{slap.Text(a, "slap_computer_id"), slap.Text(a, "slap_computer_partition_id")}, stamp, ""), nil
}

func stampOf(v any) any {
	s, ok := v.(string)
	if !ok {
		return 0
	}
	return jsonNumber(s)
}

func fullInstance(n name, shared bool, software, kind, state string, connection, parameters map[string]any, addresses any, p place, stamp any, message string) any {
	return map[string]any{
		"title": n.Title, "instance_guid": guid(n, shared), "software_release_uri": software, "software_type": kind, "state": state,
		"connection_parameters": toJSON(orEmpty(connection)), "parameters": toJSON(orEmpty(parameters)), "shared": shared,
		"root_instance_title": n.tree(), "ip_list": toJSON(orNone(addresses)), "full_ip_list": []any{}, "sla_parameters": map[string]any{},
		"computer_guid": p.Node, "compute_partition_id": p.Partition, "processing_timestamp": stamp, "access_status_message": message,
	}
}

func (p *partition) json() any {
	i := p.Instance
	return fullInstance(i.name, false, i.Software, i.Type, i.State, i.Connection.Values(), i.Parameters.Values(), addressList(p), p.place, i.Stamp, i.Status.text())
}

func (s *shared) json() any {
	return fullInstance(s.name, true, s.Software, s.Type, s.State, s.Connection.Values(), s.parameters(), []any{}, s.Host, s.Stamp, s.Status.text())
}

func (m *Master) jsonInstance(c *jsonCall) (v any, err error) {
	m.state.view(func(t *tx) {
		p, s, lookupErr := lookup(t, c.text("instance_guid"))
		switch err = lookupErr; {
		case p != nil:
			v = p.json()
		case s != nil:
			v = s.json()
		}
	})
	return v, err
}

func (m *Master) jsonPartition(c *jsonCall) (v any, err error) {
	p := place{c.text("computer_guid"), c.text("compute_partition_id")}
	m.state.view(func(t *tx) {
		if row := t.partition(p); row != nil && row.Instance != nil {
			v = row.json()
		} else {
			err = notFound("No instance on partition %s found.", p.Partition)
		}
	})
	return v, err
}

func (m *Master) jsonTree(c *jsonCall) (v any, err error) {
	n := name{Title: c.text("title")}
	m.state.view(func(t *tx) {
		if row := t.instance(n); row != nil {
			v = row.json()
		} else if s := t.shared(n); s != nil {
			v = s.json()
		} else {
			err = notFound("No instance tree %s found.", n.Title)
		}
	})
	return v, err
}

func (m *Master) jsonTrees(*jsonCall) (any, error) {
	list := []any{}
	m.state.view(func(t *tx) {
		rows, shareds := roots(t, "")
		for _, p := range rows {
			list = append(list, map[string]any{"title": p.Instance.Title})
		}
		for _, s := range shareds {
			list = append(list, map[string]any{"title": s.Title})
		}
	})
	return results(list), nil
}

func results(list []any) any { return map[string]any{"result_list": list} }

// jsonHosted lists the shared instances of an instance.
func (m *Master) jsonHosted(c *jsonCall) (any, error) {
	list := []any{}
	var err error
	m.state.view(func(t *tx) {
		var p *partition
		if p, _, err = lookup(t, c.text("instance_guid")); p == nil {
			return
		}
		for _, s := range t.sharedOf(p.place) {
			list = append(list, map[string]any{
				"title": s.Title, "instance_guid": guid(s.name, true), "software_type": s.Type, "state": s.State,
				"parameters": toJSON(s.parameters()), "compute_partition_id": p.Partition,
			})
		}
	})
	return results(list), err
}

// onInstance runs a transaction about what a guid names.
func (m *Master) onInstance(c *jsonCall, run func(*tx, *partition, *shared) error) error {
	return m.state.update(c.ctx, func(t *tx) error {
		p, s, err := lookup(t, c.text("instance_guid"))
		if err != nil {
			return err
		}
		return run(t, p, s)
	})
}

// jsonInstanceState keeps a report. One about an instance that is not there
// is no error in slapproxy, unless it is that of its end.
func (m *Master) jsonInstanceState(c *jsonCall) (any, error) {
	state := c.text("reported_state")
	title := "Ignored"
	err := m.onInstance(c, func(t *tx, p *partition, s *shared) error {
		switch {
		case p != nil && state == destroyed:
			if title = "Destroyed"; len(t.free(p)) > 0 {
				title = "Not destroying yet because this partition has child partitions"
			}
		case p != nil:
			t.report(p, status{State: state})
		case state != destroyed:
			return reportShared(t, s.Host, s.Reference, status{State: state})
		}
		return nil
	})
	if state != destroyed && isNotFound(err) {
		err = nil
	}
	return success(title), err
}

func (m *Master) jsonInstanceError(c *jsonCall) (any, error) {
	what := status{State: "error", Message: tail(c.text("message"))}
	err := m.onInstance(c, func(t *tx, p *partition, s *shared) error {
		if p == nil {
			return reportShared(t, s.Host, s.Reference, what)
		}
		t.report(p, what)
		return nil
	})
	if isNotFound(err) {
		err = nil
	}
	return success("Ignored"), err
}

// notForShared is what the original says of shared instances.
var notForShared = &problem{403, "NotImplemented"}

func (m *Master) jsonBang(c *jsonCall) (any, error) {
	return success("Bang handled"), m.onInstance(c, func(t *tx, p *partition, _ *shared) error {
		if p == nil {
			return notForShared
		}
		t.report(p, status{State: "bang", Message: tail(c.text("message"))})
		t.touchTree(p.Instance.tree())
		return nil
	})
}

func (m *Master) jsonTitle(c *jsonCall) (any, error) {
	if err := checkName("the title", c.text("title")); err != nil {
		return nil, err
	}
	return success("Renamed"), m.onInstance(c, func(t *tx, p *partition, _ *shared) error {
		if p == nil {
			return notForShared
		}
		return rename(t, p, c.text("title"))
	})
}

func (m *Master) jsonConnection(c *jsonCall) (any, error) {
	d := slap.Dict(c.in, "connection_parameter_dict")
	if err := checkParameters("connection parameter", d); err != nil {
		return nil, err
	}
	connection := slap.ToParameters(d)
	return success("Updated"), m.onInstance(c, func(t *tx, p *partition, s *shared) error {
		if p == nil {
			return t.publishTo(s, connection)
		}
		t.publish(p, connection)
		return nil
	})
}

// orNone makes a missing list an empty one.
func orNone(v any) any {
	if v == nil {
		return []any{}
	}
	return v
}
