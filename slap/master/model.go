package master

import (
	"weir/slap"
)

// The rows of the model. A row is never changed once it is in a model: a
// change puts a new one in its place. Their JSON is the on-disk format.

// A node is a computer.
type node struct {
	ID         string    `json:"id"`
	Title      string    `json:"title,omitempty"`
	Address    string    `json:"address,omitempty"`
	Netmask    string    `json:"netmask,omitempty"`
	Partitions []string  `json:"partitions,omitempty"` // in the order of the format
	Releases   []release `json:"releases,omitempty"`   // in the order of the supplies
	Formatted  bool      `json:"formatted,omitempty"`
	Seen       int64     `json:"seen,omitempty"` // of the last report, Unix seconds
}

// A release is a software release supplied to a node.
type release struct {
	URL    string `json:"url"`
	State  string `json:"state"`            // asked for: available, destroyed
	Status string `json:"status,omitempty"` // reported: building, available, error
	Error  string `json:"error,omitempty"`  // the end of the last error
	At     int64  `json:"at,omitempty"`     // of the report, Unix seconds
}

// A place names a partition of a node.
type place struct {
	Node      string `json:"node"`
	Partition string `json:"partition"`
}

func (p place) guid() string { return p.Node + "-" + p.Partition }

// An address of a partition.
type address struct {
	Interface string `json:"interface"`
	Addr      string `json:"addr"`
	Netmask   string `json:"netmask,omitempty"`
}

// A partition, free or with an instance in it.
type partition struct {
	place
	Addresses []address `json:"addresses,omitempty"`
	// Capabilities keep a partition for requests that want one of them.
	Capabilities []string  `json:"capabilities,omitempty"`
	Instance     *instance `json:"instance,omitempty"`
}

// A name identifies an instance: its title in the tree of a root, and the
// root's title, "" for a root.
type name struct {
	Title string `json:"title"`
	Root  string `json:"root,omitempty"`
}

// tree is the title of the root.
func (n name) tree() string {
	if n.Root == "" {
		return n.Title
	}
	return n.Root
}

// An instance of a software release.
type instance struct {
	name
	Requester  *place          `json:"requester,omitempty"` // nil: a person
	Software   string          `json:"software"`
	Type       string          `json:"type"`
	Asked      string          `json:"asked"` // by the requester
	State      string          `json:"state"` // the root's, while that is not started
	Parameters slap.Parameters `json:"parameters,omitempty"`
	Filter     slap.Parameters `json:"filter,omitempty"`
	Connection slap.Parameters `json:"connection,omitempty"`
	Published  bool            `json:"published,omitempty"` // Connection was set, perhaps to nothing
	Stamp      int64           `json:"stamp"`
	Status     status          `json:"status,omitzero"`
}

// A status is what a node reported last of an instance.
type status struct {
	State   string `json:"state,omitempty"` // started, stopped, error, bang
	Message string `json:"message,omitempty"`
	At      int64  `json:"at,omitempty"` // Unix seconds
}

// A shared instance lives in the partition of an instance of its release.
type shared struct {
	name
	Host       place           `json:"host"`
	Reference  string          `json:"reference"` // what the host calls it, for good
	Number     int64           `json:"number"`    // the order among the host's
	Requester  *place          `json:"requester,omitempty"`
	Software   string          `json:"software"`
	Type       string          `json:"type"`
	State      string          `json:"state"`
	Parameters string          `json:"parameters"` // marshalled, with their types
	Connection slap.Parameters `json:"connection,omitempty"`
	Published  bool            `json:"published,omitempty"`
	Stamp      int64           `json:"stamp"`
	Status     status          `json:"status,omitzero"`
}

// forwarded is a request that another master holds for us.
type forwarded struct {
	Title     string `json:"title"` // as the other master has it
	Master    string `json:"master"`
	Requester *place `json:"requester,omitempty"`
	Software  string `json:"software"`
}

// A subject is whom a certificate is for: a computer or a user by its name, or
// the instance in a partition of the computer Name.
type subject struct {
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Partition string `json:"partition,omitempty"`
}

// A certificate that was issued and counts. One whose row is gone is revoked.
type certificate struct {
	subject
	Serial string `json:"serial"`
	PEM    string `json:"pem,omitempty"` // of an instance, which is given it again
	At     int64  `json:"at"`            // when it was issued, Unix seconds
}

// A model is all rows, with their indexes.
type model struct {
	nodes      map[string]*node
	nodeOrder  []string
	partitions map[place]*partition
	instances  map[name]place
	shareds    map[name]*shared
	forwards   map[string]*forwarded
	certs      map[subject]*certificate
	serials    map[string]*certificate
}

func newModel() *model {
	return &model{
		nodes: map[string]*node{}, partitions: map[place]*partition{}, instances: map[name]place{},
		shareds: map[name]*shared{}, forwards: map[string]*forwarded{},
		certs: map[subject]*certificate{}, serials: map[string]*certificate{},
	}
}
