package arrays

import (
	"errors"
	"fmt"
	"time"
)

// The arrays' own zarr.json follow the group's and never tell rows that the
// group does not have. Those of a group of few arrays are written with the
// commit when the stream is read to its end, unless that is very often; all
// others are written by rounds in the background, each of a bounded number of
// files, so that many groups of many columns do not cost the disk more than
// their rows do.
const (
	docsFew    = 4 // arrays
	docsSoon   = 50 * time.Millisecond
	docsLatest = time.Second
	docsRound  = docsLatest / 2
	docsBudget = 1000 // files in a round
)

// followDocs writes the arrays' zarr.json when that is due; g.mu is held.
func (g *group) followDocs(idle bool) error {
	since := time.Duration(g.s.o.Now().UnixNano() - g.docsAt)
	if !idle || len(g.table.columns) > docsFew || since < docsSoon {
		return nil
	}
	return g.writeDocs()
}

// follow writes the arrays' zarr.json that are behind; all of them, or as many
// as are due and the budget of a round allows.
func (s *Store) follow(all bool) error {
	var errs []error
	budget := docsBudget
	for _, g := range s.unsynced() {
		g.mu.Lock()
		since := time.Duration(s.o.Now().UnixNano() - g.docsAt)
		if g.loaded && g.decoder != nil && g.dir == s.path(g.name) && g.stale && (all || since >= docsLatest) {
			errs = append(errs, g.writeDocs())
			budget -= len(g.table.columns)
		}
		g.mu.Unlock()
		if budget <= 0 && !all {
			break
		}
	}
	return errors.Join(errs...)
}

// writeDocs brings the arrays' own zarr.json up to date with the group.
func (g *group) writeDocs() error {
	if !g.stale {
		return nil
	}
	for i, c := range g.table.columns {
		if err := g.s.fs.MkdirAll(g.dir + "/" + c.name); err != nil {
			return fmt.Errorf("arrays: write metadata of %s: %w", g.name, err)
		}
		if err := g.s.replace(g.dir+"/"+c.name+"/zarr.json", g.statics[i].doc(g.commit.Rows)); err != nil {
			return fmt.Errorf("arrays: write metadata of %s: %w", g.name, err)
		}
	}
	g.stale, g.docsAt = false, g.s.o.Now().UnixNano()
	return nil
}
