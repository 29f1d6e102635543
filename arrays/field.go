package arrays

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of names and vocabularies. A vocabulary is part of the group's
// zarr.json, which is written with each commit.
const (
	maxFieldName   = 255
	maxArrayName   = 100
	maxVocabulary  = 1024
	maxCategory    = 256
	maxVocabularyB = 64 << 10 // sum of the lengths
)

// A field is a column of metrics.
//
// Its array's attributes hold all of it: "long_name" the field's name as it
// was sent, and for a category "vocabulary", in which code 1 is the first
// word. Code 0 is no value.
type field struct {
	name     string
	kind     string // columnFloat or columnCategory
	index    int    // in the order of columns, the time not counted
	declared bool
	c        *column
	codes    map[string]uint32
	words    []string
	bytes    int // in words
}

// newField adds the column of a field to a table.
func newField(name, kind string, index int, t *table) *field {
	f := &field{name: name, kind: kind, index: index}
	dtype := "float64"
	if kind == columnCategory {
		dtype = "uint32"
		f.codes = map[string]uint32{}
	}
	f.c = t.add(arrayName(name, t), dtype, []string{columnTime}, 1, map[string]any{"long_name": name})
	if kind == columnCategory {
		f.publishWords()
	}
	return f
}

// resumeField makes the field of a column that was loaded.
func resumeField(c *column, index int) (*field, error) {
	name, _ := c.attrs["long_name"].(string)
	f := &field{name: name, kind: columnFloat, index: index, c: c}
	if c.dtype.name != "uint32" {
		return f, nil
	}
	f.kind, f.codes = columnCategory, map[string]uint32{}
	words, _ := c.attrs["vocabulary"].([]any)
	for _, w := range words {
		word, ok := w.(string)
		if !ok {
			return nil, fmt.Errorf("arrays: vocabulary of %s: a word is no text", c.name)
		}
		f.learn(word)
	}
	f.publishWords()
	return f, nil
}

// arrayName gives a name for a field's array that is new in the table and safe
// as a key, a file name and a URL: bytes outside [A-Za-z0-9._-] become "_".
func arrayName(field string, t *table) string {
	b := []byte(field)
	for i, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-') {
			b[i] = '_'
		}
	}
	name := string(b[:min(len(b), maxArrayName)])
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "__") || name == "zarr.json" {
		name = "f_" + strings.TrimLeft(name, "._")
	}
	unique := name
	for n := 2; t.column(unique) != nil; n++ {
		unique = fmt.Sprintf("%s_%d", name, n)
	}
	return unique
}

// set puts a value in a row; false says that it does not fit.
func (f *field) set(v value, row int) bool {
	f.fill(row)
	at := row * f.c.rowBytes()
	if f.kind == columnFloat {
		if v.kind != valueNumber {
			return false
		}
		f.c.data = binary.LittleEndian.AppendUint64(f.c.data[:at], math.Float64bits(v.number))
		return true
	}
	code, ok := f.code(v)
	if !ok {
		return false
	}
	f.c.data = binary.LittleEndian.AppendUint32(f.c.data[:at], code)
	return true
}

// code gives the code of a value in a category, learnt when it is new. A
// number is a word only of a column that was declared, or one that came as text.
func (f *field) code(v value) (uint32, bool) {
	if v.kind == valueOther || v.kind == valueNumber && v.text == nil && !f.declared {
		return 0, false
	}
	text := v.text
	switch {
	case text == nil:
		text = []byte(v.String())
	case !utf8.Valid(text):
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	if code, ok := f.codes[string(text)]; ok {
		return code, true
	}
	if len(f.words) >= maxVocabulary || len(text) > maxCategory || f.bytes+len(text) > maxVocabularyB {
		return 0, false
	}
	code := f.learn(string(text))
	f.publishWords()
	return code, true
}

// reason says why a value did not fit.
func (f *field) reason(v value) string {
	if f.kind == columnCategory && v.kind != valueOther && (f.declared || v.text != nil) {
		return "vocabulary-full"
	}
	return "wrong-type"
}

func (f *field) learn(word string) uint32 {
	f.words = append(f.words, word)
	f.bytes += len(word)
	f.codes[word] = uint32(len(f.words))
	return f.codes[word]
}

// publishWords writes the vocabulary to the attributes; as CF flags as well
// while the words can be listed there, which have no blanks.
func (f *field) publishWords() {
	words := f.words[:len(f.words):len(f.words)]
	f.c.setAttr("vocabulary", words)
	delete(f.c.attrs, "flag_values")
	delete(f.c.attrs, "flag_meanings")
	if len(words) == 0 || slices.ContainsFunc(words, func(w string) bool { return !isFlag(w) }) {
		return
	}
	codes := make([]int, len(words))
	for i := range codes {
		codes[i] = i + 1
	}
	f.c.attrs["flag_values"] = codes
	f.c.attrs["flag_meanings"] = strings.Join(words, " ")
}

// isFlag tells whether CF allows a word in flag_meanings.
func isFlag(word string) bool {
	for _, c := range []byte(word) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_-.+@", c) >= 0) {
			return false
		}
	}
	return word != ""
}

// fill gives the field its missing value in rows that have none yet.
func (f *field) fill(rows int) {
	for len(f.c.data) < rows*f.c.rowBytes() {
		if f.kind == columnFloat {
			f.c.data = binary.LittleEndian.AppendUint64(f.c.data, missingBits)
		} else {
			f.c.data = binary.LittleEndian.AppendUint32(f.c.data, 0)
		}
	}
}
