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
}

// restFactor is how much longer than a check the pause after a wrong password
// is: they take at most a fourth of one core. A check counts as the shortest of
// that user, since others only waited for the core.
const restFactor = 3

// busyWait is when a sender may come again that found too many checks.
const busyWait = 5 * time.Second

// examine checks a password against the user's hash, one password at a time.
// A user that there is not (u is nil), or whose password is no hash, takes as long.
func (g *Guard) examine(u *user, d digest, password []byte, from netip.Addr) (known bool, err error) {
	checked, hashed := g.nobody, u != nil && u.verify != nil
	if hashed {
		checked = u
	}
	if checked.verify == nil { // no password is a hash: it was compared
		return false, nil
	}
	g.mu.Lock()
	if p := g.pending[d]; p != nil {
		g.mu.Unlock()
		<-p.done
		return p.known, nil
	}
	who := sourceOf(from, u)
	if len(g.pending) >= mostPending || g.waiting[who] {
		g.mu.Unlock()
		return false, &Wait{ErrBusy, busyWait}
	}
	p := &pending{done: make(chan struct{})}
	g.pending[d], g.waiting[who] = p, true
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.pending, d)
		delete(g.waiting, who)
		g.mu.Unlock()
		close(p.done)
	}()

	g.slot <- struct{}{}
	began := time.Now()
	p.known = checked.verify(bytes.Clone(password)) && hashed
	if took := time.Since(began); checked.cost == 0 || took < checked.cost {
		checked.cost = took
	}
	if p.known {
		u.right.Store(&d)
		<-g.slot
	} else {
		time.AfterFunc(restFactor*checked.cost, func() { <-g.slot })
	}
	return p.known, nil
}
