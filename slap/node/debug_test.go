package node

import (
	"os"
	"strings"
	"testing"

	"weir/slap"
)

// TestBuildoutDebug: buildout gets -D for an instance and for a release, and
// without the option it does not.
func TestBuildoutDebug(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, `echo "$@" >> arguments`)
	for _, debug := range []bool{false, true} {
		h.must(os.RemoveAll(h.path("part0", "arguments")))
		h.instance(Run{Force: true, Debug: debug}, 0, "startedComputerPartition part0")
		if got := h.text("part0", "arguments"); strings.HasPrefix(got, "-D -U -c ") != debug || !strings.Contains(got, "-U -c ") {
			t.Errorf("debug %v: an instance's buildout is given %q", debug, got)
		}
	}
	if os.Geteuid() == 0 {
		h.must(os.Chown(h.releasePath(testRelease), 65534, 65534))
	}
	h.fake.set(func() { h.fake.releases = []slap.Release{{URL: testRelease, State: slap.Available}} })
	o, err := h.Software(t.Context(), SoftwareRun{Force: true, Debug: true})
	if err != nil || o.Exit() != 0 {
		t.Fatalf("%+v, %v", o, err)
	}
	if got, err := os.ReadFile(h.releasePath(testRelease) + "/arguments"); err != nil || !strings.HasPrefix(string(got), "-D -U ") {
		t.Errorf("a release's buildout is given %q, %v", got, err)
	}
}
