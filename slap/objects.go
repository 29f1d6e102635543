package slap

import (
	"fmt"
	"strconv"
)

// A Computer is a node with its partitions and the releases it is asked for.
type Computer struct {
	ID         string
	Partitions []Partition
	Releases   []Release
}

// A Release is a software release on a computer.
type Release struct {
	URL      string
	Computer string
	State    string // asked for: available or destroyed; "" inside a partition
}

// A Partition is what the node that runs it has to know.
type Partition struct {
	Place
	State      string // started, stopped, destroyed; destroyed as well when it is free
	Busy       bool
	GUID       string
	Software   string
	Type       string
	Title      string
	Root       string // title of the tree's root
	Timestamp  string // to be compared for equality only
	Parameters map[string]any
	Connection map[string]any
	Filter     map[string]any
	Status     string // last access status, where the master sends it
	Addresses  [][2]string
	Shared     []map[string]any
}

// An Instance is the answer to a request.
type Instance struct {
	Place
	State      string // "" for a shared instance
	GUID       string
	Software   string
	Type       string
	Parameters map[string]any
	Connection map[string]any
	Addresses  [][2]string
	Status     string // what the node reported last, where the master sends it
}

// own are the entries of a partition's parameters that are not its instance's.
var own = map[string]bool{
	"ip_list": true, "full_address_list": true, "full_ip_list": true, "slap_software_type": true, "instance_title": true,
	"root_instance_title": true, "root_instance_short_title": true, "slap_computer_id": true, "slap_computer_partition_id": true,
	"slap_software_release_url": true, "slave_instance_list": true, "timestamp": true,
}

func unexpected(what string, v any) error {
	if o, ok := v.(*Object); ok {
		return fmt.Errorf("%w: the answer is a %s, not %s", ErrMarshal, o.Class, what)
	}
	return fmt.Errorf("%w: the answer is a %T, not %s", ErrMarshal, v, what)
}

func toComputer(v any) (*Computer, error) {
	o, ok := v.(*Object)
	if !ok || o.Class != "Computer" {
		return nil, unexpected("a computer", v)
	}
	c := &Computer{ID: Text(o.Attributes, "_computer_id")}
	partitions, _ := o.Attributes["_computer_partition_list"].([]any)
	for _, v := range partitions {
		p, err := toPartition(v)
		if err != nil {
			return nil, err
		}
		c.Partitions = append(c.Partitions, *p)
	}
	releases, _ := o.Attributes["_software_release_list"].([]any)
	for _, v := range releases {
		r, ok := v.(*Object)
		if !ok || r.Class != "SoftwareRelease" {
			return nil, unexpected("a software release", v)
		}
		c.Releases = append(c.Releases, Release{
			URL: Text(r.Attributes, "_software_release"), Computer: Text(r.Attributes, "_computer_guid"), State: Text(r.Attributes, "_requested_state"),
		})
	}
	return c, nil
}

func toPartition(v any) (*Partition, error) {
	o, ok := v.(*Object)
	if !ok || o.Class != "ComputerPartition" {
		return nil, unexpected("a partition", v)
	}
	a, d := o.Attributes, Dict(o.Attributes, "_parameter_dict")
	p := &Partition{
		Place: Place{Text(a, "_computer_id"), Text(a, "_partition_id")},
		State: Text(a, "_requested_state"), GUID: Text(a, "_instance_guid"), Status: Text(a, "_access_status"),
		Type: Text(d, "slap_software_type"), Title: Text(d, "instance_title"), Root: Text(d, "root_instance_title"),
		Timestamp: scalarText(d["timestamp"]), Connection: Dict(a, "_connection_dict"), Filter: Dict(a, "_filter_dict"),
		Addresses: pairs(d["ip_list"]), Parameters: map[string]any{},
	}
	if r, ok := a["_software_release_document"].(*Object); ok {
		p.Busy, p.Software = true, Text(r.Attributes, "_software_release")
	}
	for k, v := range d {
		if !own[k] {
			p.Parameters[k] = v
		}
	}
	list, _ := d["slave_instance_list"].([]any)
	for _, v := range list {
		if s, ok := v.(map[string]any); ok {
			p.Shared = append(p.Shared, s)
		}
	}
	return p, nil
}

// toInstance reads the answer to a request: a SoftwareInstance, or, from a
// master that passed the request on, a ComputerPartition.
func toInstance(v any) (*Instance, error) {
	o, ok := v.(*Object)
	if !ok || o.Class != "SoftwareInstance" && o.Class != "ComputerPartition" {
		return nil, unexpected("an instance", v)
	}
	a := o.Attributes
	i := &Instance{
		Place: Place{Text(a, "slap_computer_id"), Text(a, "slap_computer_partition_id")},
		State: Text(a, "_requested_state"), GUID: Text(a, "_instance_guid"),
		Software: Text(a, "slap_software_release_url"), Type: Text(a, "slap_software_type"),
		Parameters: Dict(a, "_parameter_dict"), Connection: Dict(a, "_connection_dict"), Addresses: pairs(a["ip_list"]),
		Status: Text(a, "_access_status"),
	}
	if o.Class == "ComputerPartition" && i.Software == "" {
		i.Software = Text(a, "_software_release_document")
	}
	return i, nil
}

// scalarText gives text or a number as text; masters differ on timestamps.
func scalarText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case nil:
		return ""
	}
	return PythonText(v)
}

func pairs(v any) [][2]string {
	list, _ := v.([]any)
	var out [][2]string
	for _, v := range list {
		if t, ok := v.(Tuple); ok && len(t) >= 2 {
			out = append(out, [2]string{scalarText(t[0]), scalarText(t[1])})
		}
	}
	return out
}
