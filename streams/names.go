package streams

import (
	"slices"
	"sort"
	"strings"
	"sync"
)

// A nameList is a sorted list of names; what was added lately is sorted in
// when someone asks.
type nameList struct {
	mu     sync.Mutex
	sorted []string
	fresh  []string
}

func (l *nameList) add(name string) {
	l.mu.Lock()
	l.fresh = append(l.fresh, name)
	l.mu.Unlock()
}

func (l *nameList) len() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.sorted) + len(l.fresh))
}

func (l *nameList) list(prefix, after string, limit int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.fresh) > 0 {
		l.sorted = append(l.sorted, l.fresh...)
		slices.Sort(l.sorted)
		l.fresh = nil
	}
	from := sort.SearchStrings(l.sorted, prefix)
	if next := sort.Search(len(l.sorted), func(i int) bool { return l.sorted[i] > after }); after != "" && next > from {
		from = next
	}
	var names []string
	for _, name := range l.sorted[from:] {
		if len(names) == limit || !strings.HasPrefix(name, prefix) {
			break
		}
		names = append(names, name)
	}
	return names
}
