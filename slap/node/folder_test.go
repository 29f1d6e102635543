package node

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func testFolder(t *testing.T) (*folder, string) {
	t.Helper()
	parent := t.TempDir()
	if err := os.Mkdir(filepath.Join(parent, "part"), 0o750); err != nil {
		t.Fatal(err)
	}
	f, err := openFolder(parent, "part")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	return f, parent
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ".", "..", ".hidden", "a/b", "../a", "/a", "a b", "a\nb", "a\x00b", "a\\b", "a\u202eb", strings.Repeat("a", 101)} {
		if err := checkName(name); !errors.Is(err, errName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"slappart0", "0", "a.b-c_d", "é", "a..b"} {
		if err := checkName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	parent := t.TempDir()
	other := t.TempDir()
	if err := os.Symlink(other, filepath.Join(parent, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := openFolder(parent, "link"); err == nil {
		t.Error("a link is taken for a partition")
	}
}

// TestHostileFolder: whatever the owner of a folder puts in the place of a
// known name, nothing outside is touched, and nothing blocks.
func TestHostileFolder(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, place := range map[string]func(path string) error{
		"link":      func(p string) error { return os.Symlink(outside, p) },
		"hard link": func(p string) error { return os.Link(outside, p) },
		"pipe":      func(p string) error { return syscall.Mkfifo(p, 0o666) },
		"directory": func(p string) error { return os.MkdirAll(filepath.Join(p, "x"), 0o700) },
		"nowhere":   func(p string) error { return os.Symlink("/nonexistent/x", p) },
	} {
		f, _ := testFolder(t)
		for _, file := range []string{"a", "log"} {
			if err := place(filepath.Join(f.path, file)); err != nil {
				t.Fatal(err)
			}
		}
		if b, err := f.read("a"); name != "hard link" && err == nil {
			t.Errorf("%s: read gives %q", name, b)
		}
		if err := f.write("a", []byte("new"), 0o644); err != nil {
			t.Errorf("%s: write: %v", name, err)
		}
		if b, err := f.read("a"); err != nil || string(b) != "new" {
			t.Errorf("%s: after write: %q, %v", name, b, err)
		}
		log, err := f.appendTo("log", 100)
		if err != nil {
			t.Errorf("%s: append: %v", name, err)
			continue
		}
		log.WriteString("line\n")
		log.Close()
		if b, err := f.read("log"); err != nil || string(b) != "line\n" {
			t.Errorf("%s: log: %q, %v", name, b, err)
		}
		if err := f.link("/target", "a"); err != nil {
			t.Errorf("%s: link: %v", name, err)
		}
		if err := f.clear(); err != nil {
			t.Errorf("%s: clear: %v", name, err)
		}
		if list, err := f.names("."); err != nil || len(list) != 0 {
			t.Errorf("%s: after clear: %v, %v", name, list, err)
		}
	}
	if b, err := os.ReadFile(outside); err != nil || string(b) != "precious" {
		t.Errorf("outside: %q, %v", b, err)
	}
}

// TestLinkedDirectories: a directory on the way that leads out is refused.
func TestLinkedDirectories(t *testing.T) {
	t.Parallel()
	f, _ := testFolder(t)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "instance.log"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".slapgrid", "etc"} {
		if err := os.Symlink(outside, filepath.Join(f.path, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.mkdir(".slapgrid/log", 0o755); err == nil {
		t.Error("a directory was made outside")
	}
	if err := f.write(".slapgrid/x", nil, 0o644); err == nil {
		t.Error("a file was written outside")
	}
	if _, err := f.appendTo(".slapgrid/instance.log", 100); err == nil {
		t.Error("a log was opened outside")
	}
	if list, err := f.names("etc"); err == nil {
		t.Errorf("listed outside: %v", list)
	}
	if err := f.clear(); err != nil {
		t.Error(err)
	}
	if list, err := os.ReadDir(outside); err != nil || len(list) != 1 {
		t.Errorf("outside there is %v, %v", list, err)
	}
}

func TestAppendRotates(t *testing.T) {
	t.Parallel()
	f, _ := testFolder(t)
	for range 4 {
		log, err := f.appendTo("log", 10)
		if err != nil {
			t.Fatal(err)
		}
		log.WriteString("1234567\n")
		log.Close()
	}
	a, _ := f.read("log")
	b, _ := f.read("log.1")
	if string(a) != "1234567\n1234567\n" || string(b) != string(a) {
		t.Errorf("log %q, before it %q", a, b)
	}
}

// TestRemoveLocked: directories without permissions are removed by their
// owner, too.
func TestRemoveLocked(t *testing.T) {
	t.Parallel()
	f, _ := testFolder(t)
	deep := filepath.Join(f.path, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(deep, "c"), nil, 0); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{deep, filepath.Dir(deep)} {
		if err := os.Chmod(d, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.remove("a"); err != nil || f.exists("a") {
		t.Errorf("remove: %v", err)
	}
}

type entry struct {
	name, link, text string
	kind             byte
}

func archive(t *testing.T, packed bool, list ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range list {
		if err := w.WriteHeader(&tar.Header{Name: e.name, Linkname: e.link, Typeflag: e.kind, Size: int64(len(e.text)), Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(e.text))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !packed {
		return b.Bytes()
	}
	var z bytes.Buffer
	g := gzip.NewWriter(&z)
	g.Write(b.Bytes())
	g.Close()
	return z.Bytes()
}

func TestExtract(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	for _, packed := range []bool{false, true} {
		f, _ := testFolder(t)
		b := archive(t, packed, entry{"./", "", "", tar.TypeDir}, entry{"./bin/x", "", "text", tar.TypeReg}, entry{"link", "bin/x", "", tar.TypeSymlink}, entry{"dir/", "", "", tar.TypeDir})
		if err := f.extract(bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(f.path, "link")); err != nil || string(got) != "text" {
			t.Errorf("link: %q, %v", got, err)
		}
	}
	for name, list := range map[string][]entry{
		"up":       {{"../x", "", "t", tar.TypeReg}},
		"absolute": {{"/x", "", "t", tar.TypeReg}},
		"by link":  {{"out", outside, "", tar.TypeSymlink}, {"out/x", "", "t", tar.TypeReg}},
		"over":     {{"a", outside + "/x", "", tar.TypeSymlink}, {"a", "", "t", tar.TypeReg}},
		"device":   {{"d", "", "", tar.TypeChar}},
		"hard":     {{"h", "/etc/passwd", "", tar.TypeLink}},
	} {
		f, _ := testFolder(t)
		if err := f.extract(bytes.NewReader(archive(t, false, list...))); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if list, err := os.ReadDir(outside); err != nil || len(list) != 0 {
		t.Errorf("outside there is %v, %v", list, err)
	}
	f, _ := testFolder(t)
	whole := archive(t, true, entry{"bin/x", "", strings.Repeat("text", 1000), tar.TypeReg})
	if err := f.extract(bytes.NewReader(whole[:len(whole)/2])); err == nil {
		t.Error("half an archive is taken")
	}
}
