package master

import (
	"strconv"

	"weir/slap"
)

// computerObject is a node with its partitions and releases.
func computerObject(t *tx, n *node) *slap.Object {
	hosted := map[place][]*shared{}
	t.eachShared(func(s *shared) { hosted[s.Host] = append(hosted[s.Host], s) })
	partitions := make([]any, 0, len(n.Partitions))
	for _, id := range n.Partitions {
		p := t.partition(place{n.ID, id})
		partitions = append(partitions, partitionObject(p, hosted[p.place]))
	}
	releases := make([]any, 0, len(n.Releases))
	for _, r := range n.Releases {
		o := releaseObject(r.URL, n.ID)
		o.Attributes["_requested_state"] = r.State
		releases = append(releases, o)
	}
	return &slap.Object{Class: "Computer", Args: slap.Tuple{n.ID}, Attributes: map[string]any{
		"_computer_id": n.ID, "_computer_partition_list": partitions, "_software_release_list": releases,
	}}
}

func releaseObject(url, node string) *slap.Object {
	return &slap.Object{Class: "SoftwareRelease", Args: slap.Tuple{url, node}, Attributes: map[string]any{
		"_software_release": url, "_computer_guid": node, "_software_instance_list": []any{},
	}}
}

// partitionObject is a partition as its node sees it.
func partitionObject(p *partition, hosted []*shared) *slap.Object {
	a := map[string]any{
		"_computer_id": p.Node, "_partition_id": p.Partition, "_request_dict": nil,
		"_requested_state": "destroyed", "_need_modification": 0,
		"_instance_guid": p.guid(), "_software_release_document": nil,
	}
	o := &slap.Object{Class: "ComputerPartition", Args: slap.Tuple{p.Node, p.Partition, nil}, Attributes: a}
	i := p.Instance
	if i == nil {
		return o
	}
	a["_requested_state"], a["_need_modification"] = i.State, 1
	a["_connection_dict"] = i.Connection.Values()
	a["_software_release_document"] = releaseObject(i.Software, p.Node)
	a["_parameter_dict"] = nodeParameters(p, hosted)
	if f := nodeFilter(i.Filter); len(f) > 0 {
		a["_filter_dict"] = f
	}
	i.Status.show(a)
	return o
}

// nodeParameters are an instance's own, and what its node has to know.
func nodeParameters(p *partition, hosted []*shared) map[string]any {
	i := p.Instance
	d := i.Parameters.Values()
	d["ip_list"], d["full_address_list"] = addressList(p), []any{}
	d["slap_software_type"], d["slap_software_release_url"] = i.Type, i.Software
	d["instance_title"], d["root_instance_title"] = i.Title, i.tree()
	d["slap_computer_id"], d["slap_computer_partition_id"] = p.Node, p.Partition
	d["timestamp"] = strconv.FormatInt(i.Stamp, 10)
	list := []any{}
	for _, s := range hosted {
		if s.State == started {
			list = append(list, sharedEntry(s))
		}
	}
	d["slave_instance_list"] = list
	return d
}

// sharedEntry is a shared instance as its host sees it. What the host relies
// on is not overwritten by parameters of the same name.
func sharedEntry(s *shared) map[string]any {
	d := s.parameters()
	d["slave_title"], d["slave_reference"], d["slap_software_type"] = s.Reference, s.Reference, s.Type
	return d
}

func (s *shared) parameters() map[string]any {
	v, err := slap.Unmarshal([]byte(s.Parameters))
	d, ok := v.(map[string]any)
	if err != nil || !ok {
		return map[string]any{}
	}
	return d
}

func addressList(p *partition) []any {
	list := make([]any, 0, len(p.Addresses))
	for _, a := range p.Addresses {
		list = append(list, slap.Tuple{a.Interface, a.Addr})
	}
	return list
}

// serverURL is the constant that the library expects and never uses.
const serverURL = "slap_server_url"

// instanceObject answers the request of an instance.
func instanceObject(p *partition) *slap.Object {
	i := p.Instance
	parameters := i.Parameters.Values()
	parameters["timestamp"] = strconv.FormatInt(i.Stamp, 10)
	a := map[string]any{
		"slap_computer_id": p.Node, "slap_computer_partition_id": p.Partition, "slap_server_url": serverURL,
		"slap_software_release_url": i.Software, "slap_software_type": i.Type,
		"ip_list": addressList(p), "connection_xml": nil,
		"_connection_dict": i.Connection.Values(), "_parameter_dict": parameters,
		"_requested_state": i.State, "_instance_guid": p.guid(),
	}
	if i.Published {
		a["connection_xml"] = i.Connection.XML()
	}
	i.Status.show(a)
	return &slap.Object{Class: "SoftwareInstance", Args: slap.Tuple{}, Attributes: a}
}

// sharedObject answers the request of a shared instance.
func sharedObject(s *shared, host *partition) *slap.Object {
	return &slap.Object{Class: "SoftwareInstance", Args: slap.Tuple{}, Attributes: map[string]any{
		"slap_computer_id": s.Host.Node, "slap_computer_partition_id": s.Host.Partition, "slap_server_url": serverURL,
		"slap_software_release_url": s.Software, "slap_software_type": s.Type,
		"ip_list": addressList(host), "_connection_dict": s.Connection.Values(), "_parameter_dict": s.parameters(),
	}}
}

// goneObject answers a request to destroy what is not there.
func goneObject(r *request) *slap.Object {
	return &slap.Object{Class: "SoftwareInstance", Args: slap.Tuple{}, Attributes: map[string]any{
		// The library refuses none here, and takes empty text.
		"slap_computer_id": "", "slap_computer_partition_id": "", "slap_server_url": serverURL,
		"slap_software_release_url": r.software, "slap_software_type": r.kind, "ip_list": []any{}, "connection_xml": nil,
		"_connection_dict": map[string]any{}, "_parameter_dict": orEmpty(r.parameters), "_requested_state": destroyed,
	}}
}
