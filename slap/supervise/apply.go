package supervise

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// change makes changes of one group one after the other.
func (s *server) change(group string) (done func()) {
	s.mu.Lock()
	l := s.locks[group]
	if l == nil {
		l = new(sync.Mutex)
		s.locks[group] = l
	}
	s.mu.Unlock()
	l.Lock()
	return l.Unlock
}

// apply makes a group what is given.
func (s *server) apply(ctx context.Context, g Group) (Change, error) {
	if err := g.check(); err != nil {
		return Change{}, err
	}
	defer s.change(g.Name)()
	if err := s.store.saveGroup(g); err != nil {
		return Change{}, err
	}
	s.mu.Lock()
	old := s.groups[g.Name]
	s.setShare(g)
	s.mu.Unlock()
	now := make(map[string]*keeper, len(g.Programs))
	var c Change
	var changed []*keeper
	for _, p := range g.Programs {
		k, known := old[p.Name]
		switch {
		case !known:
			c.Added = append(c.Added, p.Name)
			k = s.keeper(g.Name, p)
		case k.same(p):
			c.Unchanged = append(c.Unchanged, p.Name)
		default:
			c.Changed = append(c.Changed, p.Name)
			changed = append(changed, k)
		}
		now[p.Name] = k
	}
	var removed []*keeper
	for name, k := range old {
		if now[name] == nil {
			c.Removed = append(c.Removed, name)
			removed = append(removed, k)
		}
	}
	slices.Sort(c.Removed)
	if err := s.heldDown(ctx, slices.Concat(changed, removed)); err != nil {
		return c, err
	}
	for _, p := range g.Programs {
		if slices.Contains(c.Changed, p.Name) {
			now[p.Name].reset(p)
		}
	}
	s.mu.Lock()
	s.groups[g.Name] = now
	s.mu.Unlock()
	for _, k := range removed {
		k.close()
		s.forget(g.Name, k.name)
	}
	return c, nil
}

// same tells whether a program's settings are these.
func (k *keeper) same(p Program) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fingerprint(k.spec) == fingerprint(p)
}

// reset gives a program that is held and down other settings, and lets it go.
func (k *keeper) reset(p Program) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.turn++
	k.held, k.quick = false, 0
	if k.out != nil {
		k.out.close()
		k.out = nil
	}
	k.spec = p
	k.rec = record{Group: k.group, Name: p.Name, State: Stopped, Boot: k.srv.boot, Event: k.rec.Event}
	k.keep()
	k.publish()
	if k.again {
		k.launch()
	}
}

// remove stops a group and forgets it.
func (s *server) remove(ctx context.Context, group string) error {
	defer s.change(group)()
	s.mu.Lock()
	old := s.groups[group]
	s.mu.Unlock()
	list := slices.Collect(maps.Values(old))
	if err := s.heldDown(ctx, list); err != nil {
		return err
	}
	if err := s.store.dropGroup(group); err != nil {
		letGo(list)
		return fmt.Errorf("supervise: group %q: %w", group, err)
	}
	s.mu.Lock()
	delete(s.groups, group)
	delete(s.shares, group)
	s.mu.Unlock()
	for _, k := range list {
		k.close()
		s.forget(group, k.name)
	}
	discard(s.cgroups.folders(groupSlot(group)))
	return nil
}

// heldDown stops programs, waits for it, and keeps them from being started;
// after an error they are let go.
func (s *server) heldDown(ctx context.Context, list []*keeper) (err error) {
	for _, k := range list {
		k.hold()
	}
	defer func() {
		if err != nil {
			letGo(list)
		}
	}()
	for _, k := range list {
		k.down(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("supervise: %s:%s does not stop: %w", k.group, k.name, ctx.Err())
		}
		if st := k.status(); st.State == Unknown {
			return fmt.Errorf("supervise: %s:%s does not stop: %s", k.group, k.name, st.Error)
		}
	}
	return nil
}

func letGo(list []*keeper) {
	for _, k := range list {
		k.letGo()
	}
}

// find gives the programs that are named, by group and name.
func (s *server) find(names []string) ([]*keeper, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[*keeper]bool{}
	for _, n := range names {
		before := len(found)
		group, program := split(n)
		for _, g := range s.groups {
			for _, k := range g {
				if (group == "*" || group == k.group) && (program == "*" || program == k.name) {
					found[k] = true
				}
			}
		}
		empty := program == "*" && (group == "*" || s.groups[group] != nil)
		if len(found) == before && !empty && !s.named(n) {
			return nil, fmt.Errorf("%w: %q", ErrUnknown, n)
		}
	}
	list := slices.Collect(maps.Keys(found))
	slices.SortFunc(list, func(a, b *keeper) int {
		return strings.Compare(a.group+"\x00"+a.name, b.group+"\x00"+b.name)
	})
	return list, nil
}

// named tells whether there is a program of exactly this name. The caller
// holds mu.
func (s *server) named(name string) bool {
	group, program := split(name)
	return s.groups[group][program] != nil
}
