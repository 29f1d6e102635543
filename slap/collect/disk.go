package collect

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// maxEntries bounds a measurement: a partition with more files is measured in
// part.
const maxEntries = 5_000_000

// diskUse adds up what a folder takes on its file system, in kB, as du does:
// blocks, and a file with several names once. No link is followed.
func diskUse(ctx context.Context, folder string) (int64, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return 0, fmt.Errorf("collect: %w", err)
	}
	defer root.Close()
	top, err := root.Stat(".")
	if err != nil {
		return 0, fmt.Errorf("collect: %w", err)
	}
	device := top.Sys().(*syscall.Stat_t).Dev
	var blocks int64
	entries := 0
	linked := map[uint64]bool{}
	err = fs.WalkDir(root.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
		if entries++; entries > maxEntries {
			return fs.SkipAll
		}
		if entries%1000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if d == nil {
			return err
		}
		info, e := d.Info()
		if e != nil {
			return nil // it went meanwhile
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case !ok:
			return nil
		case st.Dev != device && d.IsDir():
			return fs.SkipDir
		case !d.IsDir() && st.Nlink > 1 && linked[st.Ino]:
			return nil
		case !d.IsDir() && st.Nlink > 1:
			linked[st.Ino] = true
		}
		blocks += st.Blocks
		if err != nil && d.IsDir() {
			return fs.SkipDir // may not be read, or has too long a name
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("collect: disk use: %w", err)
	}
	return blocks / 2, nil
}
