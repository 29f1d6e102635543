package ini

import (
	"strings"
	"testing"
)

// FuzzRead: options are below sections, have names, and those in lower case.
func FuzzRead(f *testing.F) {
	f.Add("[slapos]\nmaster_url = x\n  y\n# z\n")
	f.Add("[a]\n:b\n")
	f.Add("\x00[a]\r\n\tb=c\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, s := range list {
			for k := range s.Values {
				if k != strings.ToLower(k) || strings.Contains(k, "\n") {
					t.Errorf("option %q", k)
				}
			}
		}
	})
}
