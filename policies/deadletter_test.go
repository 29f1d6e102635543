package policies

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"weir/forward"
	"weir/internal/vfs"
)

var letter = Dead{
	Policy: "numbers", Tag: "lab.1", Peer: "192.0.2.1:5", Reason: "not-a-number", Detail: "x is no number",
	Stream: "lab.1", Generation: 2, Offset: 300, Length: 3, Data: []byte("x,\n"), ID: []byte("id"),
}

// The bytes of a letter stay what docs/format/dead-letter.md says.
func TestLetterGolden(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/dead-letter.hex")
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	if got := letter.appendTo(nil, clock()); !bytes.Equal(got, want) {
		t.Errorf("got\n%x\nwant\n%x", got, want)
	}
	e, rest, err := forward.Next(want)
	if ns, ok := forward.UnixNano(e.Time); err != nil || len(rest) != 0 || !ok || ns != clock().UnixNano() {
		t.Errorf("the letter is no entry of its time: %v, %d", err, ns)
	}
}

func TestDeadLetter(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem(64 << 20)
	s := openStore(t, fs)
	r := newRouter(t, s, everyKeep...)
	put := func(d Dead) {
		t.Helper()
		if err := r.DeadLetter(context.Background(), d); err != nil {
			t.Fatal(err)
		}
	}
	put(letter)
	put(letter)
	other := letter
	other.ID = []byte("other")
	put(other)
	nameless := letter
	nameless.ID = nil
	put(nameless)
	put(nameless)
	gone := letter
	gone.Policy = "gone"
	put(gone)
	st := r.Stats()
	if p := st.Policies["numbers"]; p.Dead != 4 || st.Refused["not-a-number"].Records != 5 || st.Refused["not-a-number"].Bytes != 15 {
		t.Errorf("counted %+v, %+v", p, st.Refused)
	}
	s.Close()
	s = openStore(t, fs)
	r = newRouter(t, s, everyKeep...)
	put(letter)
	letters := readLetters(t, streamBytes(t, s, "_dead.numbers"))
	if len(letters) != 4 {
		t.Fatalf("%d letters", len(letters))
	}
	if l := letters[0]; l["policy"] != "numbers" || l["offset"] != int64(300) || string(l["data"].([]byte)) != "x,\n" {
		t.Errorf("got %v", l)
	}
	if n := len(readLetters(t, streamBytes(t, s, "_dead"))); n != 1 {
		t.Errorf("%d letters of a policy that is gone", n)
	}
}
