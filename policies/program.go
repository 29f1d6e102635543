package policies

// The instructions of a program. The first three take a byte and go on.
const (
	opByte  = iota
	opName  // a byte that is no dot
	opAny   // any byte
	opSplit // go on at x and at y
	opJump  // go on at x
	opStart // go on when nothing was taken
	opEdge  // go on when a dot follows, or nothing
	opMatch // the tag matches when nothing follows
)

type instruction struct {
	op   uint8
	c    byte
	x, y int
}

// A program is a glob as a machine that is in many states at once, so that no
// pattern and tag take more than len(program)·len(tag) steps.
type program []instruction

func compile(pieces []piece) program {
	p := program{}
	p.emit(pieces)
	return append(p, instruction{op: opMatch})
}

func (p *program) add(in instruction) int {
	*p = append(*p, in)
	return len(*p) - 1
}

func (p *program) emit(pieces []piece) {
	for _, pc := range pieces {
		switch pc.op {
		case pieceByte:
			p.add(instruction{op: opByte, c: pc.c})
		case pieceName:
			p.repeat(opName)
		case pieceAny:
			p.repeat(opAny)
		case pieceEdge:
			p.add(instruction{op: opEdge})
		case pieceLead:
			split := p.add(instruction{op: opSplit})
			(*p)[split].x = len(*p)
			p.repeat(opAny)
			p.add(instruction{op: opByte, c: '.'})
			jump := p.add(instruction{op: opJump})
			(*p)[split].y = p.add(instruction{op: opStart})
			(*p)[jump].x = len(*p)
		case pieceGroup:
			p.group(pc.alts)
		}
	}
}

func (p *program) repeat(op uint8) {
	split := p.add(instruction{op: opSplit})
	p.add(instruction{op: op})
	p.add(instruction{op: opJump, x: split})
	(*p)[split].x, (*p)[split].y = split+1, len(*p)
}

func (p *program) group(alts [][]piece) {
	var jumps []int
	for i, alt := range alts {
		if i == len(alts)-1 {
			p.emit(alt)
			break
		}
		split := p.add(instruction{op: opSplit, x: len(*p) + 1})
		p.emit(alt)
		jumps = append(jumps, p.add(instruction{op: opJump}))
		(*p)[split].y = len(*p)
	}
	for _, j := range jumps {
		(*p)[j].x = len(*p)
	}
}

func (p program) match(tag string) bool {
	now, next := newStates(len(p)), newStates(len(p))
	p.enter(now, 0, tag, 0)
	for i := 0; i < len(tag) && len(now.list) > 0; i++ {
		for _, pc := range now.list {
			in := p[pc]
			if in.op == opByte && in.c == tag[i] || in.op == opName && tag[i] != '.' || in.op == opAny {
				p.enter(next, pc+1, tag, i+1)
			}
		}
		now, next = next, now
		next.clear()
	}
	return now.has[len(p)-1]
}

// enter adds the state at pc, and all that follow from it without a byte,
// when i bytes of the tag were taken.
func (p program) enter(s *states, pc int, tag string, i int) {
	s.stack = append(s.stack[:0], pc)
	for len(s.stack) > 0 {
		pc = s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
		if s.has[pc] {
			continue
		}
		s.has[pc] = true
		s.list = append(s.list, pc)
		switch in := p[pc]; in.op {
		case opSplit:
			s.stack = append(s.stack, in.x, in.y)
		case opJump:
			s.stack = append(s.stack, in.x)
		case opStart:
			if i == 0 {
				s.stack = append(s.stack, pc+1)
			}
		case opEdge:
			if i == len(tag) || tag[i] == '.' {
				s.stack = append(s.stack, pc+1)
			}
		}
	}
}

// states is a set of places in a program.
type states struct {
	has         []bool
	list, stack []int
}

func newStates(n int) *states { return &states{has: make([]bool, n)} }

func (s *states) clear() {
	clear(s.has)
	s.list = s.list[:0]
}
