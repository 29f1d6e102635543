package arrays

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"slices"
	"strings"

	"weir/internal/vfs"
)

// path is the folder of a published group.
func (s *Store) path(name string) string { return s.dir + "/" + escaped(name) }

// escaped is the name of a group's folder: the stream's in the form of all
// folders, but for the one that is the root's own file.
func escaped(name string) string {
	if name == "zarr.json" {
		return "%7Aarr.json"
	}
	return vfs.Escape(name)
}

// scratch gives an unused path in one of the folders beside the groups. Of a
// long name it has the beginning, since a file's name has 255 bytes at most.
func (s *Store) scratch(folder, name string) string {
	name = vfs.Escape(name)
	return fmt.Sprintf("%s/%s/%s.%d.%d", s.dir, folder, name[:min(len(name), 200)], s.o.Now().UnixNano(), s.tmp.Add(1))
}

func (s *Store) readFile(path string) ([]byte, error) {
	f, err := s.fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	got, err := f.ReadAt(b, 0)
	return b[:got], ignoreEOF(err)
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// writeFile makes a file, or empties it first.
func (s *Store) writeFile(path string, b []byte) error {
	f, err := s.fs.Create(path)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	return errors.Join(err, f.Close())
}

// replace puts a file of these bytes in the place of another in one step.
func (s *Store) replace(path string, b []byte) error { return s.replaceFile(path, b, false) }

// replaceFile does that, with synced after its bytes are on stable storage.
func (s *Store) replaceFile(path string, b []byte, synced bool) error {
	tmp := fmt.Sprintf("%s/%s/%d", s.dir, tmpDir, s.tmp.Add(1))
	f, err := s.fs.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil && synced {
		err = f.Datasync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.fs.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(s.fs.Remove(tmp)))
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// install puts a group that was built in the place of the published one.
// Between the two renames readers find no group at all, never a mix.
func (s *Store) install(name, from string) error {
	path := s.path(name)
	old := s.scratch(oldDir, name)
	err := ignoreMissing(s.fs.Rename(path, old))
	if err == nil {
		err = s.fs.Rename(from, path)
	}
	if err == nil {
		err = s.fs.RemoveAll(old)
	}
	if err != nil {
		return fmt.Errorf("arrays: install %s: %w", name, err)
	}
	return nil
}

// tidy makes the folder ready: it finishes or removes what a crash left and
// lists the groups.
func (s *Store) tidy() error {
	if err := s.finish(); err != nil {
		return err
	}
	for _, d := range []string{newDir, oldDir, tmpDir} {
		if err := s.empty(s.dir + "/" + d); err != nil {
			return err
		}
	}
	for _, d := range []string{newDir, oldDir, tmpDir, badDir} {
		if err := s.fs.MkdirAll(s.dir + "/" + d); err != nil {
			return err
		}
	}
	root := s.dir + "/zarr.json"
	if b, err := s.readFile(root); err != nil || string(b) != rootJSON { // a full disk can be read all the same
		if err := s.replace(root, []byte(rootJSON)); err != nil {
			return err
		}
	}
	return s.list()
}

// empty removes what is in a folder, not the folder: on a full disk it could
// not be made again.
func (s *Store) empty(dir string) error {
	names, err := s.fs.List(dir)
	for _, n := range names {
		err = errors.Join(err, s.fs.RemoveAll(dir+"/"+strings.TrimSuffix(n, "/")))
	}
	return ignoreMissing(err)
}

// finish installs groups that were committed, but not yet in their place when
// the one before them had gone.
func (s *Store) finish() error {
	names, err := s.fs.List(s.dir + "/" + newDir)
	if err != nil {
		return ignoreMissing(err)
	}
	for _, n := range names {
		n = strings.TrimSuffix(n, "/")
		from, to := s.dir+"/"+newDir+"/"+n, s.dir+"/"+n
		if _, err := s.fs.Size(from + "/zarr.json"); err != nil {
			continue
		}
		if _, err := s.fs.Size(to + "/zarr.json"); errors.Is(err, fs.ErrNotExist) {
			if err := errors.Join(s.fs.RemoveAll(to), s.fs.Rename(from, to)); err != nil {
				return err
			}
		}
	}
	return nil
}

// list finds the groups of the folder.
func (s *Store) list() error {
	entries, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir, isDir := strings.CutSuffix(e, "/")
		if !isDir || strings.HasPrefix(dir, ".") {
			continue
		}
		name, err := s.nameOf(dir)
		if err != nil {
			s.log.Error("arrays: a folder is no group; it is left alone", "folder", dir, "err", err)
			continue
		}
		s.groups[name] = &group{name: name, s: s}
		s.names = append(s.names, name)
	}
	slices.Sort(s.names)
	return nil
}

// nameOf gives the stream's name for a group's folder.
func (s *Store) nameOf(dir string) (string, error) {
	if name, err := url.PathUnescape(dir); err == nil && escaped(name) == dir {
		return name, nil
	}
	b, err := s.readFile(s.dir + "/" + dir + "/zarr.json")
	if err != nil {
		return "", err
	}
	c, _, _, err := parseGroup(b)
	if err == nil && escaped(c.Stream) != dir {
		err = fmt.Errorf("its stream is %q", c.Stream)
	}
	return c.Stream, err
}
