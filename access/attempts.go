package access

import (
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	mostSources  = 4096 // addresses whose failures are remembered
	freeAttempts = 5    // wrong passwords without a wait
	longestWait  = time.Minute
	forgotten    = 10 * longestWait // a source is as good as new
)

// attempts count the wrong passwords of each address for each user. An
// address of IPv6 is its network of 64 bits, since a host has them all.
type attempts struct {
	mu   sync.Mutex
	list *lru.Cache[source, failures]
	last *lru.Cache[netip.Prefix, time.Time] // failure of an address, whoever's password it was
}

// A source is who guesses at whose password; user is nil for those that there
// are not.
type source struct {
	from netip.Prefix
	user *user
}

type failures struct {
	n     int
	until time.Time // nothing is heard before
}

func newAttempts() *attempts {
	list, err := lru.New[source, failures](mostSources)
	if err != nil {
		panic("access: " + err.Error()) // only for a size below one
	}
	last, err := lru.New[netip.Prefix, time.Time](mostSources)
	if err != nil {
		panic("access: " + err.Error())
	}
	return &attempts{list: list, last: last}
}

func sourceOf(from netip.Addr, u *user) source {
	bits := 32
	if from = from.Unmap(); from.Is6() {
		bits = 64
	}
	prefix, _ := from.Prefix(bits) // the zero one where there is no address
	return source{prefix, u}
}

// wait tells how long the source is not heard; 0 is not at all.
func (a *attempts) wait(from netip.Addr, u *user, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, _ := a.list.Get(sourceOf(from, u))
	return max(0, f.until.Sub(now))
}

// failed takes note of a wrong password: each one doubles the wait, and a long
// time without any makes the source as good as new.
func (a *attempts) failed(from netip.Addr, u *user, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := sourceOf(from, u)
	f, _ := a.list.Get(key)
	if now.Sub(f.until) > forgotten {
		f = failures{}
	}
	f.n++
	if f.n > freeAttempts {
		f.until = now.Add(min(longestWait, time.Second<<min(f.n-freeAttempts-1, 6)))
	} else {
		f.until = now
	}
	a.list.Add(key, f)
	a.last.Add(key.from, now)
}

// failedLately tells whether a wrong password came from the address.
func (a *attempts) failedLately(from netip.Addr, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.last.Get(sourceOf(from, nil).from)
	return ok && now.Sub(at) <= forgotten
}
