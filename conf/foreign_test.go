package conf

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestForeignPage: docs/forward.md and the configuration agree. Each setting of
// fluentd and Fluent Bit on the page is a key here or answered, and each answer
// is on the page.
func TestForeignPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/forward.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`.+?) \\|").FindAllStringSubmatch(string(page), -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			listed["forward."+name[1]] = true
		}
	}
	if len(listed) < 50 {
		t.Fatalf("the page lists %d settings", len(listed))
	}
	for path := range listed {
		if _, ok := foreign[path]; !ok && !isKey(reflect.TypeFor[Config](), path) {
			t.Errorf("%s is no key, and nothing says what to write in its place", path)
		}
	}
	for path := range foreign {
		if !listed[path] {
			t.Errorf("docs/forward.md does not list %s", path)
		}
		if isKey(reflect.TypeFor[Config](), path) && path != "forward.security.users" { // Fluent Bit's has the dot in its name
			t.Errorf("%s is answered, and a key", path)
		}
	}
}

// isKey tells whether a path leads to a key; lists are left out of it.
func isKey(t reflect.Type, path string) bool {
	for name := range strings.SplitSeq(path, ".") {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return false
		}
		i, ok := fields(t)[name]
		if !ok {
			return false
		}
		t = t.Field(i).Type
	}
	return true
}
