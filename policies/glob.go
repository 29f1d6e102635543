package policies

// The pieces of a glob.
const (
	pieceByte  = iota // this byte
	pieceName         // *: a run without a dot
	pieceAny          // **: any run
	pieceLead         // **. : leading parts and their dot, or the beginning of the tag
	pieceEdge         // the dot before **: what follows begins with a dot, or nothing follows
	pieceGroup        // {x,y}: one of the alternatives
)

type piece struct {
	op   uint8
	c    byte
	alts [][]piece
}

// A globParser reads a glob from the left; it takes every text.
type globParser struct {
	s string
	i int
}

func parseGlob(s string) []piece {
	p := globParser{s: s}
	return p.sequence(0)
}

// sequence reads pieces up to the comma or brace that ends an alternative of
// the group at the given depth; at depth 0 these are plain bytes.
func (p *globParser) sequence(depth int) (out []piece) {
	for p.i < len(p.s) {
		c := p.s[p.i]
		switch {
		case c == '.' && p.at(p.i+1, "**"):
			out = append(out, piece{op: pieceEdge})
			p.i++
			out = append(out, p.stars())
		case p.at(p.i, "**"):
			out = append(out, p.stars())
		case c == '*':
			out = append(out, piece{op: pieceName})
			p.i++
		case c == '{':
			out = append(out, p.group(depth+1))
		case (c == ',' || c == '}') && depth > 0:
			return out
		case c == '\\':
			p.i++
			if p.i < len(p.s) {
				out = append(out, piece{op: pieceByte, c: p.s[p.i]})
				p.i++
			}
		default:
			out = append(out, piece{op: pieceByte, c: c})
			p.i++
		}
	}
	return out
}

// stars reads "**", or "**." where a dot follows.
func (p *globParser) stars() piece {
	p.i += 2
	if p.at(p.i, ".") {
		p.i++
		return piece{op: pieceLead}
	}
	return piece{op: pieceAny}
}

// group reads "{x,y}"; the end of the text closes it as well.
func (p *globParser) group(depth int) piece {
	g := piece{op: pieceGroup}
	for p.i < len(p.s) {
		p.i++ // the brace that opens, or a comma
		g.alts = append(g.alts, p.sequence(depth))
		if p.i < len(p.s) && p.s[p.i] == '}' {
			p.i++
			break
		}
	}
	return g
}

func (p *globParser) at(i int, s string) bool {
	return i+len(s) <= len(p.s) && p.s[i:i+len(s)] == s
}
