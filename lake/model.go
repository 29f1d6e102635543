package lake

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// A State says who may see a set or a file; the words are Wendelin's.
type State string

// The states.
const (
	Validated   State = "validated"
	Published   State = "published"
	Invalidated State = "invalidated"
)

// A Set is a set of files.
type Set struct {
	Name        string `json:"name"`
	Version     int    `json:"version"`
	Description string `json:"description,omitempty"`
	State       State  `json:"state"`
}

// A Part is what came in one request, a range of its file's stream.
type Part struct {
	ID   string `json:"id"`
	Size int64  `json:"size"`
	MD5  string `json:"md5"`
}

// A File is a file of which all parts came.
type File struct {
	Stream    string `json:"stream"`    // that holds its bytes
	Reference string `json:"reference"` // set/name/extension
	Supplier  string `json:"supplier,omitempty"`
	State     State  `json:"state"`
	Parts     []Part `json:"parts"`
	MD5       string `json:"md5"`
	SHA256    string `json:"sha256"`
	Verified  bool   `json:"verified"` // size and hash are what the sender said
	At        int64  `json:"at"`       // Unix milliseconds
	// Removed is when the file was removed or replaced, in Unix milliseconds.
	Removed int64 `json:"removed,omitempty"`
}

// Size is the file's length in bytes.
func (f *File) Size() int64 { return sizeOf(f.Parts) }

func sizeOf(parts []Part) (n int64) {
	for _, p := range parts {
		n += p.Size
	}
	return n
}

// A partial is a file whose last part did not come yet.
type partial struct {
	Reference string  `json:"reference"`
	Supplier  string  `json:"supplier,omitempty"`
	Stream    string  `json:"stream"`
	Parts     []Part  `json:"parts"`
	Sums      rawSums `json:"sums"`
	Claim     claim   `json:"claim"`
	At        int64   `json:"at"`
}

// A nextPart is a part that came.
type nextPart struct {
	Reference string  `json:"reference"`
	Supplier  string  `json:"supplier,omitempty"`
	Stream    string  `json:"stream"`
	Part      Part    `json:"part"`
	Sums      rawSums `json:"sums"`
	Claim     claim   `json:"claim"`
	At        int64   `json:"at"`
}

// A mark changes a file's reference and state.
type mark struct {
	Stream    string `json:"stream"`
	Reference string `json:"reference"`
	State     State  `json:"state"`
	At        int64  `json:"at,omitempty"` // when the file was removed or replaced
}

// A whole makes a file of a partial one.
type whole struct {
	Reference string `json:"reference"`
	State     State  `json:"state"`
	MD5       string `json:"md5"`
	SHA256    string `json:"sha256"`
	Verified  bool   `json:"verified"`
	At        int64  `json:"at"`
}

// A record is one line of the stream: rows, and what becomes of them.
type record struct {
	Format  int       `json:"format,omitempty"` // in a snapshot
	Sets    []Set     `json:"sets,omitempty"`
	Files   []File    `json:"files,omitempty"`
	Partial []partial `json:"partial,omitempty"`
	Drop    []string  `json:"drop,omitempty"`
	Part    *nextPart `json:"part,omitempty"`
	Marks   []mark    `json:"marks,omitempty"`
	Whole   *whole    `json:"whole,omitempty"`
	Gone    []string  `json:"gone,omitempty"`
}

// A place is a part of a file.
type place struct {
	stream string
	index  int
}

// A model is everything that a lake knows.
type model struct {
	sets    map[string]*Set
	files   map[string]*File    // by stream
	partial map[string]*partial // by reference
	current map[string]string   // the stream of a reference
	ids     map[string]place    // of parts
	members map[string][]string // streams of a set's present files, in the order in which they came
}

func newModel() *model {
	return &model{map[string]*Set{}, map[string]*File{}, map[string]*partial{}, map[string]string{}, map[string]place{}, map[string][]string{}}
}

// apply changes the model as a record says.
func (m *model) apply(r *record) {
	for _, s := range r.Sets {
		m.sets[s.Name] = &s
	}
	for _, f := range r.Files {
		m.put(&f)
	}
	for _, p := range r.Partial {
		m.partial[p.Reference] = &p
		m.note(p.Stream, p.Parts)
	}
	for _, ref := range r.Drop {
		m.drop(ref)
	}
	if p := r.Part; p != nil {
		m.add(p)
	}
	for _, k := range r.Marks {
		if f := m.files[k.Stream]; f != nil {
			marked := *f
			marked.Reference, marked.State = k.Reference, k.State
			if k.At > 0 {
				marked.Removed = k.At
			}
			m.put(&marked)
		}
	}
	if w := r.Whole; w != nil {
		if p := m.partial[w.Reference]; p != nil {
			delete(m.partial, w.Reference)
			m.put(&File{p.Stream, p.Reference, p.Supplier, w.State, p.Parts, w.MD5, w.SHA256, w.Verified, w.At, 0})
		}
	}
	for _, stream := range r.Gone {
		m.forget(stream)
	}
}

// forget takes note that the bytes of a removed file are gone.
func (m *model) forget(stream string) {
	if f := m.files[stream]; f != nil && f.removed() {
		for _, p := range f.Parts {
			delete(m.ids, p.ID)
		}
		delete(m.files, stream)
	}
}

// removed tells whether the file was removed or replaced.
func (f *File) removed() bool { return strings.HasSuffix(f.Reference, InvalidSuffix) }

// add adds a part. What readers hold of the parts before stays as it is.
func (m *model) add(p *nextPart) {
	now := partial{p.Reference, p.Supplier, p.Stream, nil, p.Sums, p.Claim, p.At}
	if before := m.partial[p.Reference]; before != nil {
		now.Supplier, now.Stream, now.Parts = before.Supplier, before.Stream, before.Parts
	}
	now.Parts = append(now.Parts, p.Part)
	m.partial[p.Reference] = &now
	m.ids[p.Part.ID] = place{now.Stream, len(now.Parts) - 1}
}

// drop gives up the parts of a file.
func (m *model) drop(ref string) {
	if p := m.partial[ref]; p != nil {
		for _, part := range p.Parts {
			delete(m.ids, part.ID)
		}
		delete(m.partial, ref)
	}
}

// note takes note of where parts are.
func (m *model) note(stream string, parts []Part) {
	for i, p := range parts {
		m.ids[p.ID] = place{stream, i}
	}
}

// put puts a file, and takes it from where it was.
func (m *model) put(f *File) {
	if old := m.files[f.Stream]; old != nil && m.current[old.Reference] == f.Stream {
		if old.Reference != f.Reference {
			m.leave(old)
		}
	}
	m.files[f.Stream] = f
	m.note(f.Stream, f.Parts)
	if f.removed() || m.current[f.Reference] == f.Stream {
		return
	}
	m.current[f.Reference] = f.Stream
	set := setOf(f.Reference)
	m.members[set] = append(m.members[set], f.Stream)
}

// leave takes a file from its set.
func (m *model) leave(f *File) {
	delete(m.current, f.Reference)
	set := setOf(f.Reference)
	if i := slices.Index(m.members[set], f.Stream); i >= 0 {
		m.members[set] = slices.Delete(slices.Clone(m.members[set]), i, i+1)
	}
}

// file gives the file that a reference means now, or nil.
func (m *model) file(ref string) *File { return m.files[m.current[ref]] }

// listed gives a set's files that a list shows.
func (m *model) listed(set string) []*File {
	var list []*File
	for _, stream := range m.members[set] {
		if f := m.files[stream]; f.State != Invalidated {
			list = append(list, f)
		}
	}
	return list
}

// all gives the model as the rows of a snapshot, in a fixed order.
func (m *model) all() *record {
	r := &record{Format: format}
	for _, name := range slices.Sorted(maps.Keys(m.sets)) {
		r.Sets = append(r.Sets, *m.sets[name])
	}
	for _, f := range m.files {
		r.Files = append(r.Files, *f)
	}
	slices.SortFunc(r.Files, func(a, b File) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(len(a.Stream), len(b.Stream)), cmp.Compare(a.Stream, b.Stream))
	})
	for _, ref := range slices.Sorted(maps.Keys(m.partial)) {
		r.Partial = append(r.Partial, *m.partial[ref])
	}
	return r
}
