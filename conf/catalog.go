package conf

import (
	"errors"
	"fmt"

	"weir/catalog"
	"weir/tags"
)

// A Grammar says how the tags of a policy are written.
type Grammar struct {
	Kind      string   `yaml:"kind"`
	Prefix    string   `yaml:"prefix"`
	Product   string   `yaml:"product"`
	Pattern   string   `yaml:"pattern"`
	Supply    string   `yaml:"supply"`
	Ingestion string   `yaml:"ingestion"`
	Stream    string   `yaml:"stream"`
	Examples  []string `yaml:"examples"`
}

// A Supply is a data supply that is defined at each start.
type Supply struct {
	Reference   string   `yaml:"reference"`
	Title       string   `yaml:"title"`
	State       string   `yaml:"state"` // at first
	Products    []string `yaml:"products"`
	Source      string   `yaml:"source"`
	Destination string   `yaml:"destination"`
	Project     string   `yaml:"project"`
}

func (g *Grammar) spec() *tags.Spec {
	if g == nil {
		return nil
	}
	return &tags.Spec{Kind: g.Kind, Prefix: g.Prefix, Product: g.Product, Pattern: g.Pattern,
		Supply: g.Supply, Ingestion: g.Ingestion, Stream: g.Stream, Examples: g.Examples}
}

// Supply gives the catalog's form of a supply.
func (s Supply) Supply() catalog.Supply {
	return catalog.Supply{Reference: s.Reference, Title: s.Title, State: s.State, Products: s.Products,
		Source: s.Source, Destination: s.Destination, Project: s.Project, Origin: catalog.FromConfiguration}
}

// HasCatalog tells whether there is something for a catalog to know.
func (c *Config) HasCatalog() bool {
	for _, p := range c.Policies {
		if p.Grammar != nil {
			return true
		}
	}
	return len(c.Supplies) > 0
}

// supplies finds definitions that the catalog could not keep.
func (d *decoder) supplies(c *Config) {
	first := map[string]int{}
	for i, s := range c.Supplies {
		path := fmt.Sprintf("supplies[%d]", i)
		if s.State != "" {
			d.oneOf(path+".state", s.State, catalog.Validated, catalog.Default, catalog.Draft, catalog.Invalidated)
		}
		stateless := s.Supply()
		stateless.State = ""
		if err := stateless.Validate(); err != nil {
			d.at(path+".reference", err)
		}
		if len(s.Products) == 0 {
			d.at(path+".products", errors.New(`is empty: list the products that it supplies, or write ["*"] for any`))
		}
		if j, again := first[s.Reference]; again {
			d.at(path+".reference", fmt.Errorf("%q is already that of supplies[%d]: rename one", s.Reference, j))
		}
		first[s.Reference] = i
	}
}
