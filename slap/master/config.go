package master

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"weir/internal/ini"
)

// A Config is what a slapos.cfg says about a standalone master.
type Config struct {
	Listen   string // HOST:PORT of [slapproxy]
	Data     string // folder beside database_uri
	Computer string // computer_id of [slapos]
	Database string // database_uri, where slapproxy has its own
	Products map[string]string
	Forward  []Forward
	// Attributes are those of [computer/ID].
	Attributes map[string]map[string]string
}

// LoadConfig reads a slapos.cfg: [slapos] computer_id; [slapproxy] host, port,
// database_uri and software_product_list; [multimaster/URL]; and of weir's own [computer/ID], what
// filters are compared with. Sections and
// options of other programs are left alone.
func LoadConfig(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("slap: configuration: %w", err)
	}
	defer f.Close()
	sections, err := ini.Read(f)
	if err != nil {
		return nil, fmt.Errorf("slap: configuration %s: %w", path, err)
	}
	c := &Config{Products: map[string]string{}, Attributes: map[string]map[string]string{}}
	for _, s := range sections {
		if err := c.section(s); err != nil {
			return nil, fmt.Errorf("slap: configuration %s: %w", path, err)
		}
	}
	if c.Computer == "" {
		return nil, fmt.Errorf("slap: configuration %s: [slapos] computer_id is missing", path)
	}
	if c.Database != "" {
		c.Data = filepath.Clean(c.Database) + ".weir"
	}
	return c, nil
}

func (c *Config) section(s ini.Section) error {
	switch {
	case s.Name == "slapos":
		c.Computer = s.Values["computer_id"]
	case s.Name == "slapproxy":
		c.Database = s.Values["database_uri"]
		host, port := s.Values["host"], s.Values["port"]
		if host == "" {
			host = "127.0.0.1"
		}
		if port == "" {
			port = "8080"
		}
		c.Listen = net.JoinHostPort(strings.Trim(host, "[]"), port)
		for _, line := range ini.List(s.Values["software_product_list"]) {
			name, url, ok := strings.Cut(line, " ")
			if !ok {
				return fmt.Errorf("[slapproxy] software_product_list: %q is no name and URL", line)
			}
			c.Products[name] = strings.TrimSpace(url)
		}
	case strings.HasPrefix(s.Name, "computer/"):
		c.Attributes[strings.TrimPrefix(s.Name, "computer/")] = s.Values
	case strings.HasPrefix(s.Name, "multimaster/"):
		c.Forward = append(c.Forward, Forward{
			URL: strings.TrimPrefix(s.Name, "multimaster/"), Releases: ini.List(s.Values["software_release_list"]),
			Computer: s.Values["computer"], Partition: s.Values["partition"], Key: s.Values["key"], Cert: s.Values["cert"], CA: s.Values["ca"],
		})
	}
	return nil
}
