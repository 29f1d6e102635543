package requested

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"
)

// Limits of a request.
const (
	maxFile  = 1 << 20
	maxNames = 10_000
)

// recordName is where, below the partition's folder, the last processing is
// kept; it goes when the partition is emptied.
const recordName = ".slapgrid/requested-process-state.json"

func (p Place) file() string { return "." + p.ID + "-requested-process-state" }

// A request is the content of the file.
type request struct {
	stopped, restarted []string
	timestamp          float64 // seconds; 0 is none
	notes              []string
}

// A record is what the last processing that succeeded saw.
type record struct {
	Processed float64 `json:"processed"`       // when it read the request, in seconds
	Applied   float64 `json:"applied"`         // timestamp of the last restart that was done
	Later     float64 `json:"later,omitempty"` // timestamp that was in the future
	Mark      mark    `json:"file"`
}

// A mark tells whether a file is the one that was read.
type mark struct {
	Inode    uint64 `json:"inode,omitempty"`
	Bytes    int64  `json:"bytes,omitempty"`
	Modified int64  `json:"modified,omitempty"` // nanoseconds since 1970
}

// read gives the request, an empty one where there is no file.
func (p Place) read() (request, mark, error) {
	switch info, err := p.Root.Lstat(p.file()); {
	case errors.Is(err, fs.ErrNotExist):
		return request{}, mark{}, nil
	case err != nil:
		return request{}, mark{}, errors.Unwrap(err)
	case info.Mode().Type() == fs.ModeSymlink:
		return request{}, mark{}, errors.New("it is a symbolic link")
	}
	f, err := p.Root.OpenFile(p.file(), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return request{}, mark{}, errors.Unwrap(err)
	}
	defer f.Close()
	m, err := p.accept(f)
	if err != nil {
		return request{}, m, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return request{}, m, fmt.Errorf("reading: %w", err)
	}
	if len(b) > maxFile {
		return request{}, m, fmt.Errorf("it has more than %d bytes", maxFile)
	}
	r, err := parse(b)
	return r, m, err
}

// accept refuses what is no plain file of the partition's user.
func (p Place) accept(f *os.File) (mark, error) {
	info, err := f.Stat()
	if err != nil {
		return mark{}, err
	}
	st := info.Sys().(*syscall.Stat_t)
	m := mark{st.Ino, st.Size, info.ModTime().UnixNano()}
	switch {
	case !info.Mode().IsRegular():
		return m, errors.New("it is no plain file")
	case st.Uid != p.UID:
		return m, fmt.Errorf("it belongs to the user %d, not to the partition's, %d", st.Uid, p.UID)
	case st.Nlink > 1:
		return m, errors.New("it has a second name (hard link)")
	case info.Mode().Perm()&0o022 != 0:
		return m, fmt.Errorf("others may write it (mode %04o); chmod go-w", info.Mode().Perm())
	}
	return m, nil
}

// parse reads JSON. A part of the wrong type is left out and noted; the rest
// holds.
func parse(b []byte) (request, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return request{}, fmt.Errorf("it is no JSON object: %w", err)
	}
	if fields == nil {
		return request{}, errors.New("it is no JSON object: null")
	}
	var r request
	r.stopped = r.names(fields, "stopped")
	r.restarted = r.names(fields, "restarted")
	if raw, ok := fields["timestamp"]; ok && string(raw) != "null" {
		if err := json.Unmarshal(raw, &r.timestamp); err != nil || r.timestamp <= 0 || math.IsInf(r.timestamp, 0) {
			r.timestamp = 0
			r.note("timestamp is no number of seconds since 1970: %.40s", raw)
		}
	}
	return r, nil
}

func (r *request) names(fields map[string]json.RawMessage, key string) []string {
	raw, ok := fields[key]
	if !ok || string(raw) == "null" {
		return nil
	}
	var items []any
	if err := json.Unmarshal(raw, &items); err != nil {
		r.note("%s is no list of names: %.40s", key, raw)
		return nil
	}
	if len(items) > maxNames {
		r.note("%s has %d names, the first %d are taken", key, len(items), maxNames)
		items = items[:maxNames]
	}
	var names []string
	for _, i := range items {
		if s, ok := i.(string); ok && s != "" {
			names = append(names, s)
		} else {
			r.note("%s has a name that is no text: %.40v", key, i)
		}
	}
	return names
}

func (r *request) note(format string, args ...any) {
	if len(r.notes) < 20 {
		r.notes = append(r.notes, "requested process state: "+fmt.Sprintf(format, args...))
	}
}

// load reads the record of the last processing; none is an empty one.
func (p Place) load() (record, error) {
	var r record
	f, err := p.Root.OpenFile(recordName, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return r, fmt.Errorf("%s is no plain file", recordName)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return record{}, fmt.Errorf("%s: %w", recordName, err)
	}
	return r, nil
}

// save replaces the record. Links that lead out of the folder are not
// followed.
func (p Place) save(r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("requested: record: %w", err)
	}
	if err := p.Root.MkdirAll(filepath.Dir(recordName), 0o755); err != nil {
		return fmt.Errorf("requested: record: %w", err)
	}
	temporary := recordName + ".new"
	if err := p.Root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("requested: record: %w", err)
	}
	f, err := p.Root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("requested: record: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("requested: record: %w", err)
	}
	if err := p.Root.Rename(temporary, recordName); err != nil {
		return fmt.Errorf("requested: record: %w", err)
	}
	return nil
}
