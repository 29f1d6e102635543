package master

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
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
	sections, err := readINI(bufio.NewScanner(f))
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

func (c *Config) section(s section) error {
	switch {
	case s.name == "slapos":
		c.Computer = s.values["computer_id"]
	case s.name == "slapproxy":
		c.Database = s.values["database_uri"]
		host, port := s.values["host"], s.values["port"]
		if host == "" {
			host = "127.0.0.1"
		}
		if port == "" {
			port = "8080"
		}
		c.Listen = net.JoinHostPort(strings.Trim(host, "[]"), port)
		for _, line := range lines(s.values["software_product_list"]) {
			name, url, ok := strings.Cut(line, " ")
			if !ok {
				return fmt.Errorf("[slapproxy] software_product_list: %q is no name and URL", line)
			}
			c.Products[name] = strings.TrimSpace(url)
		}
	case strings.HasPrefix(s.name, "computer/"):
		c.Attributes[strings.TrimPrefix(s.name, "computer/")] = s.values
	case strings.HasPrefix(s.name, "multimaster/"):
		c.Forward = append(c.Forward, Forward{
			URL: strings.TrimPrefix(s.name, "multimaster/"), Releases: lines(s.values["software_release_list"]),
			Computer: s.values["computer"], Partition: s.values["partition"], Key: s.values["key"], Cert: s.values["cert"], CA: s.values["ca"],
		})
	}
	return nil
}

// lines gives the lines of a value that are not empty.
func lines(s string) []string {
	var list []string
	for _, l := range strings.Split(s, "\n") {
		if l = strings.TrimSpace(l); l != "" {
			list = append(list, l)
		}
	}
	return list
}

// A section of an INI file, as Python's configparser reads it.
type section struct {
	name   string
	values map[string]string
}

func readINI(in *bufio.Scanner) ([]section, error) {
	var list []section
	var key string
	for n := 1; in.Scan(); n++ {
		raw := in.Text()
		line := strings.TrimSpace(raw)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case raw[0] == '[' && strings.HasSuffix(line, "]"):
			list, key = append(list, section{line[1 : len(line)-1], map[string]string{}}), ""
		case len(list) == 0:
			return nil, fmt.Errorf("line %d: %q is before any [section]", n, line)
		case (raw[0] == ' ' || raw[0] == '\t') && key != "":
			list[len(list)-1].values[key] += "\n" + line
		default:
			k := strings.IndexAny(line, "=:")
			if k < 0 {
				return nil, fmt.Errorf("line %d: %q is no option = value", n, line)
			}
			key = strings.ToLower(strings.TrimSpace(line[:k]))
			list[len(list)-1].values[key] = strings.TrimSpace(line[k+1:])
		}
	}
	return list, in.Err()
}
