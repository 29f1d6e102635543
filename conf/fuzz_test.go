package conf

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzParse: any text is either a configuration or has mistakes that say
// where they are; never both, never neither.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yaml", "examples/*.yaml", "default.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	source := Source{
		Getenv:   testSource().Getenv,
		ReadFile: func(string) ([]byte, error) { return nil, errors.New("no files here") },
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, ds := Parse("f.yaml", data, source)
		if (c == nil) == (len(ds) == 0) {
			t.Fatalf("got %v and %v", c, ds)
		}
		for _, d := range ds {
			if d.Line < 1 || d.Column < 1 || d.Message == "" {
				t.Errorf("a mistake without a place: %q", d)
			}
		}
	})
}
