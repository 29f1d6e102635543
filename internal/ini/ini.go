// Package ini reads configuration files of the form that Python's configparser
// takes: [sections], name = value or name: value, comments in lines of their
// own, and values that go on in indented lines.
package ini

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// A Section is a part of a file. A name that comes twice has its last value.
type Section struct {
	Name   string
	Values map[string]string // by name in lower case; lines are joined by a newline
	Lines  map[string]int    // where each name stands
}

// Read gives the sections in their order; one that comes twice is given
// twice.
func Read(r io.Reader) ([]Section, error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	var list []Section
	var key string
	for n := 1; in.Scan(); n++ {
		raw := in.Text()
		line := strings.TrimSpace(raw)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case raw[0] == '[' && strings.HasSuffix(line, "]"):
			list, key = append(list, Section{line[1 : len(line)-1], map[string]string{}, map[string]int{}}), ""
		case len(list) == 0:
			return nil, fmt.Errorf("line %d: %q is before any [section]", n, line)
		case (raw[0] == ' ' || raw[0] == '\t') && key != "":
			list[len(list)-1].Values[key] += "\n" + line
		default:
			k := strings.IndexAny(line, "=:")
			if k < 0 {
				return nil, fmt.Errorf("line %d: %q is no option = value", n, line)
			}
			key = strings.ToLower(strings.TrimSpace(line[:k]))
			list[len(list)-1].Values[key] = strings.TrimSpace(line[k+1:])
			list[len(list)-1].Lines[key] = n
		}
	}
	return list, in.Err()
}

// List gives the lines of a value that are not empty.
func List(s string) []string {
	var list []string
	for l := range strings.SplitSeq(s, "\n") {
		if l = strings.TrimSpace(l); l != "" {
			list = append(list, l)
		}
	}
	return list
}
