package lake

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
)

// A sums is MD5, which Wendelin and its clients use, and SHA-256 of bytes.
type sums struct{ md5, sha256 hash.Hash }

// A rawSums is a sums to go on from.
type rawSums struct {
	MD5    []byte `json:"md5"`
	SHA256 []byte `json:"sha256"`
}

func newSums() sums { return sums{md5.New(), sha256.New()} }

func (s sums) Write(p []byte) (int, error) {
	s.md5.Write(p)
	s.sha256.Write(p)
	return len(p), nil
}

func hexOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

func (s sums) raw() (r rawSums, err error) {
	if r.MD5, err = s.md5.(encoding.BinaryMarshaler).MarshalBinary(); err != nil {
		return r, fmt.Errorf("lake: state of MD5: %w", err)
	}
	if r.SHA256, err = s.sha256.(encoding.BinaryMarshaler).MarshalBinary(); err != nil {
		return r, fmt.Errorf("lake: state of SHA-256: %w", err)
	}
	return r, nil
}

func (r rawSums) sums() (sums, error) {
	s := newSums()
	if err := s.md5.(encoding.BinaryUnmarshaler).UnmarshalBinary(r.MD5); err != nil {
		return s, fmt.Errorf("lake: state of MD5: %w", err)
	}
	if err := s.sha256.(encoding.BinaryUnmarshaler).UnmarshalBinary(r.SHA256); err != nil {
		return s, fmt.Errorf("lake: state of SHA-256: %w", err)
	}
	return s, nil
}

// A claim is what a sender said of a file. What is no number, or no hash of a
// kind that is known, says nothing.
type claim struct {
	Size string `json:"size,omitempty"`
	Hash string `json:"hash,omitempty"`
}

// claimOf takes from a reference what can be checked.
func claimOf(r Reference) claim {
	c := claim{r.Size, strings.ToLower(r.Hash)}
	if n, err := strconv.ParseInt(c.Size, 10, 64); err != nil || n < 0 {
		c.Size = ""
	} else {
		c.Size = strconv.FormatInt(n, 10)
	}
	if _, err := hex.DecodeString(c.Hash); err != nil || len(c.Hash) != 2*md5.Size && len(c.Hash) != 2*sha256.Size {
		c.Hash = ""
	}
	return c
}

// empty tells that there is nothing to check.
func (c claim) empty() bool { return c == claim{} }

// holds tells whether the claim is true of bytes with that size and sums.
func (c claim) holds(size int64, s sums) bool {
	if c.Size != "" && c.Size != strconv.FormatInt(size, 10) {
		return false
	}
	switch len(c.Hash) {
	case 2 * md5.Size:
		return c.Hash == hexOf(s.md5)
	case 2 * sha256.Size:
		return c.Hash == hexOf(s.sha256)
	}
	return true
}

// against says how a claim is not true.
func (c claim) against(ref string, size int64, s sums) error {
	return fmt.Errorf("%w: of %q the sender said %s bytes with the hash %s; %d bytes came, MD5 %s, SHA-256 %s; nothing of the last part was kept",
		ErrMismatch, ref, orDash(c.Size), orDash(c.Hash), size, hexOf(s.md5), hexOf(s.sha256))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// A summed reads a part and sums it; at its end, and before anybody keeps it,
// it is asked whether it is right.
type summed struct {
	r     io.Reader
	size  int64
	part  sums
	whole sums // of the file so far, the part included; the same as part for the first one
	first bool
	check func() error
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.size += int64(n)
	s.part.Write(p[:n])
	if !s.first {
		s.whole.Write(p[:n])
	}
	if err == io.EOF {
		if wrong := s.check(); wrong != nil {
			return n, wrong
		}
	}
	return n, err
}
