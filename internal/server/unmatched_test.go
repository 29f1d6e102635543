package server

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"testing"

	"weir/forward"
	"weir/policies"
	"weir/streams"
)

// TestUnmatchedTagIsLogged: the line names the peer's address, the host that it
// claimed, and what was wrong; and a peer that repeats it cannot fill the log.
func TestUnmatchedTagIsLogged(t *testing.T) {
	t.Parallel()
	store, err := streams.Open(t.TempDir(), streams.Options{SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var log bytes.Buffer
	r, err := policies.New(policies.Options{Policies: config(t, "").Router(), Streams: store, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	k := newKeeper(r)
	peer := &forward.Peer{Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 5}, Hostname: "sender.example"}
	for range 100 {
		msgs := []forward.Message{{Tag: []byte("other"), Entries: []byte(entry), Records: 1}}
		if n, err := k.Keep(t.Context(), peer, msgs); n != 1 || err != nil {
			t.Fatalf("kept %d, %v", n, err)
		}
	}
	first, rest, _ := strings.Cut(log.String(), "\n")
	for _, want := range []string{"reason=unmatched-tag", "tag=other", "peer=192.0.2.7:5", "hostname=sender.example"} {
		if !strings.Contains(first, want) {
			t.Errorf("%q is not in %q", want, first)
		}
	}
	if n := strings.Count(rest, "\n"); n > 20 {
		t.Errorf("%d lines of 100 messages", n+1)
	}
}
