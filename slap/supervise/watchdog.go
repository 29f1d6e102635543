package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
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
	stamp, err := root.ReadFile(stampName)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("supervise: watchdog: %w", err)
	}
	last, err := root.ReadFile(bangName)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("supervise: watchdog: %w", err)
	}
	return !bytes.Equal(stamp, last), nil
}

// Banged records that a partition was banged: it is not again until it was
// processed.
func Banged(folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return fmt.Errorf("supervise: watchdog: %w", err)
	}
	defer root.Close()
	stamp, err := root.ReadFile(stampName)
	if errors.Is(err, fs.ErrNotExist) {
		stamp, err = []byte("0"), nil
	}
	if err != nil {
		return fmt.Errorf("supervise: watchdog: %w", err)
	}
	temporary := bangName + ".new"
	if err := root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("supervise: watchdog: %w", err)
	}
	if err := root.WriteFile(temporary, []byte(strings.TrimSpace(string(stamp))), 0o644); err != nil {
		return fmt.Errorf("supervise: watchdog: %w", err)
	}
	if err := root.Rename(temporary, bangName); err != nil {
		return fmt.Errorf("supervise: watchdog: %w", err)
	}
	return nil
}
