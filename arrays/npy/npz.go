package npy

import (
	"archive/zip"
	"fmt"
	"io"
	"time"
)

// A Member is an array of a .npz archive.
type Member struct {
	Name   string // without .npy
	Header Header
	Data   io.Reader
}

// A Zip writes a .npz archive, not compressed: numpy's own savez does the
// same, and the elements seldom get smaller as they are.
type Zip struct{ w *zip.Writer }

// NewZip begins an archive.
func NewZip(w io.Writer) *Zip { return &Zip{zip.NewWriter(w)} }

// Add writes an array to its end.
func (z *Zip) Add(m Member, modified time.Time) error {
	w, err := z.w.CreateHeader(&zip.FileHeader{Name: m.Name + ".npy", Method: zip.Store, Modified: modified.UTC()})
	if err == nil {
		_, err = w.Write(m.Header.Bytes())
	}
	if err == nil {
		_, err = io.Copy(w, m.Data)
	}
	if err != nil {
		return fmt.Errorf("npy: write %s to an archive: %w", m.Name, err)
	}
	return nil
}

// Close writes the archive's directory; without it nothing can be read.
func (z *Zip) Close() error { return z.w.Close() }
