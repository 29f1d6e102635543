package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Records reads the records of a generation, a line of JSON each, and gives
// them to apply with their number, from 0, and their length in bytes. An
// unknown field, a line that is no JSON and an error of apply end it.
func Records[T any](r io.Reader, apply func(rec *T, n, length int) error) error {
	lines := bufio.NewReaderSize(r, 1<<18)
	for n := 0; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		var rec T
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&rec); err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		if err := apply(&rec, n, len(line)); err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
	}
}

// CheckFormat refuses the record n when the version that it names is newer than
// the one known, and a first record that names none.
func CheckFormat(n, named, known int) error {
	if named > known || n == 0 && named == 0 {
		return fmt.Errorf("format %d, this weir reads %d", named, known)
	}
	return nil
}
