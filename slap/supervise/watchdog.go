package supervise

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// BangMessage is the text that the real watchdog sends for an exit.
func (e Event) BangMessage() string {
	return fmt.Sprintf("%s process in partition %s encountered a problem", e.Name, e.Group)
}

// Files in a partition's folder that slapgrid and its watchdog share.
const (
	stampName = ".timestamp"
	bangName  = ".slapos_latest_bang_timestamp"
)

// MayBang tells whether an exit in a partition is to be banged: once after
// each processing that succeeded, which its file .timestamp tells, and not
// while there is none, for then it will be processed anyway.
func MayBang(folder string) (bool, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return false, fmt.Errorf("supervise: watchdog: %w", err)
	}
	defer root.Close()
	stamp, err := readStamp(root, stampName)
	if err != nil || stamp == "" {
		return false, err
	}
	last, err := readStamp(root, bangName)
	return err == nil && stamp != last, err
}

// Banged records that a partition was banged: it is not again until it was
// processed.
func Banged(folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return fmt.Errorf("supervise: watchdog: %w", err)
	}
	defer root.Close()
	stamp, err := readStamp(root, stampName)
	if err != nil {
		return err
	}
	temporary := bangName + ".new"
	if err := root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("supervise: watchdog: %w", err)
	}
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("supervise: watchdog: %w", err)
	}
	_, err = f.WriteString(cmp.Or(stamp, "0"))
	if err := errors.Join(err, f.Close(), root.Rename(temporary, bangName)); err != nil {
		return fmt.Errorf("supervise: watchdog: %w", err)
	}
	return nil
}

// readStamp reads a file of the partition, "" when there is none. It may be
// anything: a pipe does not hold us up, and nothing is read without end.
func readStamp(root *os.Root, name string) (string, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("supervise: watchdog: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("supervise: watchdog: %s is no plain file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, 100))
	if err != nil {
		return "", fmt.Errorf("supervise: watchdog: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
