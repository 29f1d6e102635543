package conf

import (
	"errors"
	"fmt"
	"time"
)

// Lake is the data lake, to which Wendelin's client ebulk pushes sets of files.
type Lake struct {
	Policy  string        `yaml:"policy"` // by which uploads address it; "" is no lake
	PartAge time.Duration `yaml:"part_age"`
	// RemovedAge is how long the bytes of a file stay that was removed or
	// replaced.
	RemovedAge time.Duration `yaml:"removed_age"`
}

// lake finds what makes the data lake impossible.
func (d *decoder) lake(c *Config) {
	if c.Lake.RemovedAge <= 0 {
		d.at("lake.removed_age", errors.New("is not above 0: write a duration such as 168h"))
	}
	if c.Lake.PartAge <= 0 {
		d.at("lake.part_age", errors.New("is not above 0: write a duration such as 24h"))
	}
	for i, p := range c.Policies {
		if c.Lake.Policy != "" && p.Name == c.Lake.Policy {
			d.at("lake.policy", fmt.Errorf("%q is the name of policies[%d], too: rename one, or write \"\" for no lake", p.Name, i))
		}
	}
}
