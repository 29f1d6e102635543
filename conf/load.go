package conf

import (
	_ "embed" // default.yaml
	"errors"
	"os"
	"reflect"

	"go.yaml.in/yaml/v4"
)

//go:embed default.yaml
var defaults []byte

// DefaultYAML is the file that documents every key with its default.
func DefaultYAML() []byte { return append([]byte(nil), defaults...) }

// A Source is where a file's variables and secrets come from. The zero value
// is the process's environment and the host's files.
type Source struct {
	Getenv   func(name string) (value string, set bool) // default os.LookupEnv
	ReadFile func(name string) ([]byte, error)          // default os.ReadFile
	// Offline leaves secrets unread; variables that are not set stay an error.
	Offline bool
}

func (s Source) filled() Source {
	if s.Getenv == nil {
		s.Getenv = os.LookupEnv
	}
	if s.ReadFile == nil {
		s.ReadFile = os.ReadFile
	}
	return s
}

// Load reads a configuration file. The Config is nil unless there are no
// Diagnostics.
func Load(name string, s Source) (*Config, Diagnostics) {
	s = s.filled()
	data, err := s.ReadFile(name)
	if err != nil {
		return nil, Diagnostics{{File: name, Message: "cannot be read: " + err.Error()}}
	}
	return Parse(name, data, s)
}

// Parse reads a configuration from its text; name is for diagnostics and for
// the folder of relative secrets.
func Parse(name string, data []byte, s Source) (*Config, Diagnostics) {
	c, ds := Default(), Diagnostics(nil)
	d := &decoder{file: name, source: s.filled(), places: make(map[string]place)}
	d.document(data, c)
	c.file, c.places = name, d.places
	d.meaning(c)
	if ds = d.found; len(ds) > 0 {
		ds.sort()
		return nil, ds
	}
	return c, nil
}

// Default is the configuration of default.yaml.
func Default() *Config {
	c := new(Config)
	d := &decoder{file: "default.yaml", source: Source{}.filled(), places: make(map[string]place)}
	d.document(defaults, c)
	c.file, c.places = d.file, d.places
	return c
}

// document fills a Config from the one document of a file.
func (d *decoder) document(data []byte, c *Config) {
	var n yaml.Node
	if err := yaml.Load(data, &n); err != nil {
		d.syntax(err)
		return
	}
	if n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		d.fill(n.Content[0], reflect.ValueOf(c).Elem(), "")
	}
}

// syntax tells what the YAML library says of a file that is no YAML.
func (d *decoder) syntax(err error) {
	var many *yaml.LoadErrors
	if errors.As(err, &many) {
		for _, e := range many.Errors {
			d.errorf(place{e.Mark.Line, e.Mark.Column}, "not YAML: %v", e)
		}
		return
	}
	d.errorf(place{1, 1}, "not YAML: %v", err)
}
