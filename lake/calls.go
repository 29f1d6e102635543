package lake

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir/streams"
)

// Exists tells whether an upload is not to be sent: its file is there, or
// comes in. Parts of a file that begins again are given up. An upload that
// names a size is of a changed file, which replaces the one that is there.
func (l *Lake) Exists(ref Reference) (bool, error) {
	number, _, err := ref.place()
	if err != nil {
		return false, err
	}
	var partial, whole bool
	l.view(func(m *model) { partial, whole = m.partial[ref.File()] != nil, m.file(ref.File()) != nil })
	if partial {
		if number != 1 {
			return false, nil
		}
		if _, err := l.drop(ref.File(), always); err != nil {
			return true, nil // it comes in now
		}
	}
	return whole && !partial && ref.Size == "", nil
}

func always(*partial) bool { return true }

// A Listed is a file as ebulk sees it.
type Listed struct {
	ID        string       `json:"id"` // of the first part
	Reference string       `json:"reference"`
	LargeHash string       `json:"large-hash"` // MD5 of the parts, one after the other
	FullSize  int64        `json:"full-size"`
	Parts     []ListedPart `json:"data-stream-list"`
	// What Wendelin does not tell.
	Stream   string `json:"stream"`
	State    State  `json:"state"`
	MD5      string `json:"md5"`
	SHA256   string `json:"sha256"`
	Verified bool   `json:"verified"`
}

// A ListedPart is a part as ebulk sees it.
type ListedPart struct {
	ID   string `json:"id"`
	Size int64  `json:"size"`
	Hash string `json:"hash"`
}

// idFolder is what ids are below, as addresses of Wendelin's streams.
const idFolder = "data_stream_module/"

// List gives the files of a set, of which offset and most count parts, as in
// Wendelin; most 0 is all. An unknown set is empty.
func (l *Lake) List(set string, offset, most int) []Listed {
	list := []Listed{}
	l.view(func(m *model) {
		at := 0
		for _, f := range m.listed(set) {
			one := Listed{Reference: f.Reference, Stream: f.Stream, State: f.State, MD5: f.MD5, SHA256: f.SHA256, Verified: f.Verified}
			for _, p := range f.Parts {
				if at++; at <= offset || most > 0 && at > offset+most {
					continue
				}
				one.Parts = append(one.Parts, ListedPart{idFolder + p.ID, p.Size, p.MD5})
				one.LargeHash += p.MD5
				one.FullSize += p.Size
			}
			if len(one.Parts) > 0 {
				one.ID = one.Parts[0].ID
				list = append(list, one)
			}
		}
	})
	return list
}

// Count tells how many parts the files of a set have.
func (l *Lake) Count(set string) (n int) {
	l.view(func(m *model) {
		for _, f := range m.listed(set) {
			n += len(f.Parts)
		}
	})
	return n
}

// A Range is some bytes of a stream.
type Range struct {
	Stream   *streams.Stream
	From, To int64
}

// Chunk gives the bytes [start, end) of a part, as far as it has them.
func (l *Lake) Chunk(id string, start, end int64) (Range, error) {
	id = strings.TrimPrefix(strings.TrimPrefix(id, "/"), idFolder)
	var r Range
	var name string
	var size int64
	l.view(func(m *model) {
		at, ok := m.ids[id]
		f := m.files[at.stream]
		if !ok || f == nil {
			return
		}
		name, r.From, size = f.Stream, sizeOf(f.Parts[:at.index]), f.Parts[at.index].Size
	})
	if name == "" {
		return r, fmt.Errorf("%w: there is no data stream %q", ErrNotFound, id)
	}
	start = min(max(0, start), size)
	end = min(max(start, end), size)
	r.From, r.To = r.From+start, r.From+end
	return r, l.bind(&r, name)
}

// bind finds the stream of a range.
func (l *Lake) bind(r *Range, name string) error {
	var ok bool
	if r.Stream, ok = l.o.Streams.Stream(name); !ok {
		return fmt.Errorf("%w: the stream %s is gone", ErrNotFound, name)
	}
	return nil
}

// Open gives the file of a set that has that title, such as raw/day1.fif, and
// where its bytes are. Two files may have one title: then it is ErrExists, and
// each is found by what follows the set in its reference, such as raw/day1/fif.
func (l *Lake) Open(set, title string) (File, Range, error) {
	var f *File
	var same []string
	l.view(func(m *model) {
		for _, one := range m.listed(set) {
			switch {
			case one.Reference == set+"/"+title:
				f, same = one, nil
				return
			case Title(one.Reference) == title:
				f, same = one, append(same, one.Reference)
			}
		}
	})
	switch {
	case f == nil:
		return File{}, Range{}, fmt.Errorf("%w: the set %q has no file %q", ErrNotFound, set, title)
	case len(same) > 1:
		return File{}, Range{}, fmt.Errorf("%w: the files %s of the set have the title %q: ask for one by what follows the set in its reference",
			ErrExists, strings.Join(same, " and "), title)
	}
	r := Range{To: f.Size()}
	return *f, r, l.bind(&r, f.Stream)
}

// Sets gives the sets by name.
func (l *Lake) Sets() []Set {
	list := []Set{}
	l.view(func(m *model) {
		for _, name := range slices.Sorted(maps.Keys(m.sets)) {
			list = append(list, *m.sets[name])
		}
	})
	return list
}

// Set gives a set.
func (l *Lake) Set(name string) (Set, error) {
	var set *Set
	l.view(func(m *model) { set = m.sets[name] })
	if set == nil {
		return Set{}, noSet(name)
	}
	return *set, nil
}

func noSet(name string) error {
	return fmt.Errorf("%w: there is no set %q", ErrNotFound, name)
}

// Find gives the file of a reference, set/name/extension.
func (l *Lake) Find(ref string) (File, error) {
	var f *File
	l.view(func(m *model) { f = m.file(ref) })
	if f == nil {
		return File{}, fmt.Errorf("%w: there is no file %q", ErrNotFound, ref)
	}
	return *f, nil
}

// Remove takes a file from its set: its reference gets the suffix _invalid, its
// bytes stay until they are older than RemovedAge. Parts of it that came so far are given up. A file that is
// not there needs nothing.
func (l *Lake) Remove(ref string) error {
	if _, err := l.drop(ref, always); err != nil {
		return err
	}
	return l.update(func(m *model) (*record, error) {
		f := m.file(ref)
		if f == nil {
			return nil, nil
		}
		return &record{Marks: []mark{l.removal(f.Stream, ref)}}, nil
	})
}

// removal marks a file as removed, or replaced.
func (l *Lake) removal(stream, ref string) mark {
	return mark{stream, ref + InvalidSuffix, Invalidated, l.o.Now().UnixMilli()}
}

// Rename gives a file another reference in its set.
func (l *Lake) Rename(ref, to string) error {
	if err := checkFile(to); err != nil {
		return err
	}
	if setOf(ref) != setOf(to) {
		return fmt.Errorf("%w: %q is in another set than %q", ErrReference, to, ref)
	}
	for _, one := range slices.Compact([]string{ref, to}) {
		release, err := l.claim(one)
		if err != nil {
			return err
		}
		defer release()
	}
	return l.update(func(m *model) (*record, error) {
		f := m.file(ref)
		switch {
		case f == nil:
			return nil, fmt.Errorf("%w: there is no file %q", ErrNotFound, ref)
		case m.file(to) != nil || m.partial[to] != nil:
			return nil, fmt.Errorf("%w: %q", ErrExists, to)
		}
		return &record{Marks: []mark{{Stream: f.Stream, Reference: to, State: f.State}}}, nil
	})
}

// IncreaseVersion gives a set the next version.
func (l *Lake) IncreaseVersion(set string) error {
	return l.change(set, func(s *Set) { s.Version++ })
}

// Describe gives a set its description.
func (l *Lake) Describe(set, text string) error {
	return l.change(set, func(s *Set) { s.Description = strings.ToValidUTF8(text, "\uFFFD") })
}

func (l *Lake) change(name string, change func(*Set)) error {
	return l.update(func(m *model) (*record, error) {
		set := m.sets[name]
		if set == nil {
			return nil, noSet(name)
		}
		now := *set
		change(&now)
		return &record{Sets: []Set{now}}, nil
	})
}

// SetState publishes or invalidates a set, or takes it back to validated, and
// its files with it. What comes into a published set is published.
func (l *Lake) SetState(name string, to State) error {
	return l.update(func(m *model) (*record, error) {
		set := m.sets[name]
		if set == nil {
			return nil, noSet(name)
		}
		if set.State == Invalidated && to == Published || set.State == Published && to == Validated {
			return nil, fmt.Errorf("%w: the set %q is %s and cannot become %s", ErrState, name, set.State, to)
		}
		now := *set
		now.State = to
		c := &record{Sets: []Set{now}}
		for _, stream := range m.members[name] {
			f := m.files[stream]
			if f.State != to && (to != Published || f.State == Validated) {
				c.Marks = append(c.Marks, mark{Stream: stream, Reference: f.Reference, State: to})
			}
		}
		return c, nil
	})
}

// A Stats counts what a lake has.
type Stats struct {
	Sets, Files, Partial int64
	Bytes                int64 // of the files in sets
}

// Stats counts.
func (l *Lake) Stats() (s Stats) {
	l.view(func(m *model) {
		s.Sets, s.Files, s.Partial = int64(len(m.sets)), int64(len(m.current)), int64(len(m.partial))
		for _, stream := range m.current {
			s.Bytes += m.files[stream].Size()
		}
	})
	return s
}
