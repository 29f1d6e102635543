package lake

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Words of references; they are ebulk's.
const (
	Separator     = "/"
	NoExtension   = "none"     // the extension of a file that has none
	EndSingle     = "END"      // the mark of a file in one part; so is no mark
	EndSplit      = "EOF"      // the mark of the last of several parts
	FirstSplit    = "001"      // the mark of the first of several parts
	InvalidSuffix = "_invalid" // of a reference that was replaced or removed
	Fields        = 7          // fields of a reference, at least
	InvalidChars  = "&;#%\"+"
)

// maxReference bounds a reference, in bytes.
const maxReference = 2048

// A Reference is what an upload is named by:
// supplier/set/name[/more]/extension/mark/size/hash.
type Reference struct {
	Supplier, Set, Name, Extension string
	Mark                           string // "", END, EOF, or the number of a part
	Size, Hash                     string // of the part or of the whole file; may be empty
}

// ParseReference reads a reference; its error is ErrReference.
func ParseReference(s string) (Reference, error) {
	fields := strings.Split(s, Separator)
	n := len(fields)
	if n < Fields {
		return Reference{}, fmt.Errorf("%w: %q has %d fields, not at least %d: write supplier/set/name/extension/mark/size/hash", ErrReference, s, n, Fields)
	}
	r := Reference{
		Supplier: fields[0], Set: fields[1], Name: strings.Join(fields[2:n-4], Separator),
		Extension: fields[n-4], Mark: fields[n-3], Size: fields[n-2], Hash: fields[n-1],
	}
	if err := checkChars(s); err != nil {
		return Reference{}, err
	}
	if _, _, err := r.place(); err != nil {
		return Reference{}, err
	}
	return r, checkFile(r.File())
}

func checkChars(s string) error {
	switch {
	case len(s) > maxReference:
		return fmt.Errorf("%w: it has %d bytes, more than %d", ErrReference, len(s), maxReference)
	case strings.ContainsAny(s, InvalidChars):
		return fmt.Errorf("%w: %q has one of the characters %s", ErrReference, s, InvalidChars)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("%w: %q is not plain UTF-8", ErrReference, s)
	}
	return nil
}

// checkFile checks the reference of a file, set/name/extension.
func checkFile(ref string) error {
	if err := checkChars(ref); err != nil {
		return err
	}
	f := strings.Split(ref, Separator)
	if len(f) < 3 || f[0] == "" || f[len(f)-1] == "" || strings.Trim(strings.Join(f[1:len(f)-1], ""), " ") == "" {
		return fmt.Errorf("%w: %q is not set/name/extension; a file without an extension has %q", ErrReference, ref, NoExtension)
	}
	if f[1] == "" || slices.Contains(f, ".") || slices.Contains(f, "..") {
		return fmt.Errorf("%w: %q would leave the folder that it is pulled into: use no . and .. and no name that begins with %q", ErrReference, ref, Separator)
	}
	if strings.HasSuffix(ref, InvalidSuffix) || strings.HasSuffix(f[0], InvalidSuffix) {
		return fmt.Errorf("%w: %q ends in %s, which is for files that were replaced", ErrReference, ref, InvalidSuffix)
	}
	return nil
}

// File is the reference of the file: set/name/extension.
func (r Reference) File() string {
	return r.Set + Separator + r.Name + Separator + r.Extension
}

// place tells which part of its file it is, counted from 1, 0 for the last
// one, and whether it is the last one.
func (r Reference) place() (number int, last bool, err error) {
	switch r.Mark {
	case "", EndSingle:
		return 1, true, nil
	case EndSplit:
		return 0, true, nil
	}
	n, err := strconv.ParseUint(r.Mark, 10, 31)
	if err != nil || n == 0 {
		return 0, false, fmt.Errorf("%w: the mark %q is neither a part's number nor %s or %s", ErrReference, r.Mark, EndSingle, EndSplit)
	}
	return int(n), false, nil
}

// setOf gives the set of a file's reference.
func setOf(ref string) string {
	set, _, _ := strings.Cut(ref, Separator)
	return set
}

// Title is a file's name as people write it: name.extension, without the set.
func Title(ref string) string {
	_, rest, _ := strings.Cut(ref, Separator)
	i := strings.LastIndex(rest, Separator)
	if i < 0 {
		return rest
	}
	if ext := rest[i+1:]; ext != NoExtension {
		return rest[:i] + "." + ext
	}
	return rest[:i]
}
