package forward

import "errors"

// A sorter parts values into entries, bad parts, and markers that are neither.
type sorter struct {
	d      *decoder
	m      *Message
	b      []byte
	good   int  // up to here entries stand together from the start
	copied bool // the entries are in the arena
	joined int  // where the last bad part ends, when the next may join it
}

// sort goes over b, whose first m.Records entries, up to p, are known to be
// good. Entries are copied only when something stands between them.
func (d *decoder) sort(m *Message, b []byte, p int) error {
	s := sorter{d: d, m: m, b: b, good: p}
	for p < len(b) {
		end, reason, detail := s.judge(p)
		switch {
		case reason != "":
			s.bad(p, end, reason, detail)
		case d.marker(b[p:end]):
			d.count.markers.Add(1)
		case !s.keep(p, end):
			return errGone
		}
		p = end
	}
	m.Entries = b[:s.good:s.good]
	if s.copied {
		m.Entries = d.arena.take()
	}
	return nil
}

// keep adds the good entry b[p:end].
func (s *sorter) keep(p, end int) bool {
	s.m.Records++
	if s.good == p && !s.copied {
		s.good = end
		return true
	}
	if !s.copied {
		s.copied = true
		s.d.arena.begin()
		if !s.d.arena.add(s.b[:s.good]...) {
			return false
		}
	}
	return s.d.arena.add(s.b[p:end]...)
}

// bad adds the bad part b[p:end]; a value that is no entry joins one before it.
func (s *sorter) bad(p, end int, reason, detail string) {
	last := len(s.m.Bad) - 1
	if reason == BadEntry && s.joined == p && last >= 0 {
		data := s.m.Bad[last].Data
		s.m.Bad[last].Data = s.b[p-len(data) : end : end]
	} else {
		s.m.Bad = append(s.m.Bad, Bad{reason, detail, s.b[p:end:end]})
	}
	s.joined = 0
	if reason == BadEntry {
		s.joined = end
	}
}

// judge looks at the value at b[p]: where it ends, and why it is no entry.
func (s *sorter) judge(p int) (end int, reason, detail string) {
	if len(s.m.Bad) == maxBad && s.joined != p {
		return len(s.b), BadPayload, "too many bad parts before this one"
	}
	e, rest, err := Next(s.b[p:])
	end = len(s.b) - len(rest)
	switch {
	case err == nil:
		if !s.d.o.AnyRecord && KindOf(e.Record) != KindMap {
			return end, BadRecord, "the record is no map"
		}
		return end, "", ""
	case errors.Is(err, ErrTime):
		return end, BadTime, err.Error()
	case errors.Is(err, ErrNoEntry):
		return end, BadEntry, err.Error()
	}
	return len(s.b), BadPayload, err.Error()
}

// marker tells whether a whole entry is a group marker of Fluent Bit.
func (d *decoder) marker(b []byte) bool {
	e, _, err := Next(b)
	return err == nil && isMarker(e.Time)
}
