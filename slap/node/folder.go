package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"
)

// A folder is a directory that belongs to somebody who is not trusted: a
// partition, or a software release. Every name is looked up below the
// directory that was opened, whatever links its owner makes meanwhile; files
// are replaced and not written in place, so that no hard link, pipe or device
// under a known name is written to; and what is made is the owner's.
type folder struct {
	root     *os.Root
	path     string
	uid, gid int
	mode     fs.FileMode
}

// maxFile bounds what is read of a small file, in bytes.
const maxFile = 1 << 20

// errName: a name from outside is no name of one folder.
var errName = errors.New("not usable as the name of a folder")

// checkName refuses names that are paths, hidden, or not plain text.
func checkName(name string) error {
	bad := func(r rune) bool { return r == '/' || r == '\\' || unicode.IsSpace(r) || !unicode.IsPrint(r) }
	if name == "" || len(name) > 100 || name[0] == '.' || !filepath.IsLocal(name) || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("%q is %w", name, errName)
	}
	return nil
}

// openFolder opens a directory below another, which has to be one itself and
// no link.
func openFolder(parent, name string) (*folder, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	above, err := os.OpenRoot(parent)
	if err != nil {
		return nil, err
	}
	defer above.Close()
	info, err := above.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is no directory", filepath.Join(parent, name))
	}
	root, err := above.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(info, opened) {
		err = fmt.Errorf("%s was exchanged while it was opened", filepath.Join(parent, name))
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	o := ownerOf(opened)
	return &folder{root: root, path: filepath.Join(parent, name), mode: opened.Mode().Perm(), uid: o.uid, gid: o.gid}, nil
}

func ownerOf(info fs.FileInfo) owner {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return owner{}
	}
	return owner{int(s.Uid), int(s.Gid)}
}

func (f *folder) close() { f.root.Close() }

// read gives a small regular file.
func (f *folder) read(name string) ([]byte, error) {
	file, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is no regular file", name))
	}
	b, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(b) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return b, err
}

// text gives a file's text without space around it, "" when there is none.
func (f *folder) text(name string) string {
	b, err := f.read(name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// exists tells whether there is something of the name, be it a link to
// nowhere.
func (f *folder) exists(name string) bool {
	_, err := f.root.Lstat(name)
	return err == nil
}

// write puts a file in the place of whatever has the name.
func (f *folder) write(name string, b []byte, perm fs.FileMode) error {
	temporary := path.Join(path.Dir(name), ".slapgrid-new-"+path.Base(name))
	if err := f.root.RemoveAll(temporary); err != nil {
		return err
	}
	file, err := f.root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	err = errors.Join(err, file.Chmod(perm), f.own(file), file.Close())
	if err == nil {
		if err = f.root.Rename(temporary, name); err != nil && f.root.RemoveAll(name) == nil {
			err = f.root.Rename(temporary, name) // it was a directory
		}
	}
	if err != nil {
		f.root.Remove(temporary)
	}
	return err
}

// own gives an open file to the folder's owner.
func (f *folder) own(file *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return file.Chown(f.uid, f.gid)
}

// appendTo opens a log to append to. Anything but a regular file of one name
// is moved out of the way first, and so is a log that has grown to the limit.
func (f *folder) appendTo(name string, limit int64) (*os.File, error) {
	for range 3 {
		file, err := f.root.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0o644)
		if err == nil {
			info, statErr := file.Stat()
			if statErr == nil && info.Mode().IsRegular() && links(info) == 1 && info.Size() < limit {
				return file, f.own(file)
			}
			file.Close()
		}
		if f.root.RemoveAll(name+".1") != nil || f.root.Rename(name, name+".1") != nil {
			return nil, fmt.Errorf("%s cannot be opened: %w", filepath.Join(f.path, name), err)
		}
	}
	return nil, fmt.Errorf("%s is exchanged all the time", filepath.Join(f.path, name))
}

func links(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Nlink)
	}
	return 1
}

// link makes a symbolic link, unless it is as it should be.
func (f *folder) link(target, name string) error {
	if old, err := f.root.Readlink(name); err == nil && old == target {
		return nil
	}
	temporary := ".slapgrid-new-" + name
	if err := f.root.RemoveAll(temporary); err != nil {
		return err
	}
	if err := f.root.Symlink(target, temporary); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if err := f.root.Lchown(temporary, f.uid, f.gid); err != nil {
			return err
		}
	}
	return f.root.Rename(temporary, name)
}

// mkdir makes directories, each the owner's.
func (f *folder) mkdir(name string, perm fs.FileMode) error {
	if name == "." {
		return nil
	}
	at := ""
	for part := range strings.SplitSeq(name, "/") {
		at = path.Join(at, part)
		switch err := f.root.Mkdir(at, perm); {
		case errors.Is(err, fs.ErrExist):
			continue
		case err != nil:
			return err
		}
		if os.Geteuid() == 0 {
			if err := f.root.Lchown(at, f.uid, f.gid); err != nil {
				return err
			}
		}
	}
	return nil
}

// names lists a directory, sorted; one that is missing is empty.
func (f *folder) names(dir string) ([]string, error) {
	list, err := fs.ReadDir(f.root.FS(), dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	names := make([]string, 0, len(list))
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names, err
}

// remove takes away a name and all below it.
func (f *folder) remove(name string) error {
	err := f.root.RemoveAll(name)
	if err == nil {
		return nil
	}
	f.unlock(name)
	return f.root.RemoveAll(name)
}

// unlock makes the directories below a name removable by their owner.
func (f *folder) unlock(dir string) {
	info, err := f.root.Lstat(dir)
	if err != nil || !info.IsDir() {
		return
	}
	if f.root.Chmod(dir, 0o700) != nil {
		return
	}
	names, _ := f.names(dir)
	for _, n := range names {
		f.unlock(path.Join(dir, n))
	}
}

// clear removes all content; the folder itself stays.
func (f *folder) clear() error {
	names, err := f.names(".")
	for _, n := range names {
		err = errors.Join(err, f.remove(n))
	}
	return err
}
