package arrays

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// Needs tells from which byte on a group may read a generation of its stream
// again: the rows of those before are on stable storage. It is 0 where nothing
// is built of that generation by that spec yet. A group that is not in memory stays where
// it is.
func (s *Store) Needs(name string, generation uint64, spec Spec) (int64, error) {
	s.mu.Lock()
	g := s.groups[name]
	s.mu.Unlock()
	if g == nil {
		return 0, nil
	}
	if v := g.view.Load(); v != nil {
		return v.commit.needs(generation, spec), nil
	}
	b, err := s.readFile(s.path(name) + "/zarr.json")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("arrays: look at %s: %w", name, err)
	}
	c, _, _, err := parseGroup(b)
	if err != nil || c.Stream != name {
		return 0, nil // it will be built again
	}
	return c.needs(generation, spec), nil
}

// needs is Needs of what is on the disk: a power cut may bring back what was
// synced, and a kill what was published.
func (c *commit) needs(generation uint64, spec Spec) int64 {
	if c.Generation != generation || !c.Spec.equal(spec) {
		return 0
	}
	return min(c.position.needs(), c.Synced.needs())
}

// needs is the first byte that whoever goes on from here may read: that after
// the decoded ones, or one of no use that is to be told with others, and whose
// bytes are read then.
func (p *position) needs() int64 {
	var saved savedState
	if json.Unmarshal(p.State, &saved) != nil || saved.Refused == nil {
		return 0 // nothing was decoded, or it will be built again
	}
	first := p.Offset
	for _, open := range saved.Refused.Open {
		first = min(first, open.Offset)
	}
	return first
}
