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

// A former file was followed under a path that it has no more.
type former struct {
	identity
	Offset int64  `json:"offset,omitempty"`
	Head   string `json:"head,omitempty"`
}

// positions is the position file.
type positions struct {
	Format int        `json:"format"`
	Files  []position `json:"files"`
	Old    []former   `json:"old,omitempty"`

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
	if was := p.Files[i]; was.identity != at.identity && was.identity != (identity{}) {
		p.forget(was.identity)
		p.Old = append(p.Old, former{was.identity, was.Offset, was.Head})
	}
	p.Files[i] = at
	p.forget(at.identity)
}

// forget takes a file from the old ones.
func (p *positions) forget(id identity) {
	p.Old = slices.DeleteFunc(p.Old, func(f former) bool { return f.identity == id })
}

// prune forgets old files of which none has a followed path any more: the
// system may give their numbers to others.
func (p *positions) prune(there map[identity]bool) {
	p.Old = slices.DeleteFunc(p.Old, func(f former) bool { return !there[f.identity] })
}
