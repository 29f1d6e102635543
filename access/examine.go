package access

import (
	"bytes"
	"time"
)

// A pending check is one that others with the same credentials wait for.
type pending struct {
	done  chan struct{}
	known bool
}

// restFactor is how much longer than a check that failed the pause after it
// is: wrong passwords take at most a fourth of one core.
const restFactor = 3

// busyWait is when a sender may come again that found too many checks.
const busyWait = 5 * time.Second

// examine checks a password against the user's hash, one password at a time.
// A user that there is not (u is nil), or whose password is no hash, takes as long.
func (g *Guard) examine(u *user, d digest, password []byte) (known bool, err error) {
	verify, hashed := g.nobody.verify, u != nil && u.verify != nil
	if hashed {
		verify = u.verify
	}
	if verify == nil { // no password is a hash: it was compared
		return false, nil
	}
	g.mu.Lock()
	if p := g.pending[d]; p != nil {
		g.mu.Unlock()
		<-p.done
		return p.known, nil
	}
	if len(g.pending) >= mostPending {
		g.mu.Unlock()
		return false, &Wait{ErrBusy, busyWait}
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

	g.slot <- struct{}{}
	began := time.Now()
	p.known = verify(bytes.Clone(password)) && hashed
	if p.known {
		u.right.Store(&d)
		<-g.slot
	} else {
		time.AfterFunc(restFactor*time.Since(began), func() { <-g.slot })
	}
	return p.known, nil
}
