package zookeeper

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"weir/internal/zk"
)

// A freeList holds names of entries that nobody had taken when they were
// listed. One listing serves all workers of the process; a lost race costs a
// round trip and nothing else.
type freeList struct {
	s *session

	mu     sync.Mutex
	names  []string             // sorted
	mine   map[string]bool      // taken by this process, or about to be
	later  map[string]time.Time // released; not to be taken again before
	change chan struct{}        // closed when there is more
	hungry chan struct{}        // holds a token when a new listing is wanted
	window int                  // of names of equal priority to choose from
	wins   int
	rest   time.Duration // for how long the list is used
}

const (
	// manyWins, one after another, halve the window, and one loss doubles it: it
	// becomes as wide as others are ahead on a list that is not new.
	manyWins = 256
	// unconditional is how often the folders are listed whatever watches say.
	unconditional = 10 * time.Second
	leastPause    = 5 * time.Millisecond
	listAgain     = 200 * time.Millisecond // after an error
	// restFactor is for how long a list is used, in times of what it took, and
	// restPerName for how long at most: a long queue must not be listed all the
	// time by everybody. Meanwhile a new entry waits for the ones that are
	// listed, whatever its priority.
	restFactor  = 30
	restPerName = 100 * time.Microsecond
)

func newFreeList(s *session) *freeList {
	return &freeList{s: s, mine: map[string]bool{}, later: map[string]time.Time{}, change: make(chan struct{}), hungry: make(chan struct{}, 1), window: 1}
}

// next gives a name to try, or the channel that tells of more.
func (f *freeList) next() (name string, change <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.names) == 0 {
		f.want()
		return "", f.change
	}
	i := 0
	if f.window > 1 {
		i = rand.IntN(f.equals())
	}
	name = f.names[i]
	f.names[i] = f.names[0] // of equal priority; the list may be too long to be moved
	f.names = f.names[1:]
	f.mine[name] = true
	return name, nil
}

// equals counts the first names of equal priority, up to the window. Names of
// one priority are together.
func (f *freeList) equals() int {
	first, most := priority(f.names[0]), min(f.window, len(f.names))
	return sort.Search(most, func(i int) bool { return priority(f.names[i]) != first })
}

// priority is the part of a name before its counter.
func priority(name string) string { return name[:max(0, strings.LastIndexByte(name, '-'))] }

// want asks for a new listing.
func (f *freeList) want() {
	select {
	case f.hungry <- struct{}{}:
	default:
	}
}

// won notes a name that this process has taken; lost one that another had.
// Processes that lose races choose from more names.
func (f *freeList) won() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wins++; f.wins >= manyWins {
		f.wins, f.window = 0, max(1, f.window/2)
	}
}

func (f *freeList) lost(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.mine, name)
	f.wins, f.window = 0, min(2*f.window, max(1, len(f.names)))
}

// drop forgets a name that this process held, or offers it again after a while.
func (f *freeList) drop(name string, again bool, after time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.mine, name)
	if !again {
		return
	}
	if after > 0 {
		f.later[name] = time.Now().Add(after)
		time.AfterFunc(after, f.want)
	}
	f.want()
}

// follow lists the folders when they change, no more often than is useful.
func (f *freeList) follow(log *slog.Logger) {
	safety := time.NewTicker(unconditional)
	defer safety.Stop()
	for f.s.Err() == nil {
		entries, taken, err := f.list()
		if err != nil {
			if errors.Is(err, zk.ErrNoNode) {
				log.Warn("somebody deleted the queue's folders in ZooKeeper; they are made again", "error", err)
				err = f.s.folders(context.Background())
			}
			if err != nil && f.s.Err() == nil && !unknown(err) {
				log.Error("the queue in ZooKeeper cannot be listed", "error", err)
			}
			select {
			case <-time.After(listAgain):
			case <-f.s.Done():
			}
			continue
		}
		least := time.Now().Add(f.rest)
		select {
		case <-entries:
		case <-taken:
		case <-f.hungry:
		case <-safety.C:
		case <-f.s.Done():
			return
		}
		f.pause(least)
	}
}

// pause waits until a time, or until the list is empty and a while has passed.
func (f *freeList) pause(until time.Time) {
	for time.Now().Before(until) && f.s.Err() == nil {
		f.mu.Lock()
		empty := len(f.names) == 0
		f.mu.Unlock()
		time.Sleep(min(leastPause, time.Until(until)))
		if empty {
			return
		}
	}
}

// list reads both folders and gives their watches.
func (f *freeList) list() (entries, taken <-chan struct{}, err error) {
	began := time.Now()
	// taken first: an entry that goes meanwhile is then tried in vain, and not
	// one overlooked that is freed.
	locks, taken, err := f.s.WatchChildren(context.Background(), takenFolder)
	if err != nil {
		return nil, nil, err
	}
	all, entries, err := f.s.WatchChildren(context.Background(), entriesFolder)
	if err != nil {
		return nil, nil, err
	}
	f.fill(all, locks)
	rest := min(restFactor*time.Since(began), time.Duration(len(all))*restPerName, unconditional)
	f.rest = max(rest, leastPause)
	return entries, taken, nil
}

// fill puts what is free into the list.
func (f *freeList) fill(entries, taken []string) {
	held := make(map[string]bool, len(taken))
	for _, name := range taken {
		held[name] = true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for name, until := range f.later {
		if now.After(until) {
			delete(f.later, name)
		}
	}
	free := make([]string, 0, len(entries))
	for _, name := range entries {
		if _, wait := f.later[name]; !wait && !held[name] && !f.mine[name] {
			free = append(free, name)
		}
	}
	slices.Sort(free)
	f.names = free
	if len(free) > 0 {
		close(f.change)
		f.change = make(chan struct{})
	}
}
