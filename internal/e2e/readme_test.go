package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme does what README.md tells a newcomer to type, but for the
// addresses and the place of the binary.
func TestReadme(t *testing.T) {
	t.Parallel()
	python := registryPeer(t, "WEIR_PYTHON", "Python with zarr and xarray")
	b, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	// The README has first a weir without configuration, then one with an example.
	plain, w := start(t), start(t, acceptance()...)
	blocks := regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$").FindAllStringSubmatch(string(b), -1)
	shell, scripts := 0, 0
	var code strings.Builder
	for _, block := range blocks {
		switch {
		case block[1] == "python":
			code.WriteString(here(block[2], w))
			scripts++
		case regexp.MustCompile(`\| \./weir send|http://127.0.0.1:8880/streams`).MatchString(block[2]):
			to := plain
			if regexp.MustCompile(`numbers\.|wavs\.|metrics\.`).MatchString(block[2]) {
				to = w
			}
			commands := here(block[2], to)
			cmd := exec.Command("bash", "-euo", "pipefail", "-c", commands)
			cmd.Dir = root
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("README.md: %s\n%v\n%s", commands, err, out)
			}
			shell++
		}
	}
	if shell < 2 || scripts < 1 {
		t.Fatalf("README.md has %d blocks of commands and %d of Python for a running weir", shell, scripts)
	}
	for _, group := range regexp.MustCompile(`/arrays/([a-z.]+)`).FindAllStringSubmatch(code.String(), -1) {
		w.await("the group "+group[1], func() bool { return w.status("/arrays/"+group[1]+"/zarr.json") == 200 })
	}
	if out, err := exec.Command(python, "-c", code.String()).CombinedOutput(); err != nil {
		t.Errorf("README.md: %v\n%s\n%s", err, code.String(), out)
	}
}

// here is a block with the addresses of w; curl fails where the server refuses.
func here(block string, w *weir) string {
	return strings.NewReplacer(
		"http://127.0.0.1:8880", w.url(""),
		"./weir send ", program+" send --to "+w.Forward+" ",
		"curl ", "curl -sS --fail-with-body ",
	).Replace(block)
}
