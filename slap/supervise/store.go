package supervise

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/proc"
)

// A store is the folder in which a supervisor keeps what it must know after
// its own death. docs/format/supervise.md draws it.
type store struct{ dir string }

// A record is a program's state.
type record struct {
	Group   string    `json:"group"`
	Name    string    `json:"name"`
	State   State     `json:"state"`
	Since   time.Time `json:"since"`
	Boot    string    `json:"boot"`
	Program string    `json:"program"` // fingerprint of the settings it was started with
	Process *process  `json:"process,omitempty"`
	Exit    *Exit     `json:"exit,omitempty"`
	Error   string    `json:"error,omitempty"`
	Tries   int       `json:"tries,omitempty"`
	Event   *Event    `json:"event,omitempty"`
}

// A process is the last one that was made for a program.
type process struct {
	proc.ID
	Run      string    `json:"run"`
	Started  time.Time `json:"started"`
	Folders  []string  `json:"cgroups,omitempty"`
	Released bool      `json:"released"` // it has become the program
	Ended    bool      `json:"ended"`    // what it left behind may run
}

func (p process) family() family { return family{p.ID, p.Folders, marker(p.Run)} }

// fingerprint tells whether two settings are the same.
func fingerprint(p Program) string {
	b, _ := json.Marshal(p) // has no values that cannot be written
	return fmt.Sprintf("%x", sha256.Sum256(b))[:16]
}

// slot is a program's name as a file name: what can be read of it, and a hash
// that tells it from all others.
func slot(group, name string) string {
	clean := func(s string) string {
		s = strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
				return r
			}
			return '_'
		}, s)
		return s[:min(len(s), 40)]
	}
	sum := sha256.Sum256([]byte(group + "\x00" + name))
	return fmt.Sprintf("%s.%s.%x", clean(group), clean(name), sum[:6])
}

func (s store) open() error {
	for _, d := range []string{"", "groups", "programs", "pipes"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o700); err != nil {
			return fmt.Errorf("supervise: folder: %w", err)
		}
	}
	if err := os.Chmod(s.dir, 0o700); err != nil {
		return fmt.Errorf("supervise: folder: %w", err)
	}
	return nil
}

// load reads all groups and records. One that is damaged is set aside: the
// agent applies its groups again.
func (s store) load(log *slog.Logger) (groups []Group, records []record, err error) {
	err = s.each("groups", log, func(b []byte) error {
		var g Group
		if err := json.Unmarshal(b, &g); err != nil {
			return err
		}
		groups = append(groups, g)
		return g.check()
	})
	if err != nil {
		return nil, nil, err
	}
	err = s.each("programs", log, func(b []byte) error {
		var r record
		if err := json.Unmarshal(b, &r); err != nil {
			return err
		}
		records = append(records, r)
		return nil
	})
	return groups, records, err
}

// each reads the files of a folder.
func (s store) each(folder string, log *slog.Logger, read func([]byte) error) error {
	entries, err := os.ReadDir(filepath.Join(s.dir, folder))
	if err != nil {
		return fmt.Errorf("supervise: %s: %w", folder, err)
	}
	for _, e := range entries {
		path := filepath.Join(s.dir, folder, e.Name())
		if filepath.Ext(path) != ".json" {
			_ = os.Remove(path) // a write that was not ended
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("supervise: %s: %w", folder, err)
		}
		if err := read(b); err != nil {
			log.Error("supervise: a damaged file is set aside", "file", path, "error", err)
			if err := os.Rename(path, strings.TrimSuffix(path, ".json")+".damaged"); err != nil {
				return fmt.Errorf("supervise: %s: %w", folder, err)
			}
		}
	}
	return nil
}

// saveGroup keeps a group, also over a power cut.
func (s store) saveGroup(g Group) error { return s.write("groups", slot(g.Name, ""), g, true) }

func (s store) dropGroup(name string) error {
	err := os.Remove(s.path("groups", slot(name, "")))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// save keeps a program's state over the death of the supervisor. After a
// power cut it says nothing: no process is left then.
func (s store) save(r record) error { return s.write("programs", slot(r.Group, r.Name), r, false) }

func (s store) drop(slot string) {
	_ = os.Remove(s.path("programs", slot))
	_ = os.Remove(filepath.Join(s.dir, "pipes", slot))
}

func (s store) path(folder, slot string) string {
	return filepath.Join(s.dir, folder, slot+".json")
}

func (s store) write(folder, slot string, v any, sync bool) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("supervise: record: %w", err)
	}
	temporary := filepath.Join(s.dir, folder, slot+".new")
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("supervise: record: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temporary, s.path(folder, slot))
	}
	if err == nil && sync {
		err = syncFolder(filepath.Join(s.dir, folder))
	}
	if err != nil {
		return fmt.Errorf("supervise: record: %w", err)
	}
	return nil
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// pipe makes the pipe that takes a program's output. It has a name so that a
// supervisor finds it again; programs hold it open for reading as well, so
// that they do not die of it while there is no supervisor.
func (s store) pipe(slot string, u *User) (string, error) {
	path := filepath.Join(s.dir, "pipes", slot)
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Type() != fs.ModeNamedPipe {
		return "", fmt.Errorf("supervise: %s is no pipe", path)
	}
	if err != nil {
		if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("supervise: pipe: %w", err)
		}
	}
	if u != nil && os.Geteuid() == 0 {
		if err := os.Lchown(path, int(u.UID), int(u.GID)); err != nil { // it may open /dev/stdout
			return "", fmt.Errorf("supervise: pipe: %w", err)
		}
	}
	return path, nil
}
