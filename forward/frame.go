package forward

// frameDepth is the depth at which a frame begins, so that an entry may nest
// as deep in an array of entries, two containers down, as in a packed payload.
const frameDepth = -2

// A frame is a request as it stands in the buffer.
type frame struct {
	mode    Mode
	tag     []byte // raw value
	body    []byte // entries, packed payload, or time and record
	at      int    // where body begins, in Message mode
	entries int    // entries of Forward mode, when regular
	regular bool   // all of them are ordinary
	option  option
	fault   string // why it is no message; the rest is void then
}

// An option is the option map of a frame; raw values are nil when absent.
type option struct {
	size       int64 // -1 when absent
	chunk      []byte
	compressed []byte
	metadata   []byte
	signal     int
}

// parse reads the frame that begins b, an array, and gives its length.
func (f *frame) parse(b []byte, anyRecord bool) (n int, st status) {
	*f = frame{option: option{size: -1}}
	values, p, ok := arrayHead(b)
	if !ok {
		return 0, short
	}
	if values < 2 {
		f.fault = "array of fewer than two values"
		return skip(b, 0, 1, frameDepth)
	}
	end, st := skip(b, p, 1, frameDepth+1)
	if st != whole || end == len(b) {
		return end, max(st, short)
	}
	f.tag = b[p:end:end]
	values -= 2
	switch KindOf(b[end:]) {
	case KindArray:
		f.mode = ModeForward
		p, st = f.forward(b, end, anyRecord)
	case KindString, KindBinary:
		f.mode = ModePacked
		p, st = skip(b, end, 1, frameDepth+1)
		f.body, _ = text(b[end:p])
	default:
		f.mode = ModeMessage
		if values == 0 {
			f.fault = "tag and time without a record"
			p, st = skip(b, end, 1, frameDepth+1)
			break
		}
		values--
		p, st = skip(b, end, 2, frameDepth+1)
		f.body, f.at = b[end:p:p], end
	}
	if st != whole {
		return p, st
	}
	if values > 0 {
		if p, st = f.option.parse(b, p); st == whole {
			p, st = skip(b, p, values-1, frameDepth+1)
		}
	}
	return p, st
}

// forward goes over the array of entries at b[p].
func (f *frame) forward(b []byte, p int, anyRecord bool) (int, status) {
	n, head, ok := arrayHead(b[p:])
	if !ok {
		return p, short
	}
	p += head
	start, st := p, whole
	f.regular = true
	for ; n > 0; n-- {
		end, ok := step(b, p, anyRecord)
		if !ok {
			f.regular = false
			if end, st = skip(b, p, 1, frameDepth+2); st != whole {
				return end, st
			}
		}
		p = end
		f.entries++
	}
	f.body = b[start:p:p]
	return p, whole
}

// parse reads the option at b[p]. What is no map says nothing.
func (o *option) parse(b []byte, p int) (int, status) {
	if KindOf(b[p:]) != KindMap {
		return skip(b, p, 1, frameDepth+1)
	}
	head, n, st := measure(b, p, leads[b[p]])
	if st != whole {
		return p, st
	}
	p += int(head)
	for ; n > 0; n -= 2 {
		key, st := skip(b, p, 1, frameDepth+2)
		if st != whole {
			return key, st
		}
		end, st := skip(b, key, 1, frameDepth+2)
		if st != whole {
			return end, st
		}
		name, _ := text(b[p:key])
		o.set(name, b[key:end:end])
		p = end
	}
	return p, whole
}

// set takes one option; the last of equal names holds.
func (o *option) set(name, value []byte) {
	switch string(name) {
	case "chunk":
		o.chunk = value
		if value[0] == 0xc0 || value[0] == 0xc2 { // nil and false ask for nothing
			o.chunk = nil
		}
	case "compressed":
		o.compressed = value
	case "size":
		if n, ok := integer(value); ok {
			o.size = n
		}
	case "fluent_signal":
		if n, ok := integer(value); ok {
			o.signal = int(n)
		}
	case "metadata":
		o.metadata = nil
		if KindOf(value) == KindMap {
			o.metadata = value
		}
	}
}

// text gives the content of a whole string or binary.
func text(b []byte) ([]byte, bool) {
	if k := KindOf(b); k != KindString && k != KindBinary {
		return nil, false
	}
	c := leads[b[0]]
	if c < classSize8 {
		return b[1:], true
	}
	n, head, ok := declared(b, c)
	if !ok || uint64(len(b)) < head+n {
		return nil, false
	}
	return b[head:], true
}

// A scanner finds the end of a value that comes in parts, without going over
// the first parts again.
type scanner struct {
	p    int
	left uint64 // values that are still to come
}

// start begins a value at the start of the buffer.
func (s *scanner) start() { *s = scanner{left: 1} }

// run goes on in b, the buffer grown, and gives the number of bytes that the
// value takes at least: with whole, exactly.
func (s *scanner) run(b []byte) (n uint64, st status) {
	for s.left > 0 {
		if s.p >= len(b) {
			return uint64(s.p) + s.left, short
		}
		c := leads[b[s.p]]
		size, children := uint64(c), uint64(0)
		if c >= classSize8 {
			if size, children, st = measure(b, s.p, c); st != whole {
				return uint64(s.p) + s.left, st
			}
		}
		if uint64(len(b)-s.p) < size {
			return uint64(s.p) + size + s.left - 1, short
		}
		s.p += int(size)
		s.left += children - 1
	}
	return uint64(s.p), whole
}
