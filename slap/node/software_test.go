package node

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/slap"
)

// softwareHouse is a computer whose software belongs to a user who is not
// root, with one release to build.
func softwareHouse(t *testing.T, script string) *house {
	t.Helper()
	h := newHouse(t, 0, script)
	if os.Geteuid() == 0 {
		h.must(filepath.WalkDir(h.c.Software, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, 65534, 65534)
		}))
	}
	h.fake.releases = []slap.Release{{URL: testRelease, Computer: "local", State: slap.Available}}
	return h
}

func (h *house) software(r SoftwareRun, code int, posts ...string) {
	h.t.Helper()
	o, err := h.Software(h.t.Context(), r)
	h.must(err)
	if o.Exit() != code {
		h.t.Errorf("exit code %d, want %d: %+v", o.Exit(), code, o)
	}
	h.toldAre(posts...)
}

func TestSoftware(t *testing.T) {
	t.Parallel()
	h := softwareHouse(t, `echo building $* >> log; [ -f broken ] && { echo it broke; exit 1; }; cat buildout.cfg >> log; echo $HOME >> log`)
	h.c.Shared, h.c.BuildTime = []string{"/shared/a", "/shared/b"}, []string{"/bt"}
	dir := h.releasePath(testRelease)
	h.must(os.WriteFile(filepath.Join(dir, "broken"), nil, 0o644))
	other := slap.Release{URL: "http://example.org/none.tar", State: slap.Available}
	h.fake.releases = append(h.fake.releases, other)
	h.software(SoftwareRun{}, ExitFailed,
		"buildingSoftwareRelease "+testRelease, "softwareReleaseError "+testRelease+" Failed to run buildout profile in directory '"+dir+"':\nit broke",
		"buildingSoftwareRelease "+other.URL, "softwareReleaseError "+other.URL+" the archive "+other.URL+" has no checksum")
	h.must(os.Remove(filepath.Join(dir, "broken")))
	h.fake.releases = h.fake.releases[:1]
	h.software(SoftwareRun{}, 0, "buildingSoftwareRelease "+testRelease, "availableSoftwareRelease "+testRelease)
	h.software(SoftwareRun{}, 0)
	h.software(SoftwareRun{Force: true, Only: []string{filepath.Base(dir)}}, 0, "buildingSoftwareRelease "+testRelease, "availableSoftwareRelease "+testRelease)
	b, err := os.ReadFile(filepath.Join(dir, "log"))
	h.must(err)
	for _, want := range []string{
		"building -U buildout:extends-cache=" + dir + "/extends-cache buildout:directory=" + dir + " -N -c " + dir + "/buildout.cfg\n",
		"[buildout]\nextends = " + testRelease + "\nshared-part-list = /shared/a\n  /shared/b\nbuild-time-part-list = /bt\n" + dir + "\n",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%q is not in\n%s", want, b)
		}
	}
	if _, err := h.Software(t.Context(), SoftwareRun{Only: []string{"x"}}); err == nil || !strings.Contains(err.Error(), "unknown release: x") {
		t.Errorf("an unknown release: %v", err)
	}
	h.fake.releases[0].State = slap.Destroyed
	h.software(SoftwareRun{}, 0, "destroyedSoftwareRelease "+testRelease)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
	h.software(SoftwareRun{}, 0, "destroyedSoftwareRelease "+testRelease)
}

func TestCollectReleases(t *testing.T) {
	t.Parallel()
	h := softwareHouse(t, "")
	used := "http://example.org/used.cfg"
	h.fake.partitions = []*slap.Partition{{Place: slap.Place{Computer: "local", Partition: "p"}, Software: used, State: slap.Started}}
	keep := []string{filepath.Base(h.releasePath(testRelease)), filepath.Base(h.releasePath(used)), "mine"}
	for _, name := range append(keep, "00000000000000000000000000000123") {
		h.must(os.MkdirAll(filepath.Join(h.c.Software, name), 0o755))
	}
	h.software(SoftwareRun{Collect: true}, 0, "buildingSoftwareRelease", "availableSoftwareRelease")
	list, err := os.ReadDir(h.c.Software)
	if err != nil || len(list) != 3 {
		t.Errorf("left: %v, %v", list, err)
	}
}

func TestArchive(t *testing.T) {
	t.Parallel()
	h := softwareHouse(t, "")
	b := archive(t, true, entry{"instance.cfg", "", "[buildout]\n", tar.TypeReg}, entry{"bin/buildout", "", "#!/bin/sh\ntouch worked\n", tar.TypeReg})
	file := filepath.Join(h.dir, "release.tar.gz")
	h.must(os.WriteFile(file, b, 0o644))
	sum := sha256.Sum256(b)
	good := file + "#sha256=" + hex.EncodeToString(sum[:])
	bad := file + "#sha256=" + strings.Repeat("0", 64)
	h.fake.releases = []slap.Release{{URL: good, State: slap.Available}, {URL: bad, State: slap.Available}}
	h.software(SoftwareRun{}, ExitFailed, "buildingSoftwareRelease "+good, "availableSoftwareRelease "+good,
		"buildingSoftwareRelease "+bad, "softwareReleaseError "+bad+" the archive "+file+" has the checksum")
	if _, err := os.Stat(h.releasePath(bad)); !os.IsNotExist(err) {
		t.Errorf("an archive with another checksum is there: %v", err)
	}
	h.partition("part0").Software = good
	h.instance(Run{}, 0, "startedComputerPartition part0")
	if _, err := os.Stat(h.path("part0", "worked")); err != nil {
		t.Error(err)
	}
}

// TestHostileMaster: what a master says is no path and no configuration.
func TestHostileMaster(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "cat buildout.cfg")
	outside := filepath.Join(h.dir, "outside")
	h.must(os.Mkdir(outside, 0o750))
	p := h.fake.partitions[0]
	for _, name := range []string{"../outside", "..", ".", "var", "etc", "/etc", "a\nb", "part0/../../outside", ""} {
		p.Place.Partition = name
		for _, state := range []string{slap.Started, slap.Stopped, slap.Destroyed} {
			p.State = state
			if o, err := h.Instance(t.Context(), Run{}); err != nil || len(o.Failed) != 1 {
				t.Errorf("instance %q %s: %+v, %v", name, state, o, err)
			}
			if o, err := h.Report(t.Context(), Run{}); err != nil || (len(o.Failed) == 1) != (state == slap.Destroyed) {
				t.Errorf("report %q %s: %+v, %v", name, state, o, err)
			}
		}
	}
	if list, err := os.ReadDir(outside); err != nil || len(list) != 0 {
		t.Errorf("outside: %v, %v", list, err)
	}
	p.Place.Partition, p.State = "part0", slap.Started
	for _, url := range []string{testRelease + "\n[buildout]\nextends = evil", "../../outside"} {
		p.Software = url
		if o, err := h.Instance(t.Context(), Run{}); err != nil || len(o.Failed) != 1 {
			t.Errorf("%q: %+v, %v", url, o, err)
		}
	}
	evil := "http://example.org/${evil:option}"
	h.release(evil, "")
	p.Software = evil
	h.fake.told()
	h.instance(Run{}, 0, "startedComputerPartition part0")
	if !strings.Contains(h.text("part0", "buildout.cfg"), "software-release-url = http://example.org/$${evil:option}\n") {
		t.Error("buildout would substitute in an URL of the master")
	}
	h.fake.releases = []slap.Release{{URL: "x\ny", State: slap.Destroyed}, {URL: "", State: slap.Destroyed}, {URL: "z", State: "sleeping"}}
	if o, err := h.Software(t.Context(), SoftwareRun{}); err != nil || len(o.Failed) != 3 {
		t.Errorf("releases: %+v, %v", o, err)
	}
}
