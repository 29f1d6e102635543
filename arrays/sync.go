package arrays

import (
	"errors"
	"fmt"
	"time"
)

// run brings the arrays' own zarr.json up to date and syncs, now and then.
func (s *Store) run() {
	defer close(s.done)
	docs, sync := time.NewTicker(docsRound), time.NewTicker(s.o.SyncEvery)
	defer docs.Stop()
	defer sync.Stop()
	for {
		var err error
		select {
		case <-s.stop:
			return
		case <-docs.C:
			err = s.follow(false)
		case <-sync.C:
			err = s.sync()
		}
		if err != nil {
			s.log.Error("arrays: in the background", "err", err)
		}
	}
}

// unsynced lists the groups that are ahead of what is synced.
func (s *Store) unsynced() []*group {
	s.mu.Lock()
	defer s.mu.Unlock()
	var gs []*group
	for g := range s.dirty {
		gs = append(gs, g)
	}
	return gs
}

// sync puts everything that is published now on stable storage, and notes for
// each group that it is. The note is written with the group's next commit, or
// by itself where none came meanwhile.
func (s *Store) sync() error {
	views := map[*group]*view{}
	for _, g := range s.unsynced() {
		if v := g.view.Load(); v != nil {
			views[g] = v
		}
	}
	if len(views) == 0 {
		return nil
	}
	if err := s.fs.SyncAll(s.dir); err != nil {
		return fmt.Errorf("arrays: sync: %w", err)
	}
	var errs []error
	for g, v := range views {
		errs = append(errs, g.noteSynced(v))
	}
	return errors.Join(errs...)
}

// noteSynced notes that a view is on stable storage.
func (g *group) noteSynced(v *view) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.loaded || g.commit.Build != v.Build || g.dir != v.dir {
		return nil // it was replaced meanwhile
	}
	g.commit.Synced = v.position
	if g.view.Load() != v {
		return nil // the next round comes
	}
	g.s.mu.Lock()
	delete(g.s.dirty, g)
	g.s.mu.Unlock()
	return g.note()
}

// note writes the synced position.
func (g *group) note() error {
	b, err := g.render()
	if err != nil {
		return err
	}
	if err := g.s.replace(g.dir+"/zarr.json", b); err != nil {
		g.loaded = false
		return fmt.Errorf("arrays: note what is synced of %s: %w", g.name, err)
	}
	g.view.Store(g.newView(b))
	return g.writeDocs()
}

// settle leaves everything synced, and says so on stable storage.
func (s *Store) settle() error {
	err := errors.Join(s.follow(true), s.sync())
	if err == nil {
		err = s.fs.SyncAll(s.dir)
	}
	return err
}
