package arrays

import (
	"fmt"
	"time"
)

// The arrays' own zarr.json follow the group's: at once when the stream is
// read to its end, unless that is very often, and within a second always. They
// never tell rows that the group does not have.
const (
	docsSoon   = 50 * time.Millisecond
	docsLatest = time.Second
)

// followDocs writes the arrays' zarr.json when that is due; g.mu is held.
func (g *group) followDocs(idle bool) error {
	since := time.Duration(g.s.o.Now().UnixNano() - g.docsAt)
	if g.docsAt > 0 && since < docsSoon || !idle && since < docsLatest {
		return nil
	}
	return g.writeDocs()
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
