package conf

import "testing"

func TestDefault(t *testing.T) {
	t.Parallel()
	c, ds := Parse("default.yaml", DefaultYAML(), Source{})
	if ds != nil {
		t.Fatal(ds)
	}
	if c.HTTP.Listen != "127.0.0.1:8880" || len(c.Policies) != 1 || c.Policies[0].Match != "**" {
		t.Errorf("got %+v", c)
	}
}
