package node

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func formatHouse(t *testing.T) *house {
	t.Helper()
	h := newHouse(t, 0, "")
	h.c.Instances = filepath.Join(h.dir, "new", "inst")
	h.c.Format = FormatConfig{SoftwareUser: "slapsoft", Address: netip.MustParsePrefix("127.0.0.1/32")}
	for _, name := range []string{"part0", "part1"} {
		h.c.Format.Partitions = append(h.c.Format.Partitions, FormatPartition{Name: name, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}})
	}
	return h
}

func TestFormat(t *testing.T) {
	t.Parallel()
	h := formatHouse(t)
	var said []string
	say := func(s string) { said = append(said, s) }
	h.must(h.Format(t.Context(), true, say))
	if _, err := os.Stat(h.c.Instances); !os.IsNotExist(err) || len(said) != 6 {
		t.Errorf("dry run: %v, said %q", err, said)
	}
	h.toldAre()
	h.must(h.Format(t.Context(), false, func(string) {}))
	h.toldAre("loadComputerConfigurationFromXML")
	for _, name := range []string{"part0", "part1"} {
		info, err := os.Stat(h.path(name))
		if err != nil || info.Mode().Perm() != 0o750 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		if text := h.text(name, ".slapos-resource"); !strings.Contains(text, `"addr": "127.0.0.2"`) || !strings.Contains(text, `"reference": "`+name+`"`) {
			t.Errorf("%s: %s", name, text)
		}
	}
	said = nil
	h.must(h.Format(t.Context(), false, say))
	if len(said) != 1 || !strings.HasPrefix(said[0], "tell ") {
		t.Errorf("the second time it says %q", said)
	}
	h.must(os.Chmod(h.path("part0"), 0o777))
	h.must(h.Format(t.Context(), false, say))
	if info, err := os.Stat(h.path("part0")); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("permissions: %v, %v", info, err)
	}
	h.must(os.Symlink("x", h.path("part1", "software_release")))
	h.c.Format.Partitions = h.c.Format.Partitions[:1]
	if err := h.Format(t.Context(), false, say); err == nil || !strings.Contains(err.Error(), "part1 is in use") {
		t.Errorf("fewer partitions: %v", err)
	}
	h.must(os.Remove(h.path("part1", "software_release")))
	h.fake.Close()
	if err := h.Format(t.Context(), false, say); !errors.Is(err, ErrNotTold) {
		t.Errorf("without a master: %v", err)
	}
}

// TestFormatLink: a link in the place of a partition is not followed.
func TestFormatLink(t *testing.T) {
	t.Parallel()
	h := formatHouse(t)
	outside := filepath.Join(h.dir, "outside")
	h.must(os.Mkdir(outside, 0o700))
	h.must(os.MkdirAll(h.c.Instances, 0o755))
	h.must(os.Symlink(outside, h.path("part0")))
	if err := h.Format(t.Context(), false, func(string) {}); err == nil {
		t.Error("taken")
	}
	if info, err := os.Stat(outside); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("outside: %v, %v", info, err)
	}
	if list, err := os.ReadDir(outside); err != nil || len(list) != 0 {
		t.Errorf("outside: %v, %v", list, err)
	}
}

// TestFormatUsers makes real users, and removes them.
func TestFormatUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes users")
	}
	for _, program := range []string{"useradd", "userdel"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s", program)
		}
	}
	h := formatHouse(t)
	unique := "weirtest" + strconv.Itoa(os.Getpid())
	h.c.Format.AlterUser, h.c.Format.SoftwareUser = true, unique+"s"
	h.c.Format.Partitions = h.c.Format.Partitions[:1]
	h.c.Format.Partitions[0].User = unique
	t.Cleanup(func() {
		for _, name := range []string{unique, unique + "s"} {
			if out, err := exec.CommandContext(context.Background(), "userdel", name).CombinedOutput(); err != nil {
				t.Errorf("userdel %s: %v %s", name, err, out)
			}
		}
	})
	for range 2 {
		h.must(h.Format(t.Context(), false, func(s string) { t.Log(s) }))
	}
	u, err := user.Lookup(unique)
	h.must(err)
	info, err := os.Stat(h.path("part0"))
	h.must(err)
	if o := ownerOf(info); strconv.Itoa(o.uid) != u.Uid || strconv.Itoa(o.gid) != u.Gid || info.Mode().Perm() != 0o750 || u.HomeDir != h.path("part0") {
		t.Errorf("%+v of %+v, %v", o, u, info.Mode())
	}
	groups, err := u.GroupIds()
	soft, softErr := user.Lookup(unique + "s")
	if err != nil || softErr != nil || len(groups) != 2 {
		t.Errorf("groups %v, %v, %v", groups, err, softErr)
	}
	if info, err = os.Stat(h.c.Software); err != nil || strconv.Itoa(ownerOf(info).uid) != soft.Uid {
		t.Errorf("the software root belongs to %+v, %v", ownerOf(info), err)
	}
}
