package conf

import (
	"bytes"
	_ "embed" // default.yaml
	"errors"
	"io"
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
	c, d := Default(), newDecoder(name, s)
	if d.document(data, c) {
		d.meaning(c)
	}
	c.file, c.places = name, d.places
	if len(d.found) > 0 {
		d.found.sort()
		return nil, d.found
	}
	return c, nil
}

// Default is the configuration of default.yaml.
func Default() *Config {
	c := new(Config)
	d := newDecoder("default.yaml", Source{})
	d.document(defaults, c)
	c.file, c.places = d.file, d.places
	return c
}

// document fills a Config from the one document of a file. It gives false
// for a file that is no YAML, of which nothing more can be said.
func (d *decoder) document(data []byte, c *Config) bool {
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		d.syntax(err)
		return false
	}
	var n, more yaml.Node
	if err := loader.Load(&n); err == io.EOF {
		return true // a file of comments
	} else if err != nil {
		d.syntax(err)
		return false
	}
	if len(n.Content) == 1 {
		d.fill(n.Content[0], reflect.ValueOf(c).Elem(), "")
	}
	if err := loader.Load(&more); err == nil {
		d.errorf(placeOf(&more), "a second document begins: write one file with one document")
	} else if err != io.EOF {
		d.syntax(err)
	}
	return true
}

// syntax tells what the YAML library says of a file that is no YAML.
func (d *decoder) syntax(err error) {
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		d.errorf(place{max(1, e.Mark.Line), max(1, e.Mark.Column)}, "not YAML: %s", e.Message)
		return
	}
	d.errorf(place{1, 1}, "not YAML: %v", err)
}
