// Package replace puts files in the place of others in one step: who reads, or
// comes after a crash, finds the old content or the new one, whole.
package replace

import (
	"errors"
	"os"
	"path/filepath"
)

// Suffix ends the name that a new file has until it is whole.
const Suffix = ".tmp"

// File makes the content of a file durable under its name. When it fails, the
// old file, if there was one, is as it was, and nothing is left beside it. A
// file that is new gets the mode, before umask.
func File(name string, b []byte, mode os.FileMode) error {
	beside := name + Suffix
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(beside, name)
	}
	if err != nil {
		os.Remove(beside)
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
