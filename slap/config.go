package slap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"weir/internal/ini"
)

// LoadClientConfig reads the configuration of a person's tools: [slapos]
// master_url, and [slapconsole] cert_file, key_file and weir's own ca_file.
// Files that are named and not there, as in the example that slapos brings, are
// as if they were not named.
func LoadClientConfig(path string) (o ClientOptions, err error) {
	f, err := os.Open(path)
	if err != nil {
		return o, fmt.Errorf("slap: configuration: %w", err)
	}
	defer f.Close()
	sections, err := ini.Read(f)
	if err != nil {
		return o, fmt.Errorf("slap: configuration %s: %w", path, err)
	}
	for _, s := range sections {
		switch s.Name {
		case "slapos":
			o.URL = s.Values["master_url"]
		case "slapconsole":
			o.Cert, o.Key, o.CA = present(s.Values["cert_file"]), present(s.Values["key_file"]), present(s.Values["ca_file"])
		}
	}
	if o.URL == "" {
		return o, fmt.Errorf("slap: configuration %s: [slapos] master_url is missing", path)
	}
	return o, nil
}

// present gives the name of a file that is there, else "".
func present(name string) string {
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return name
}
