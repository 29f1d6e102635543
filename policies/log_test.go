package policies

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"weir/internal/vfs"
)

// TestRefusalNamesSender: the log says what was refused, of which tag, by
// which policy, and from where.
func TestRefusalNamesSender(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	r, err := New(Options{Streams: openStore(t, vfs.NewMem(1<<30)), Now: clock, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Policies: []Policy{{Name: "texts", Match: "texts.**", Keep: Text}}})
	if err != nil {
		t.Fatal(err)
	}
	bad := []Refused{{Reason: "bad-record", Detail: "an entry of three", Data: []byte{0x93, 1, 2, 3}}}
	k := keep(r, Batch{Tag: "texts.a", Peer: "192.0.2.7:4711", Refused: bad}, true)
	if k.Err != nil || k.Dead != 1 {
		t.Fatalf("kept %+v", k)
	}
	for _, want := range []string{"bad-record", "texts.a", "policy=texts", "192.0.2.7:4711", "an entry of three"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
}
