package inflate

// An entry of a table of codes says what the bits at hand begin with:
//
//	bits 0–7    how many bits that takes, with those that follow the code
//	bits 8–11   how many of them are the code; of two literals, the first's
//	bits 12–15  flags
//	bits 16–31  literals (the second in the upper byte), the least length or
//	            distance, or where a further table begins
//
// An entry of a further table counts the bits after those of the first one.
type entry uint32

// The flags. An entry that is special and nothing else is no code at all.
const (
	further entry = 1 << 12 // codes longer than the table's index go on elsewhere
	special entry = 1 << 13
	pair    entry = 1 << 14 // two literals
	literal entry = 1 << 15

	blockEnd = special | 1<<16
)

// spent is how many bits the entry takes.
func (e entry) spent() uint { return uint(e & 0xff) }

// code is how many of these are the code.
func (e entry) code() uint { return uint(e>>8) & 15 }

// value is what the bits mean, given those that come.
func (e entry) value(bits uint64) int {
	return int(e>>16) + int(bits&(1<<(e.spent()&63)-1)>>e.code())
}

const (
	maxCode  = 15  // bits of a code (RFC 1951, 3.2.7)
	litBits  = 11  // of the index of the first table of literals and lengths
	distBits = 8   // of that of distances
	preBits  = 7   // of that of code lengths, which have no longer ones
	litCodes = 286 // of which a block may have codes
	disCodes = 30
)

// The tables, a power of two larger than any complete code makes them.
type (
	litTable  [1 << 12]entry
	distTable [1 << 9]entry
	preTable  [1 << preBits]entry
)

// What the symbols mean, before the lengths of their codes are known.
var (
	litSymbols  = makeLitSymbols()
	distSymbols = makeDistSymbols()
	preSymbols  = makePreSymbols()
)

// makeLitSymbols gives literals, the end of a block, and lengths (RFC 1951, 3.2.5).
func makeLitSymbols() (s [288]entry) {
	for i := range 256 {
		s[i] = literal | entry(i)<<16
	}
	s[256] = blockEnd
	base, extra := entry(3), entry(0)
	for i := 257; i < 285; i++ {
		if i >= 265 && (i-265)%4 == 0 {
			extra++
		}
		s[i] = base<<16 | extra
		base += 1 << extra
	}
	s[285], s[286], s[287] = 258<<16, special, special
	return s
}

// makeDistSymbols gives the distances.
func makeDistSymbols() (s [32]entry) {
	base, extra := entry(1), entry(0)
	for i := range 30 {
		if i >= 4 && i%2 == 0 {
			extra++
		}
		s[i] = base<<16 | extra
		base += 1 << extra
	}
	s[30], s[31] = special, special
	return s
}

// makePreSymbols gives the symbols of code lengths, which mean themselves.
func makePreSymbols() (s [19]entry) {
	for i := range s {
		s[i] = entry(i) << 16
	}
	return s
}

// build makes a table with an index of some bits from the lengths of the
// symbols' codes, 0 for none. It is false unless the codes are complete, or
// there is at most one, of one bit, as compress/flate has it.
func build(table []entry, index uint, lengths []uint8, symbols []entry) bool {
	var count, place [maxCode + 2]int
	for _, l := range lengths {
		count[l]++
	}
	used, left := 0, 1
	for l := 1; l <= maxCode; l++ {
		if left = left<<1 - count[l]; left < 0 {
			return false
		}
		used += count[l]
		place[l+1] = used
	}
	if left > 0 && used > 0 && (used > 1 || count[1] == 0) {
		return false
	}
	var sorted [288]uint16 // symbols, by the lengths of their codes
	for i, l := range lengths {
		if l > 0 {
			sorted[place[l]] = uint16(i)
			place[l]++
		}
	}
	next, code := sorted[:used], uint32(0)
	table[0] = special
	for l, size := uint(1), 1; l <= index; l, size = l+1, 2*size {
		copy(table[size:2*size], table[:size])
		for range count[l] {
			table[code] = symbols[next[0]] + entry(l)*0x101
			next, code = next[1:], following(code, l)
		}
	}
	if len(next) > 0 {
		lengthen(table, index, code, count[:], next, symbols)
	}
	return true
}

// following gives the code after one of l bits, both with their first bit lowest.
func following(code uint32, l uint) uint32 {
	bit := uint32(1) << (l - 1)
	for ; code&bit != 0; bit >>= 1 {
		code ^= bit
	}
	return code | bit
}

// lengthen adds the further tables, for codes longer than the index.
func lengthen(table []entry, index uint, code uint32, count []int, next []uint16, symbols []entry) {
	end, start, prefix, wide := uint32(1)<<index, uint32(0), uint32(1)<<index, uint(0)
	for l := index + 1; len(next) > 0; l++ {
		for ; count[l] > 0; count[l]-- {
			if p := code & (1<<index - 1); p != prefix {
				prefix, start = p, end
				wide = l - index
				for room := count[l]; room < 1<<wide; {
					wide++
					room = room<<1 + count[index+wide]
				}
				end += 1 << wide
				table[prefix] = further | special | entry(start)<<16 | entry(wide)<<8 | entry(index)
			}
			e := symbols[next[0]] + entry(l-index)*0x101
			for i := code >> index; i < 1<<wide; i += 1 << (l - index) {
				table[start+i] = e
			}
			next, code = next[1:], following(code, l)
		}
	}
}

// marry makes one entry of two literals whose codes fit the index together.
func (t *litTable) marry() {
	for i := range entry(1 << litBits) {
		e := t[i]
		if e&literal == 0 {
			continue
		}
		first := e.code()
		second := t[i>>first&(1<<litBits-1)]
		if both := first + second.code(); second&literal != 0 && both <= litBits {
			t[i] = literal | pair | entry(both) | entry(first)<<8 | e&0xff0000 | second&0xff0000<<8
		}
	}
}
