package sender

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

// TestCaptured: what real senders answered to the greetings of real servers is
// what this one answers, byte for byte, and the servers' PONGs are believed.
// The bytes are of fluentd 1.19.3 and Fluent Bit 5.1.1 with the key "s3cret-key".
func TestCaptured(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/handshakes.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct{ Name, Server, Hello, Ping, Pong, User, Password string }
	if err := json.Unmarshal(b, &list); err != nil || len(list) < 5 {
		t.Fatalf("%d handshakes, %v", len(list), err)
	}
	for _, c := range list {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			var said [3][]byte
			for i, text := range []string{c.Hello, c.Ping, c.Pong} {
				var err error
				if said[i], err = hex.DecodeString(text); err != nil {
					t.Fatal(err)
				}
			}
			o := &Options{SharedKey: "s3cret-key", Hostname: "sender", User: c.User, Password: c.Password}
			h, err := parseHello(said[0])
			if err != nil {
				t.Fatal(err)
			}
			salt := saltOf(t, said[1])
			rest, err := msgp.Skip(said[2])
			if err != nil {
				t.Fatal(err)
			}
			err = h.verify(said[2][:len(said[2])-len(rest)], o, salt)
			switch {
			case strings.Contains(c.Name, "wrong-key"):
				if !errors.Is(err, ErrSharedKey) {
					t.Errorf("PONG: %v", err)
				}
			case strings.Contains(c.Name, "wrong-password"):
				if !errors.Is(err, ErrUser) {
					t.Errorf("PONG: %v", err)
				}
			case err != nil:
				t.Errorf("PONG: %v", err)
			default:
				if got := h.ping(o, salt); !bytes.Equal(got, said[1]) {
					t.Errorf("PING\n%q, want\n%q", got, said[1])
				}
			}
		})
	}
}

// saltOf gives the third value of a PING.
func saltOf(t *testing.T, ping []byte) []byte {
	t.Helper()
	_, b, err := msgp.ReadArrayHeaderBytes(ping)
	var salt []byte
	for i := 0; i < 3 && err == nil; i++ {
		salt, b, err = text(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return salt
}
