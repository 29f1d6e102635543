package access

import (
	"bytes"
	"net/netip"
	"time"
)

// A pending check is one that others with the same credentials wait for.
type pending struct {
	done  chan struct{}
	known bool
	err   error // there was no check
}

// restFactor is how much longer than a check the pause after a wrong password
// is: they take at most a fourth of one core. A check counts as the shortest of
// that user, since others only waited for the core.
const restFactor = 3

// busyWait is when a sender may come again that found too many checks.
const busyWait = 5 * time.Second

// examine checks a password against the user's hash, one password at a time,
// or is a Wait of ErrBusy. A user that there is not (u is nil), or whose
// password is no hash, takes as long.
func (g *Guard) examine(u *user, d digest, password []byte, from netip.Addr) (known bool, err error) {
	if g.nobody.verify == nil { // no password is a hash: it was compared
		return false, nil
	}
	g.mu.Lock()
	if p := g.pending[d]; p != nil {
		g.mu.Unlock()
		<-p.done
		return p.known, p.err
	}
	p := &pending{done: make(chan struct{})}
	g.pending[d] = p
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.pending, d)
		g.mu.Unlock()
		close(p.done)
	}()
	p.known, p.err = g.verify(u, d, password, from)
	return p.known, p.err
}

// verify is examine for the first of those that wait.
func (g *Guard) verify(u *user, d digest, password []byte, from netip.Addr) (known bool, err error) {
	checked, hashed := g.nobody, u != nil && u.verify != nil
	if hashed {
		checked = u
	}
	if err := g.queue.enter(sourceOf(from, u), !g.attempts.failedLately(from, time.Now())); err != nil {
		return false, err
	}
	began := time.Now()
	known = checked.verify(bytes.Clone(password)) && hashed
	if took := time.Since(began); checked.cost == 0 || took < checked.cost {
		checked.cost = took
	}
	if known {
		u.right.Store(&d)
		g.queue.leave(0)
	} else {
		g.queue.leave(restFactor * checked.cost)
	}
	return known, nil
}
