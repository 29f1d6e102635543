package forward

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// greet reads HELO and gives what a client needs of it.
func greet(t *testing.T, k *talk) (nonce, auth []byte) {
	t.Helper()
	helo := k.heard(65)
	if !bytes.HasPrefix(helo, []byte("\x92\xa4HELO\x83\xa5nonce\xc4\x10")) || len(helo) != 65 {
		t.Fatalf("HELO %q", helo)
	}
	return helo[15:31], helo[38:54]
}

// pinged packs a PING with correct digests.
func pinged(nonce, auth []byte, key, user, password string) []byte {
	salt := []byte("salt\xff")
	d := hexDigest(salt, []byte("client.example"), nonce, []byte(key))
	p := hexDigest(auth, []byte(user), []byte(password))
	return pack(list{"PING", "client.example", salt, string(d), user, string(p)})
}

func TestHandshake(t *testing.T) {
	t.Parallel()
	local, other := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")
	users := []User{{"alice", "wonder"}, {"alice", "land"}, {"bob", "b"}}
	plain := Security{Hostname: "server", SharedKey: "key"}
	withUsers := Security{Hostname: "server", SharedKey: "key", UserAuth: true, Users: users}
	client := func(c ...Client) Security {
		s := withUsers
		s.Clients, s.DenyAnonymous = c, true
		return s
	}
	for _, c := range []struct {
		name                string
		s                   Security
		key, user, password string
		reason              string
		check               string
	}{
		{"key", plain, "key", "", "", "", ""},
		{"wrong key", plain, "kex", "", "", "shared_key mismatch", "shared-key"},
		{"no key", plain, "", "", "", "shared_key mismatch", "shared-key"},
		{"user", withUsers, "key", "alice", "wonder", "", ""},
		{"second password", withUsers, "key", "alice", "land", "", ""},
		{"wrong password", withUsers, "key", "alice", "b", "username/password mismatch", "user"},
		{"unknown user", withUsers, "key", "carol", "wonder", "username/password mismatch", "user"},
		{"no user", withUsers, "key", "", "", "username/password mismatch", "user"},
		{"network", client(Client{Network: local}), "key", "bob", "b", "", ""},
		{"network's key", client(Client{Network: local, SharedKey: "own"}), "own", "bob", "b", "", ""},
		{"common key in a network with its own", client(Client{Network: local, SharedKey: "own"}), "key", "bob", "b", "shared_key mismatch", "shared-key"},
		{"user of the network", client(Client{Network: local, Users: []string{"alice"}}), "key", "alice", "land", "", ""},
		{"user of another", client(Client{Network: local, Users: []string{"alice"}}), "key", "bob", "b", "username/password mismatch", "user"},
		{"first network counts", client(Client{Network: local, Users: []string{"alice"}}, Client{Network: local}), "key", "bob", "b", "username/password mismatch", "user"},
		{"no network", client(Client{Network: other}), "key", "bob", "b", "anonymous source host '127.0.0.1' denied", "address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			k := &keeper{}
			s, err := NewServer(Options{Handler: k, Security: &c.s, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			talk := connect(t, s)
			nonce, auth := greet(t, talk)
			// A message stands in the same packet as the PING.
			talk.send(append(pinged(nonce, auth, c.key, c.user, c.password), pack(list{"t", at, record(1), chunk})...), 0)
			answer := talk.finish()[65:]
			if c.reason != "" {
				if want := pong(c.reason, "", nil); !bytes.Equal(answer, want) || len(k.kept()) != 0 {
					t.Errorf("answer %q, want %q; kept %d", answer, want, len(k.kept()))
				}
				if n := s.Stats(); n.Handshakes[c.check] != 1 || n.Refused["handshake"].Bytes == 0 {
					t.Errorf("stats %+v", n)
				}
				for _, word := range []string{"127.0.0.1:5", "client.example", "check=" + c.check} {
					if !strings.Contains(log.String(), word) {
						t.Errorf("log %q has no %q", log.String(), word)
					}
				}
				return
			}
			digest := hexDigest([]byte("salt\xff"), []byte("server"), nonce, []byte(c.key))
			if want := append(pong("", "server", digest), ack("id")...); !bytes.Equal(answer, want) {
				t.Errorf("answer %q, want %q", answer, want)
			}
			if len(k.peers) != 1 || k.peers[0].Hostname != "client.example" || k.peers[0].User != c.user {
				t.Errorf("peers %+v", k.peers)
			}
			if log.Len() > 0 {
				t.Errorf("log %q", log.String())
			}
		})
	}
}

func TestHandshakeForms(t *testing.T) {
	t.Parallel()
	// form makes a PING of nonce; ok tells whether it is to be taken.
	for _, c := range []struct {
		name string
		ok   bool
		form func(salt, digest string) any
	}{
		{"text of other kinds", true, func(s, d string) any { return list{[]byte("PING"), []byte("h"), []byte(s), []byte(d), nil, nil} }},
		{"capital digits", true, func(s, d string) any { return list{"PING", "h", s, strings.ToUpper(d), "", ""} }},
		{"nil", false, func(s, d string) any { return nil }},
		{"five values", false, func(s, d string) any { return list{"PING", "h", s, d, ""} }},
		{"seven values", false, func(s, d string) any { return list{"PING", "h", s, d, "", "", ""} }},
		{"another word", false, func(s, d string) any { return list{"PONG", "h", s, d, "", ""} }},
		{"hostname nil", false, func(s, d string) any { return list{"PING", nil, s, d, "", ""} }},
		{"hostname integer", false, func(s, d string) any { return list{"PING", 1, s, d, "", ""} }},
		{"digest of another length", false, func(s, d string) any { return list{"PING", "h", s, d[:len(d)-1], "", ""} }},
		{"user map", false, func(s, d string) any { return list{"PING", "h", s, d, pairs{}, ""} }},
		{"message", false, func(s, d string) any { return list{"t", at, record(1)} }},
		{"too long", false, func(s, d string) any { return list{"PING", strings.Repeat("h", maxPing), s, d, "", ""} }},
		{"never used", false, func(s, d string) any { return raw("\xc1") }},
		{"huge", false, func(s, d string) any { return raw("\x96\xa4PING\xdb\xff\xff\xff\xff" + strings.Repeat("x", maxPing)) }},
		{"HTTP", false, func(s, d string) any { return raw("GET / HTTP/1.1\r\n\r\n") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := &keeper{}
			s, err := NewServer(Options{Handler: k, Security: &Security{Hostname: "server", SharedKey: "key"}})
			if err != nil {
				t.Fatal(err)
			}
			talk := connect(t, s)
			nonce, _ := greet(t, talk)
			digest := hexDigest([]byte("salt"), []byte("h"), nonce, []byte("key"))
			talk.send(append(pack(c.form("salt", string(digest))), one...), 7)
			answer := talk.finish()
			if c.ok != bytes.Contains(answer, []byte("\xa4PONG\xc3")) || c.ok == bytes.Contains(answer, []byte("\xa4PONG\xc2")) {
				t.Errorf("answer %q", answer)
			}
			if len(k.kept()) > 0 != c.ok {
				t.Errorf("kept %d", len(k.kept()))
			}
		})
	}
}

// TestSilence holds the deadlines: of the handshake, inside a message, of an
// idle connection; and that connections which only come and go leave no line.
func TestSilence(t *testing.T) {
	t.Parallel()
	const short = 30 * time.Millisecond
	sec := &Security{Hostname: "server", SharedKey: "key"}
	for _, c := range []struct {
		name   string
		o      Options
		send   string
		finish bool
		log    string
	}{
		{"handshake", Options{Security: sec, HandshakeTimeout: short}, "", false, "check=timeout"},
		{"half a PING", Options{Security: sec, HandshakeTimeout: short}, "\x96\xa4PI", false, "check=timeout"},
		{"half a message", Options{StallTimeout: short}, "\x93\xa1t", false, "stall_timeout"},
		{"a message in drops", Options{StallTimeout: 5 * short}, "\x93\xa1t drops", false, "stall_timeout"},
		{"idle", Options{IdleTimeout: short}, "", false, "idle_timeout"},
		{"idle after a message", Options{IdleTimeout: short}, string(one), false, "idle_timeout"},
		{"come and go", Options{}, "", true, ""},
		{"come and go, secured", Options{Security: sec}, "", true, ""},
		{"gone inside a message", Options{}, "\x93\xa1t", true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			c.o.Handler, c.o.Log, c.o.Linger = &keeper{}, slog.New(slog.NewTextHandler(&log, nil)), short
			s, err := NewServer(c.o)
			if err != nil {
				t.Fatal(err)
			}
			talk := connect(t, s)
			if head, drops, ok := strings.Cut(c.send, " drops"); ok {
				talk.send([]byte(head+drops), 0)
				go func() {
					for {
						if _, err := talk.pipe.Write([]byte("\x81")); err != nil {
							return
						}
						time.Sleep(short / 10)
					}
				}()
			} else {
				talk.send([]byte(c.send), 0)
			}
			if c.finish {
				talk.finish()
			}
			talk.heard(1 << 30)
			s.done.Wait()
			if !strings.Contains(log.String(), c.log) || c.log == "" && log.Len() > 0 {
				t.Errorf("log %q, want %q", log.String(), c.log)
			}
		})
	}
}

// TestSteadyHalves has a part of a message wait at every moment for longer
// than StallTimeout, but of another message each time.
func TestSteadyHalves(t *testing.T) {
	t.Parallel()
	s, err := NewServer(Options{Handler: &keeper{}, StallTimeout: 6 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	in := pack(list{"t", at, record(1), chunk})
	talk := connect(t, s)
	talk.send(in[:5], 0)
	want := ""
	for range 15 {
		time.Sleep(450 * time.Millisecond)
		talk.send(append(bytes.Clone(in[5:]), in[:5]...), 0)
		want += ack("id")
	}
	if got := talk.finish(); string(got) != want {
		t.Errorf("%d bytes of acks, want %d", len(got), len(want))
	}
}
