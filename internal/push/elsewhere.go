package push

import (
	"os"
	"slices"
)

// elsewhere tells whether the file that a path has is, or was, followed under
// another path. A file is known by its number as long as it is open; the system
// gives the number of a deleted one to the next, which begins otherwise.
func (w *Watcher) elsewhere(path string, id identity) bool {
	if id == (identity{}) {
		return false
	}
	for other, f := range w.files {
		if other != path && (f.at.identity == id || slices.Contains(f.at.Next, id)) {
			return true
		}
	}
	for _, at := range w.at.Files {
		if at.Path == path || w.files[at.Path] != nil {
			continue
		}
		if at.identity == id && still(path, at) || slices.Contains(at.Next, id) {
			return true
		}
	}
	return slices.ContainsFunc(w.at.Old, func(f former) bool {
		return f.identity == id && still(path, position{Offset: f.Offset, Head: f.Head})
	})
}

// still tells whether the file that a path has begins as what was sent.
func still(path string, at position) bool {
	f, err := os.Open(path)
	if err != nil {
		return true // nothing can be read of it now; the next look asks again
	}
	defer f.Close()
	return begins(f, at)
}
