package master

import (
	"encoding/json"

	"weir/slap"
)

func jsonNumber(s string) any { return json.Number(s) }

// toJSON makes tuples and sets lists.
func toJSON(v any) any {
	switch v := v.(type) {
	case slap.Tuple:
		return toJSON([]any(v))
	case slap.Set:
		return toJSON([]any(v))
	case []any:
		list := make([]any, len(v))
		for k := range v {
			list[k] = toJSON(v[k])
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for k := range v {
			m[k] = toJSON(v[k])
		}
		return m
	}
	return v
}

func (m *Master) jsonSupply(c *jsonCall) (any, error) {
	state := c.text("state")
	if state == "" {
		state = available
	}
	url := c.text("software_release_uri")
	return success("Supplied " + url + " to be " + state), m.supply(c.call(), c.text("computer_guid"), url, state)
}

// registered is find with the text of this interface.
func (m *Master) registered(t *tx, c *jsonCall) (*node, error) {
	n, err := m.find(t, c.text("computer_guid"))
	if err != nil {
		return nil, notFound("%s is not registered.", c.text("computer_guid"))
	}
	return n, nil
}

func (m *Master) jsonReleases(c *jsonCall) (any, error) {
	list := []any{}
	var err error
	m.state.view(func(t *tx) {
		var n *node
		if n, err = m.registered(t, c); err != nil {
			return
		}
		for _, r := range n.Releases {
			list = append(list, map[string]any{"software_release_uri": r.URL, "state": r.State})
		}
	})
	return results(list), err
}

func (m *Master) jsonReleaseState(c *jsonCall) (any, error) {
	state, title, run := c.text("reported_state"), "Ignored", dropRelease
	if state == destroyed {
		title = "Destroyed"
	} else {
		run = reportRelease(state, "")
	}
	err := m.release(c.call(), c.text("computer_guid"), c.text("software_release_uri"), run)
	if state != destroyed && isNotFound(err) {
		err = nil // ignored, as reports of instances that are not there
	}
	return success(title), err
}

func (m *Master) jsonReleaseError(c *jsonCall) (any, error) {
	return success("Ignored"), m.release(c.call(), c.text("computer_guid"), c.text("software_release_uri"), reportRelease("error", c.text("message")))
}

func (m *Master) jsonNodeInstances(c *jsonCall) (any, error) {
	list := []any{}
	var err error
	m.state.view(func(t *tx) {
		var n *node
		if n, err = m.registered(t, c); err != nil {
			return
		}
		for _, id := range n.Partitions {
			if p := t.partition(place{n.ID, id}); p.Instance != nil {
				list = append(list, map[string]any{
					"title": p.Instance.Title, "instance_guid": guid(p.Instance.name, false), "state": p.Instance.State,
					"compute_partition_id": id, "software_release_uri": p.Instance.Software,
				})
			}
		}
	})
	return results(list), err
}

func (m *Master) jsonFormat(c *jsonCall) (any, error) {
	n := node{ID: c.text("computer_guid")}
	if err := checkName("computer_guid", n.ID); err != nil {
		return nil, err
	}
	var rows []*partition
	list, _ := c.in["compute_partition_list"].([]any)
	for _, v := range list {
		d := v.(map[string]any)
		p := &partition{place: place{n.ID, slap.Text(d, "partition_id")}}
		if err := checkName("partition_id", p.Partition); err != nil {
			return nil, err
		}
		addresses, _ := d["ip_list"].([]any)
		for _, a := range addresses {
			a := a.(map[string]any)
			p.Addresses = append(p.Addresses, address{Interface: slap.Text(a, "network-interface"), Addr: slap.Text(a, "ip-address"), Netmask: slap.Text(a, "netmask")})
		}
		rows = append(rows, p)
	}
	return success("Formatted"), m.format(c.call(), n, rows)
}

func (m *Master) jsonNodeBang(c *jsonCall) (any, error) {
	return success("Ignored"), m.bangNode(c.call(), c.text("computer_guid"))
}

func (m *Master) jsonUsage(c *jsonCall) (any, error) {
	return success("Ignored"), m.usage(c.call(), c.text("computer_guid"), c.text("tioxml"))
}

func (m *Master) jsonNodeStatus(c *jsonCall) (v any, err error) {
	m.state.view(func(t *tx) {
		_, err = m.registered(t, c)
	})
	return map[string]any{"text": "Unknown (not implemented)"}, err
}

func (m *Master) jsonHateoasURL(c *jsonCall) (any, error) {
	return map[string]any{"hateoas_url": origin(c.r) + "/hateoas/"}, nil
}

func (m *Master) jsonNodes(*jsonCall) (any, error) {
	list := []any{}
	m.state.view(func(t *tx) {
		for _, id := range t.m.nodeOrder {
			if t.node(id).Formatted {
				list = append(list, map[string]any{"computer_guid": id})
			}
		}
	})
	return results(list), nil
}
