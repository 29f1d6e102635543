package arrays

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"sync"
	"sync/atomic"
)

// A group is what is built from one stream.
//
// mu is held for a step and for all that writes to the group's folder. Readers
// use view, which is replaced after each commit.
type group struct {
	name string
	s    *Store
	view atomic.Pointer[view] // nil: not loaded, or nothing is published

	mu      sync.Mutex
	loaded  bool
	dir     string // where it is written now
	commit  commit
	table   table
	decoder decoder
	checked bool     // the tail chunks can be filled
	proved  bool     // the stream has what was read of it
	stale   bool     // the arrays' own zarr.json are behind
	docsAt  int64    // when they were written, in nanoseconds
	statics []static // of the columns
}

// A static is the unchanging part of an array's zarr.json.
type static struct {
	before, after string
	attrs         map[string]any // that after was made of
}

// load reads what was committed. Afterwards g.view tells whether there is
// anything; g.mu is held.
func (g *group) load() error {
	if g.loaded {
		return nil
	}
	g.dir = g.s.path(g.name)
	b, err := g.s.readFile(g.dir + "/zarr.json")
	if errors.Is(err, fs.ErrNotExist) {
		return g.forget()
	}
	if err != nil {
		return fmt.Errorf("arrays: load %s: %w", g.name, err)
	}
	c, attrs, columns, err := parseGroup(b)
	if err == nil && c.Stream != g.name {
		err = fmt.Errorf("arrays: zarr.json is of stream %q", c.Stream)
	}
	if err != nil {
		return g.setAside(err)
	}
	g.commit, g.table = c, table{attrs: attrs, limit: g.s.batch}
	for _, col := range columns {
		g.table.put(col)
	}
	return g.recover()
}

// recover goes on from what was loaded: after a power cut, from what was
// surely on the disk.
func (g *group) recover() error {
	cut := g.commit.Boot != g.s.o.BootID && g.commit.Synced.Offset != g.commit.Offset
	if cut && g.commit.Synced.Offset == 0 {
		g.s.log.Warn("arrays: rebuilding: nothing was synced before the machine stopped", "group", g.name)
		if err := g.s.fs.RemoveAll(g.dir); err != nil {
			return fmt.Errorf("arrays: load %s: %w", g.name, err)
		}
		return g.forget()
	}
	if cut {
		g.s.log.Warn("arrays: going back to the synced state", "group", g.name, "rows", g.commit.Rows, "synced", g.commit.Synced.Rows)
		g.commit.position = g.commit.Synced
		for _, c := range g.table.columns {
			c.from = min(c.from, g.commit.Rows)
		}
	}
	if err := g.restore(); err != nil {
		return g.setAside(err)
	}
	g.loaded, g.checked, g.proved, g.stale = true, false, false, true
	if cut {
		return g.publish()
	}
	return g.show()
}

// restore makes the decoder of the committed state.
func (g *group) restore() error {
	saved := savedState{Refused: &g.table.refused}
	if err := json.Unmarshal(g.commit.State, &saved); err != nil {
		return fmt.Errorf("arrays: read state: %w", err)
	}
	g.table.first = g.commit.Rows
	d, err := newDecoder(g.commit.Spec, saved.Decoder, &g.table)
	g.decoder = d
	return err
}

// forget makes g a group of which nothing is there.
func (g *group) forget() error {
	g.loaded, g.commit, g.decoder, g.table = true, commit{}, nil, table{}
	g.view.Store(nil)
	return nil
}

// setAside keeps a zarr.json that cannot be used for people to look at; the
// group will be built again.
func (g *group) setAside(cause error) error {
	to := g.s.scratch(badDir, g.name)
	g.s.log.Error("arrays: group cannot be read; it will be built again", "group", g.name, "err", cause, "set_aside", to)
	if err := g.s.fs.Rename(g.dir+"/zarr.json", to); err != nil {
		return fmt.Errorf("arrays: set aside %s: %w", g.name, err)
	}
	return g.forget()
}

// begin starts from nothing, at an offset of the stream, in a folder that
// readers do not see.
func (g *group) begin(generation uint64, offset int64, spec Spec) error {
	g.dir = g.s.dir + "/" + newDir + "/" + escaped(g.name)
	if err := g.s.fs.RemoveAll(g.dir); err != nil {
		return fmt.Errorf("arrays: begin %s: %w", g.name, err)
	}
	if err := g.s.fs.MkdirAll(g.dir); err != nil {
		return fmt.Errorf("arrays: begin %s: %w", g.name, err)
	}
	now := g.s.o.Now()
	g.commit = commit{Format: formatVersion, Stream: g.name, Generation: generation, Spec: spec, Build: now.UnixNano(), Begin: offset, position: position{Offset: offset}}
	g.table = table{attrs: map[string]any{}, limit: g.s.batch}
	g.checked, g.proved, g.stale, g.docsAt, g.statics = true, true, true, 0, nil
	var err error
	g.decoder, err = newDecoder(spec, nil, &g.table)
	return err
}

// publish makes the group's present state the published one: the rename of
// zarr.json is the commit. Data are written before.
func (g *group) publish() error {
	b, err := g.render()
	if err != nil {
		return err
	}
	g.stale = true
	final := g.s.path(g.name)
	if g.dir != final {
		if err := g.writeDocs(); err != nil {
			return err
		}
	}
	if err := g.s.replace(g.dir+"/zarr.json", b); err != nil {
		return fmt.Errorf("arrays: commit %s: %w", g.name, err)
	}
	if g.dir != final {
		g.view.Store(nil) // who reads files now looks again, and waits for g.mu
		if err := g.s.install(g.name, g.dir); err != nil {
			return err
		}
		g.dir = final
	}
	g.s.changed(g)
	g.view.Store(g.newView(b))
	return nil
}

// show makes the loaded state visible to readers.
func (g *group) show() error {
	b, err := g.render()
	if err == nil {
		g.view.Store(g.newView(b))
		if g.commit.Synced.Offset != g.commit.Offset {
			g.s.changed(g)
		}
	}
	return err
}

// render gives the bytes of zarr.json.
func (g *group) render() ([]byte, error) {
	c := &g.commit
	c.Boot = g.s.o.BootID
	c.Columns = make([]columnRef, 0, len(g.table.columns))
	docs := make([][]byte, len(g.table.columns))
	for i, col := range g.table.columns {
		c.Columns = append(c.Columns, columnRef{col.name, col.from})
		if err := g.static(i); err != nil {
			return nil, err
		}
		docs[i] = g.statics[i].doc(c.Rows)
	}
	return groupJSON(g.table.attrs, *c, docs)
}

// static brings g.statics[i] up to date with the column's attributes.
func (g *group) static(i int) error {
	c := g.table.columns[i]
	if i < len(g.statics) && sameMap(g.statics[i].attrs, c.attrs) {
		return nil
	}
	before, after, err := arrayJSON(c, g.commit.Chunk)
	if err != nil {
		return err
	}
	g.statics = append(g.statics[:i], append([]static{{before, after, c.attrs}}, g.statics[min(i+1, len(g.statics)):]...)...)
	return nil
}

// newView describes the present state for readers.
func (g *group) newView(json []byte) *view {
	v := &view{commit: g.commit, json: json, dir: g.s.path(g.name), attrs: maps.Clone(g.table.attrs)}
	v.columns = make([]columnView, len(g.table.columns))
	for i, c := range g.table.columns {
		v.columns[i] = columnView{name: c.name, dtype: c.dtype, dims: c.dims, width: c.width, from: c.from, static: g.statics[i]}
	}
	return v
}
