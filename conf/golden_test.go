package conf

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// testSource has a few variables and the files of testdata.
func testSource() Source {
	vars := map[string]string{"HOME_DIR": "/srv/weir", "EMPTY": "", "PORT": "9000", "SECRET": "from env"}
	return Source{Getenv: func(name string) (string, bool) { v, ok := vars[name]; return v, ok }}
}

// header gives the comments that begin a file: what a bad file is told.
func header(data []byte) (lines []string) {
	for line := range bytes.Lines(data) {
		text, ok := strings.CutPrefix(string(line), "# ")
		if !ok {
			break
		}
		lines = append(lines, strings.TrimSpace(text))
	}
	return lines
}

var update = flag.Bool("update", false, "rewrite the messages at the head of the bad files")

// rewrite puts what a bad file is told at its head, which moves its lines.
func rewrite(t *testing.T, name string, data []byte) {
	body := data
	for range header(data) {
		_, body, _ = bytes.Cut(body, []byte("\n"))
	}
	var head []string
	for range 3 {
		text := strings.Join(head, "") + string(body)
		_, ds := Parse(name, []byte(text), testSource())
		head = head[:0]
		for _, d := range ds {
			head = append(head, "# "+strings.TrimPrefix(d.String(), name+":")+"\n")
		}
	}
	if err := os.WriteFile(name, []byte(strings.Join(head, "")+string(body)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	files, _ := filepath.Glob("testdata/*.bad.yaml")
	if len(files) < 10 {
		t.Fatalf("only %d files", len(files))
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				rewrite(t, name, data)
				return
			}
			c, ds := Load(name, testSource())
			var got []string
			for _, d := range ds {
				got = append(got, strings.TrimPrefix(d.String(), name+":"))
			}
			if want := header(data); !slices.Equal(got, want) {
				t.Errorf("got\n# %s\nwant\n# %s", strings.Join(got, "\n# "), strings.Join(want, "\n# "))
			}
			if len(ds) == 0 || c != nil {
				t.Errorf("a bad file was taken: %+v", c)
			}
		})
	}
}

func TestGoodFiles(t *testing.T) {
	t.Parallel()
	files, _ := filepath.Glob("testdata/*.good.yaml")
	if len(files) < 5 {
		t.Fatalf("only %d files", len(files))
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			c, ds := Load(name, testSource())
			if ds != nil || c == nil {
				t.Fatal(ds)
			}
		})
	}
}
