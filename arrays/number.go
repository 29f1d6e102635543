package arrays

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// pow10 are the powers of ten that a float64 holds exactly.
var pow10 = [...]float64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// parseNumber reads a decimal number, an infinity or nan, as strconv.ParseFloat
// does, bit for bit; hexadecimal numbers and underscores are none. A number
// beyond the range of float64 is an infinity.
//
// Most numbers of measurements have at most 15 digits and a small exponent:
// digits and power of ten are then both exact, and one correctly rounded
// division or multiplication gives the nearest value (Clinger 1990).
func parseNumber(b []byte) (float64, bool) {
	i, neg := 0, false
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		neg = b[0] == '-'
		i = 1
	}
	var mant uint64
	first := i
	for i < len(b) && b[i]-'0' < 10 {
		mant = mant*10 + uint64(b[i]-'0')
		i++
	}
	digits, exp := i-first, 0
	if i < len(b) && b[i] == '.' {
		point := i + 1
		for i = point; i < len(b) && b[i]-'0' < 10; i++ {
			mant = mant*10 + uint64(b[i]-'0')
		}
		exp = point - i
		digits += i - point
	}
	if i != len(b) || digits == 0 || digits > 15 {
		return parseSlow(b)
	}
	f := float64(mant)
	if exp < 0 {
		f /= pow10[-exp]
	}
	if neg {
		f = -f
	}
	return f, true
}

// parseSlow is for exponents, long numbers, words, and what is no number.
func parseSlow(b []byte) (float64, bool) {
	if !isDecimal(b) && !isWord(b) {
		return 0, false // strconv would take memory to say so
	}
	f, err := strconv.ParseFloat(string(b), 64)
	return f, err == nil || errors.Is(err, strconv.ErrRange)
}

// isDecimal tells whether b has only bytes of decimal numbers.
func isDecimal(b []byte) bool {
	for _, c := range b {
		switch {
		case c-'0' < 10, c == '.', c == 'e', c == 'E', c == '+', c == '-':
		default:
			return false
		}
	}
	return len(b) > 0
}

// isWord tells whether b is an infinity or nan.
func isWord(b []byte) bool {
	word := bytes.TrimLeft(b, "+-")
	for _, w := range []string{"nan", "inf", "infinity"} {
		if len(word) == len(w) && strings.EqualFold(string(word), w) {
			return true
		}
	}
	return false
}
