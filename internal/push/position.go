package push

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"weir/internal/replace"
)

// positionFormat is the version of the position file, docs/format/position.md.
const positionFormat = 1

// An identity is a file, whatever its name.
type identity struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

// A position is how far a followed file was sent.
type position struct {
	Path   string `json:"path"`
	Stream string `json:"stream"`
	identity
	Offset int64  `json:"offset"`
	Head   string `json:"head"`
	Length int64  `json:"length"` // of the stream
	// Next are files that got the path after this one; they are sent after it.
	Next []identity `json:"next,omitempty"`
}

// positions is the position file.
type positions struct {
	Format int        `json:"format"`
	Files  []position `json:"files"`
	Old    []identity `json:"old,omitempty"`

	name string // "" is kept nowhere
}

// loadPositions reads a position file; a missing one is empty.
func loadPositions(name string) (*positions, error) {
	p := &positions{name: name}
	if name == "" {
		return p, nil
	}
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(b, p)
	}
	if err == nil && p.Format > positionFormat {
		err = fmt.Errorf("it has format %d, this weir reads %d", p.Format, positionFormat)
	}
	if err != nil {
		return nil, fmt.Errorf("position file %s: %w; without it what the streams hold is compared with the files", name, err)
	}
	return p, nil
}

// save makes the positions durable.
func (p *positions) save() error {
	if p.name == "" {
		return nil
	}
	p.Format = positionFormat
	b, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return fmt.Errorf("position file: %w", err)
	}
	if err := replace.File(p.name, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("position file %s: %w", p.name, err)
	}
	return nil
}

// of gives the position of a path.
func (p *positions) of(path string) (position, bool) {
	i := slices.IndexFunc(p.Files, func(f position) bool { return f.Path == path })
	if i < 0 {
		return position{}, false
	}
	return p.Files[i], true
}

// put notes a position.
func (p *positions) put(at position) {
	i := slices.IndexFunc(p.Files, func(f position) bool { return f.Path == at.Path })
	if i < 0 {
		p.Files = append(p.Files, at)
		return
	}
	if was := p.Files[i].identity; was != at.identity && was != (identity{}) {
		p.Old = append(slices.DeleteFunc(p.Old, func(id identity) bool { return id == was }), was)
	}
	p.Files[i] = at
	p.Old = slices.DeleteFunc(p.Old, func(id identity) bool { return id == at.identity })
}

// known tells whether a file was followed under another path.
func (p *positions) known(id identity, path string) bool {
	return slices.Contains(p.Old, id) || slices.ContainsFunc(p.Files, func(f position) bool {
		return f.Path != path && (f.identity == id || slices.Contains(f.Next, id))
	})
}

// prune forgets old files of which none has a followed path any more: the
// system may give their numbers to others.
func (p *positions) prune(there map[identity]bool) {
	p.Old = slices.DeleteFunc(p.Old, func(id identity) bool { return !there[id] })
}
