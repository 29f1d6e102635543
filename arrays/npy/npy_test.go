package npy

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func plain(kind string, shape ...int64) Header { return Header{[]Field{{"", kind}}, shape} }

func TestGolden(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		h    Header
		want string // without padding
	}{
		{plain("<f8", 0), "{'descr': '<f8', 'fortran_order': False, 'shape': (0,), }"},
		{plain("<i2", 100, 2), "{'descr': '<i2', 'fortran_order': False, 'shape': (100, 2,), }"},
		{Header{[]Field{{"time", "<M8[ns]"}, {"it's", "<f8"}}, []int64{3}},
			`{'descr': [('time', '<M8[ns]'), ('it\'s', '<f8')], 'fortran_order': False, 'shape': (3,), }`},
		{Header{[]Field{{"a\\\n", "|u1"}}, []int64{1}}, `{'descr': [('a\\\x0a', '|u1')], 'fortran_order': False, 'shape': (1,), }`},
	} {
		b := tc.h.Bytes()
		if len(b)%64 != 0 || string(b[:8]) != "\x93NUMPY\x01\x00" || int(binary.LittleEndian.Uint16(b[8:])) != len(b)-10 {
			t.Errorf("%v: the head is %q", tc.h, b)
		}
		if b[len(b)-1] != '\n' || strings.TrimRight(string(b[10:len(b)-1]), " ") != tc.want {
			t.Errorf("%v: %q, want %q", tc.h, b[10:], tc.want)
		}
	}
	first := hex.EncodeToString(plain("<f8", 0).Bytes())
	want := "934e554d50590100" + "7600" + hex.EncodeToString([]byte("{'descr': '<f8', 'fortran_order': False, 'shape': (0,), }"+strings.Repeat(" ", 60)+"\n"))
	if first != want {
		t.Errorf("the head of no float64 is\n%s, not\n%s", first, want)
	}
}

// Versions: a head that is longer than 64 KiB, and one with other letters.
func TestVersions(t *testing.T) {
	t.Parallel()
	long := Header{Shape: []int64{1}}
	for range 3000 {
		long.Fields = append(long.Fields, Field{"some_long_name_of_a_field", "<f8"})
	}
	for _, tc := range []struct {
		h       Header
		version byte
	}{{long, 2}, {Header{[]Field{{"größe", "<f8"}}, []int64{1}}, 3}} {
		b := tc.h.Bytes()
		if b[6] != tc.version || int(binary.LittleEndian.Uint32(b[8:])) != len(b)-12 || len(b)%64 != 0 {
			t.Errorf("version %d, %d bytes, length %x", b[6], len(b), b[8:12])
		}
	}
}

// Any head is whole: its length is a multiple of 64, is the one that it tells,
// and the text ends in a line feed.
func TestAnyHeader(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		h := Header{Shape: rapid.SliceOfN(rapid.Int64Min(0), 0, 3).Draw(rt, "shape")}
		for _, name := range rapid.SliceOf(rapid.String()).Draw(rt, "names") {
			h.Fields = append(h.Fields, Field{name, "<f8"})
		}
		b := h.Bytes()
		head, length := 10, int(binary.LittleEndian.Uint16(b[8:]))
		if b[6] > 1 {
			head, length = 12, int(binary.LittleEndian.Uint32(b[8:]))
		}
		if len(b)%64 != 0 || head+length != len(b) || b[len(b)-1] != '\n' || bytes.ContainsAny(b[head:len(b)-1], "\n\r\x00") {
			rt.Fatalf("%q", b)
		}
	})
}

// The blob that Wendelin's own test has: no float64, with a head of numpy's
// older alignment.
func TestBlob(t *testing.T) {
	t.Parallel()
	old := "\x93NUMPY\x01\x00F\x00{'descr': '<f8', 'fortran_order': False, 'shape': (0,), }            \n"
	blob := append(Blob(crc32.ChecksumIEEE([]byte(old))), old...)
	if len(blob) != 90 || hex.EncodeToString(blob[:BlobHead]) != "9257454e0001abde90a9" {
		t.Errorf("the blob has %d bytes and begins %x", len(blob), blob[:BlobHead])
	}
	if text := base64.StdEncoding.EncodeToString(blob[:12]); text != "kldFTgABq96QqZNO" {
		t.Errorf("as text it begins %s", text)
	}
	// A sum below 2^31, one above.
	for _, crc := range []uint32{1, 0xfffffffe} {
		if b := Blob(crc); binary.LittleEndian.Uint32(b[6:]) != crc || len(b) != BlobHead {
			t.Errorf("the sum %x is written as %x", crc, b[6:])
		}
	}
}

func TestZip(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	z := NewZip(&file)
	data := strings.Repeat("12345678", 1000)
	for _, name := range []string{"time", "value"} {
		if err := z.Add(Member{name, plain("<f8", 1000), strings.NewReader(data)}, time.Unix(1_700_000_000, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil || len(r.File) != 2 || r.File[1].Name != "value.npy" {
		t.Fatal(r, err)
	}
	f, err := r.File[1].Open()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(f)
	if err != nil || string(got) != string(plain("<f8", 1000).Bytes())+data {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	broken := io.MultiReader(strings.NewReader("x"), failing{})
	if err := NewZip(io.Discard).Add(Member{"x", plain("<f8", 1), broken}, time.Time{}); err == nil {
		t.Error("an array that cannot be read is written")
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
