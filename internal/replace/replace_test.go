package replace

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFile(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "file")
	for _, text := range []string{"first, and longer", "second", ""} {
		if err := File(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(name); err != nil || string(b) != text {
			t.Errorf("%q, %v; want %q", b, err, text)
		}
	}
	if s, err := os.Stat(name); err != nil || s.Mode() != 0o600 {
		t.Errorf("the mode is %v, %v", s.Mode(), err)
	}
	alone(t, filepath.Dir(name))
}

// TestFileFails: a folder cannot be replaced by a file; nothing stays beside it.
func TestFileFails(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "folder")
	if err := os.MkdirAll(filepath.Join(name, "inside"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := File(name, []byte("text"), 0o644); err == nil {
		t.Error("a folder was replaced")
	}
	alone(t, filepath.Dir(name))
	if err := File(filepath.Join(name, "none", "file"), nil, 0o644); !os.IsNotExist(err) {
		t.Errorf("a file in a folder that is not there: %v", err)
	}
}

// TestFullDisk: what cannot be written whole leaves the old content.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	name := filepath.Join(t.TempDir(), "file")
	if err := File(name, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", name+Suffix); err != nil {
		t.Fatal(err)
	}
	if err := File(name, []byte("new"), 0o644); err == nil {
		t.Error("a full disk is no error")
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "old" {
		t.Errorf("%q, %v; want the old content", b, err)
	}
	alone(t, filepath.Dir(name))
}

// alone makes sure that a folder has one entry.
func alone(t *testing.T, dir string) {
	t.Helper()
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("%v, %v; want one entry", list, err)
	}
}
