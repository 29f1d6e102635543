package inflate

import "encoding/binary"

// What fast needs beyond the place it is at: words of input, and room for the
// longest match, rounded up, after literals.
const (
	fastIn  = 16
	fastOut = 288
)

// fast decodes symbols from out[:op] on, while much input and room are left,
// and gives the new end. It stops before what it cannot take, at the end of
// the block (d.state says so then) and at errors.
func (d *Decoder) fast(out []byte, op int) (int, error) {
	src, at, bits, have := d.src, d.at, d.bits, d.have
	lit, dist := &d.lit, &d.dist
	limit, last := len(out)-fastOut, len(src)-fastIn
	var err error
	for at <= last && op <= limit {
		bits |= binary.LittleEndian.Uint64(src[at:]) << (have & 63)
		at += int(63-have) >> 3
		have |= 56
		e := lit[bits&(1<<litBits-1)]
		if e&literal != 0 {
			// Three entries of the first table take 33 of the 56 bits at most.
			binary.LittleEndian.PutUint16(out[op:], uint16(e>>16))
			op += 1 + int(e>>14)&1
			bits >>= e & 63
			have -= e.spent()
			if e = lit[bits&(1<<litBits-1)]; e&literal != 0 {
				binary.LittleEndian.PutUint16(out[op:], uint16(e>>16))
				op += 1 + int(e>>14)&1
				bits >>= e & 63
				have -= e.spent()
				if e = lit[bits&(1<<litBits-1)]; e&literal != 0 {
					binary.LittleEndian.PutUint16(out[op:], uint16(e>>16))
					op += 1 + int(e>>14)&1
					bits >>= e & 63
					have -= e.spent()
					continue
				}
			}
		}
		if e&special != 0 {
			if e&further != 0 {
				bits >>= litBits
				have -= litBits
				e = lit[(uint64(e>>16)+bits&(1<<e.code()-1))&uint64(len(lit)-1)]
			}
			if e&literal != 0 {
				out[op] = byte(e >> 16)
				op++
				bits >>= e & 63
				have -= e.spent()
				continue
			}
			if e&special != 0 {
				bits >>= e & 63
				have -= e.spent()
				err = d.end(e)
				break
			}
		}
		length := e.value(bits)
		bits >>= e & 63
		have -= e.spent()

		bits |= binary.LittleEndian.Uint64(src[at:]) << (have & 63)
		at += int(63-have) >> 3
		have |= 56
		e = dist[bits&(1<<distBits-1)]
		if e&special != 0 {
			if e&further != 0 {
				bits >>= distBits
				have -= distBits
				e = dist[(uint64(e>>16)+bits&(1<<e.code()-1))&uint64(len(dist)-1)]
			}
			if e&special != 0 {
				err = errCorrupt
				break
			}
		}
		distance := e.value(bits)
		bits >>= e & 63
		have -= e.spent()
		from := op - distance
		if from < d.member {
			err = errCorrupt
			break
		}
		if length <= 32 && distance >= 16 {
			*(*[16]byte)(out[op:]) = *(*[16]byte)(out[from:])
			if length > 16 {
				*(*[16]byte)(out[op+16:]) = *(*[16]byte)(out[from+16:])
			}
		} else {
			spread(out[from:], distance, length)
		}
		op += length
	}
	d.at, d.have = at, have
	d.bits = bits & (1<<(have&63) - 1)
	return op, err
}

// spread copies length bytes from the beginning of b to distance, each after
// those before it, so that they repeat where they overlap.
func spread(b []byte, distance, length int) {
	// What repeats at a distance does so at any multiple of it.
	end, at := distance+length, distance
	for ; at < end && (at < 16 || at%distance != 0); at++ {
		b[at] = b[at-distance]
	}
	for at < end {
		at += copy(b[at:end], b[:at])
	}
}
