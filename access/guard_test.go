package access

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// Hashes that other programs made, and their passwords.
const (
	bcryptOther = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"             // U*U, of crypt_blowfish
	argonOther  = "$argon2id$v=19$m=64,t=2,p=2$c29tZXNhbHQ$NQrDciL0Nsy1wJcvHr079rlYvyBxhBNi" // password
)

func basic(name, password string) []byte {
	return []byte("Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password)))
}

var here = netip.MustParseAddr("192.0.2.1")

func guard(t *testing.T, o Options) *Guard {
	t.Helper()
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestCheckTellsWhoItIs(t *testing.T) {
	t.Parallel()
	cheap, err := Hash([]byte("pässword"), true)
	if err != nil {
		t.Fatal(err)
	}
	g := guard(t, Options{Users: []User{
		{Name: "argon", Password: argonOther}, // the first one, of the least cost, also stands for nobody
		{Name: "bcrypt", Password: bcryptOther},
		{Name: "own", Password: cheap},
		{Name: "plain", Password: "a:b c"},
		{Name: "token", Token: "0123456789abcdef"},
	}})
	for _, c := range []struct {
		header string
		who    string // "" is nobody
	}{
		{string(basic("bcrypt", "U*U")), "bcrypt"},
		{string(basic("bcrypt", "U*U")), "bcrypt"}, // remembered
		{string(basic("bcrypt", "U*u")), ""},
		{string(basic("argon", "password")), "argon"},
		{string(basic("argon", "Password")), ""},
		{string(basic("own", "pässword")), "own"},
		{string(basic("plain", "a:b c")), "plain"},
		{"bAsIc   " + string(basic("plain", "a:b c")[6:]) + " ", "plain"},
		{string(basic("plain", "a:b")), ""},
		{string(basic("plain", "")), ""},
		{string(basic("token", "")), ""},
		{string(basic("token", "0123456789abcdef")), ""},
		{string(basic("", "0123456789abcdef")), ""},
		{string(basic("nobody", "U*U")), ""},
		{"Bearer 0123456789abcdef", "token"},
		{"bearer 0123456789abcdef", "token"},
		{"Bearer 0123456789abcdeF", ""},
		{"Bearer ", ""},
		{"Bearer " + strings.Repeat("x", 5000), ""},
		{"Basic " + strings.Repeat("eHh4", 1000), ""},
		{"Basic %%%", ""},
		{"Basic " + base64.StdEncoding.EncodeToString([]byte("plain")), ""},
		{"Digest username=plain", ""},
		{"Basic", ""},
		{" ", ""},
	} {
		who, err := g.Check([]byte(c.header), here)
		if c.who == "" {
			if !errors.Is(err, ErrRejected) && !errors.Is(err, ErrAttempts) || who != nil {
				t.Errorf("%.40q: %v, %v; want it rejected", c.header, who, err)
			}
		} else if err != nil || who.Name != c.who {
			t.Errorf("%.40q: %v, %v; want %s", c.header, who, err, c.who)
		}
	}
	if _, err := g.Check(nil, here); !errors.Is(err, ErrMissing) {
		t.Errorf("no credentials: %v", err)
	}
}

// A zero byte in a name or password moves nothing between the two.
func TestDigestsKeepNameAndPasswordApart(t *testing.T) {
	t.Parallel()
	g := guard(t, Options{})
	seen := map[digest]string{}
	for _, c := range [][2]string{{"", ""}, {"a", ""}, {"", "a"}, {"a", "b"}, {"ab", ""}, {"a\x00", "b"}, {"a", "\x00b"}, {"a\x00b", ""}} {
		d := g.digest(c[0], []byte(c[1]))
		if other, again := seen[d]; again {
			t.Errorf("%q has the digest of %s", c, other)
		}
		seen[d] = fmt.Sprintf("%q", c)
	}
}

func TestAnonymous(t *testing.T) {
	t.Parallel()
	g := guard(t, Options{Users: []User{{Name: "a", Password: "b"}}, Anonymous: Grant{Rights: Read, Policies: []string{"public"}}})
	who, err := g.Check(nil, here)
	if err != nil || who.Name != "" || !who.May(Read) || who.May(Ingest) || who.May(Admin) || !who.Covers("public") || who.Covers("private") {
		t.Errorf("%+v, %v", who, err)
	}
	if _, err := g.Check(basic("a", "wrong"), here); !errors.Is(err, ErrRejected) {
		t.Errorf("wrong credentials are %v, and not taken for none", err)
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		words             []string
		ingest, read, all bool
		text              string
	}{
		{nil, false, false, false, ""},
		{[]string{"ingest"}, true, false, false, "ingest"},
		{[]string{"read", "ingest"}, true, true, false, "ingest, read"},
		{[]string{"admin"}, true, true, true, "admin"},
	} {
		r, err := ParseRights(c.words)
		who := Caller{Grant: Grant{Rights: r}}
		if err != nil || who.May(Ingest) != c.ingest || who.May(Read) != c.read || who.May(Admin) != c.all || r.String() != c.text {
			t.Errorf("%v: %v, %v", c.words, r, err)
		}
	}
	if _, err := ParseRights([]string{"read", "write"}); err == nil || !strings.Contains(err.Error(), `"write"`) {
		t.Errorf("an unknown right: %v", err)
	}
}

func TestUsersThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		users []User
		says  string
	}{
		{[]User{{Password: "x"}}, "username is missing"},
		{[]User{{Name: strings.Repeat("x", 600), Password: "x"}}, "username has 600 bytes"},
		{[]User{{Name: "a"}}, "password is missing"},
		{[]User{{Name: "a", Password: strings.Repeat("x", 600)}}, "password has 600 bytes"},
		{[]User{{Name: "a", Password: "x"}, {Name: "a", Password: "y"}}, "twice"},
		{[]User{{Name: "a", Token: "0123456789abcdef"}, {Name: "b", Token: "0123456789abcdef"}}, "another user's"},
		{[]User{{Name: "a", Password: "$2b$"}}, "broken bcrypt"},
		{[]User{{Name: "a", Password: bcryptOther[:59]}}, "broken bcrypt"},
		{[]User{{Name: "a", Password: strings.Replace(bcryptOther, "$05$", "$15$", 1)}}, "cost 15"},
		{[]User{{Name: "a", Password: "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHApl8ArZWb2GRPPc"}}, "broken argon2id"},
		{[]User{{Name: "a", Password: strings.Replace(argonOther, "t=2", "t=0", 1)}}, "broken argon2id"},
		{[]User{{Name: "a", Password: strings.Replace(argonOther, "p=2", "p=2x", 1)}}, "broken argon2id"},
		{[]User{{Name: "a", Password: strings.Replace(argonOther, "t=2", "t=99", 1)}}, "costs too much"},
		{[]User{{Name: "a", Password: strings.Replace(argonOther, "v=19", "v=16", 1)}}, "broken argon2id"},
		{[]User{{Name: "a", Password: argonOther + "!"}}, "broken argon2id"},
	} {
		if _, err := New(Options{Users: c.users}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v; want %q", c.users, err, c.says)
		}
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	for _, argon := range []bool{false, true} {
		one, err := Hash([]byte("secret"), argon)
		if err != nil {
			t.Fatal(err)
		}
		if verify, err := parseHash(one); err != nil || !verify([]byte("secret")) {
			t.Errorf("%s does not verify: %v", one, err)
		}
		if !argon {
			continue // the rest would cost seconds
		}
		if two, err := Hash([]byte("secret"), argon); err != nil || one == two {
			t.Errorf("two hashes of one password are equal: %s, %v", one, err)
		}
	}
	long := []byte(strings.Repeat("x", 73))
	if _, err := Hash(long, false); err == nil || !strings.Contains(err.Error(), "argon2id") {
		t.Errorf("bcrypt of 73 bytes: %v", err)
	}
	for _, bad := range [][]byte{nil, []byte(strings.Repeat("x", 513))} {
		if _, err := Hash(bad, true); err == nil {
			t.Errorf("a password of %d bytes has a hash", len(bad))
		}
	}
}

// A request of somebody known costs no memory.
func TestCheckAllocatesNothing(t *testing.T) {
	g := guard(t, Options{Users: []User{{Name: "alice", Password: bcryptOther, Token: "0123456789abcdef"}}})
	for _, header := range [][]byte{basic("alice", "U*U"), []byte("Bearer 0123456789abcdef")} {
		check := func() {
			if who, err := g.Check(header, here); err != nil || who.Name != "alice" {
				t.Fatal(who, err)
			}
		}
		least := testing.AllocsPerRun(1, check)
		for range 200 { // other goroutines allocate meanwhile, but not each time
			least = min(least, testing.AllocsPerRun(1, check))
		}
		if least > 0 {
			t.Errorf("%.10s: %v allocations", header, least)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	g, err := New(Options{Users: []User{{Name: "alice", Password: bcryptOther}}})
	if err != nil {
		b.Fatal(err)
	}
	header := basic("alice", "U*U")
	if _, err := g.Check(header, here); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(header)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Check(header, here); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzHeader(f *testing.F) {
	for _, s := range []string{"Basic YTpi", "Bearer x", "Basic", "basic  YTo=", "Basic \xff", " "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		var room [2 * maxPassword]byte
		c := parse(header, room[:])
		if len(c.name) > maxPassword || len(c.password) > maxPassword || strings.Contains(string(c.name), ":") {
			t.Errorf("%q: %q, %q", header, c.name, c.password)
		}
		if c.scheme == schemeNone && (c.name != nil || c.password != nil) {
			t.Errorf("%q has no scheme and credentials", header)
		}
	})
}
