package catalog

import (
	"errors"
	"time"
)

// Errors that callers test for.
var (
	// ErrNotFound: there is no such resource.
	ErrNotFound = errors.New("not found")
	// ErrUnknownSupply: no supply has the reference that a tag names.
	ErrUnknownSupply = errors.New("catalog: unknown data supply")
	// ErrUnknownProduct: the supply has no product of the reference that a tag
	// names.
	ErrUnknownProduct = errors.New("catalog: unknown data product")
	// ErrState: a resource is in a state in which it takes no data.
	ErrState = errors.New("catalog: not in a state that takes data")
	// ErrFull: tags have made as many resources as they may.
	ErrFull = errors.New("catalog: full")
	// ErrConflict: a step is not possible in the resource's state.
	ErrConflict = errors.New("catalog: not possible now")
	// ErrInvalid: what was asked for makes no sense.
	ErrInvalid = errors.New("catalog: not valid")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("catalog: closed")
)

// States of resources. A supply is draft, validated, default, invalidated or
// deleted; a product the same without default; an ingestion has the others.
const (
	Draft       = "draft"
	Validated   = "validated"
	Default     = "default"
	Invalidated = "invalidated"
	Deleted     = "deleted"
	Planned     = "planned"
	Confirmed   = "confirmed"
	Started     = "started"
	Stopped     = "stopped"
	Delivered   = "delivered"
	Cancelled   = "cancelled"
)

// Where a resource comes from.
const (
	FromConfiguration = "configuration"
	FromRequest       = "request"
	FromTag           = "tag" // of a policy that takes unknown ones
)

// AnyProduct, in a supply's list, takes data of any product.
const AnyProduct = "*"

// A Supply says that somebody supplies data of some products.
type Supply struct {
	Reference   string    `json:"reference"`
	Title       string    `json:"title,omitempty"`
	State       string    `json:"state"`
	Products    []string  `json:"products"` // references; "*" is any
	Source      string    `json:"source,omitempty"`
	Destination string    `json:"destination,omitempty"`
	Project     string    `json:"project,omitempty"`
	Origin      string    `json:"origin"`
	Created     time.Time `json:"created"`
	Modified    time.Time `json:"modified"`
}

// A Product is a kind of data.
type Product struct {
	Reference string    `json:"reference"`
	Title     string    `json:"title,omitempty"`
	State     string    `json:"state"`
	Origin    string    `json:"origin"`
	Created   time.Time `json:"created"`
	Modified  time.Time `json:"modified"`
}

// An Ingestion takes the data of a supply.
type Ingestion struct {
	ID        string `json:"id"` // YYYYMMDD-reference
	Reference string `json:"reference"`
	Supply    string `json:"supply"`
	State     string `json:"state"`
	// Held says that the supply's state stopped the ingestion, so that the
	// supply's return starts it again.
	Held        bool      `json:"held,omitempty"`
	Source      string    `json:"source,omitempty"`
	Destination string    `json:"destination,omitempty"`
	Project     string    `json:"project,omitempty"`
	Lines       []Line    `json:"lines"`
	Created     time.Time `json:"created"`
	Modified    time.Time `json:"modified"`
}

// A Line is a product of an ingestion and the stream that its data is in.
type Line struct {
	Product string    `json:"product"`
	Stream  string    `json:"stream"`
	Policy  string    `json:"policy"`
	Created time.Time `json:"created"`
}

// live tells whether the ingestion stands for its reference.
func (i *Ingestion) live() bool {
	return i.State != Delivered && i.State != Cancelled && i.State != Deleted
}

// takes tells whether the ingestion takes data: a stopped one does, and one
// that a supply of state default made, which stays a draft.
func (i *Ingestion) takes() bool {
	return i.State == Started || i.State == Stopped || i.State == Draft
}

func (i *Ingestion) has(product, stream string) bool {
	for _, l := range i.Lines {
		if l.Product == product && l.Stream == stream {
			return true
		}
	}
	return false
}

// steps says which state an action leads to, by kind and state.
var supplySteps = map[string]map[string]string{
	Draft:       {"validate": Validated, "default": Default, "delete": Deleted},
	Validated:   {"default": Default, "invalidate": Invalidated},
	Default:     {"validate": Validated, "invalidate": Invalidated},
	Invalidated: {"validate": Validated, "delete": Deleted},
}

var productSteps = map[string]map[string]string{
	Draft:       {"validate": Validated, "delete": Deleted},
	Validated:   {"invalidate": Invalidated},
	Invalidated: {"validate": Validated, "delete": Deleted},
}

var ingestionSteps = map[string]map[string]string{
	Draft:     {"plan": Planned, "start": Started, "stop": Stopped, "deliver": Delivered, "cancel": Cancelled, "delete": Deleted},
	Planned:   {"confirm": Confirmed, "start": Started, "cancel": Cancelled},
	Confirmed: {"start": Started, "cancel": Cancelled},
	Started:   {"stop": Stopped, "deliver": Delivered},
	Stopped:   {"start": Started, "deliver": Delivered},
	Delivered: {"start": Started},
}
