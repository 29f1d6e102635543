package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Errors of Check.
var (
	// ErrMissing: the request names nobody, and not everybody may do something.
	ErrMissing = errors.New("access: no credentials")
	// ErrRejected: nobody has these credentials.
	ErrRejected = errors.New("access: no user has this name and password, or this token")
	// ErrAttempts: the sender has guessed too often; a Wait says how long.
	ErrAttempts = errors.New("access: too many wrong passwords from this address")
	// ErrBusy: too many passwords are being checked; a Wait says when to come again.
	ErrBusy = errors.New("access: too many passwords are being checked")
)

// A Wait is an error with the time after which another attempt is heard.
type Wait struct {
	Err   error
	After time.Duration
}

// Error is that of Err.
func (w *Wait) Error() string { return w.Err.Error() }

// Unwrap gives Err.
func (w *Wait) Unwrap() error { return w.Err }

// A User has a name and a password, or a token, or both.
type User struct {
	Name string
	// Password is a hash of bcrypt or argon2id, or the password itself.
	Password string
	// Token is sent as Authorization: Bearer; at least minToken bytes.
	Token string
	Grant
}

// minToken is the least length of a token: a short one could be guessed.
const minToken = 16

// Validate says what is wrong, by field (username, password, token, policies).
func (u User) Validate() map[string]error {
	bad := map[string]error{}
	switch {
	case u.Name == "":
		bad["username"] = errors.New("is missing: name the user")
	case len(u.Name) > maxPassword:
		bad["username"] = fmt.Errorf("has %d bytes: use at most %d", len(u.Name), maxPassword)
	case slices.Contains([]byte(u.Name), ':'):
		bad["username"] = fmt.Errorf("%q has a colon, which HTTP's Basic cannot send: use another name", u.Name)
	}
	if u.Password == "" && u.Token == "" {
		bad["password"] = errors.New("is missing: write a hash of weir hash-password, file:PATH or env:NAME, or give the user a token")
	}
	if isHash(u.Password) {
		if _, err := parseHash(u.Password); err != nil {
			bad["password"] = err
		}
	} else if len(u.Password) > maxPassword {
		bad["password"] = fmt.Errorf("has %d bytes: use at most %d", len(u.Password), maxPassword)
	}
	if u.Token != "" && len(u.Token) < minToken || len(u.Token) > maxPassword {
		bad["token"] = fmt.Errorf("has %d bytes: use %d to %d random ones", len(u.Token), minToken, maxPassword)
	}
	if u.Rights&Admin != 0 && len(u.Policies) > 0 {
		bad["policies"] = errors.New("do not bound the right admin: remove one of both")
	}
	return bad
}

// Options of a Guard.
type Options struct {
	Users []User
	// Anonymous is what a request without credentials may do.
	Anonymous Grant
}

// A Guard knows the users. It is safe for concurrent use.
type Guard struct {
	users     map[string]*user
	tokens    map[digest]*user
	anonymous *Caller // nil lets nobody do anything without credentials
	nobody    *user   // stands for users that there are not, at the same cost
	secret    digest  // of this process, so that digests tell nothing elsewhere
	rejected  *lru.Cache[digest, struct{}]
	attempts  *attempts

	mu      sync.Mutex
	pending map[digest]*pending
	queue   queue // of checks of a hash
}

// A digest is of credentials, with the guard's secret.
type digest [sha256.Size]byte

// A user is a User at work.
type user struct {
	Caller
	verify verifier               // nil for a password that is no hash, or none
	right  atomic.Pointer[digest] // of the password, once it is known
	cost   time.Duration          // the shortest time of a check; whose turn it is has it
}

// mostRejected is how many wrong credentials are remembered.
const mostRejected = 4096

// New makes a guard of users that are valid and have different names and tokens.
func New(o Options) (*Guard, error) {
	g := &Guard{users: map[string]*user{}, tokens: map[digest]*user{}, pending: map[digest]*pending{},
		nobody: new(user), attempts: newAttempts()}
	if _, err := rand.Read(g.secret[:]); err != nil {
		return nil, err
	}
	if o.Anonymous.Rights != 0 {
		g.anonymous = &Caller{Grant: o.Anonymous}
	}
	for _, u := range o.Users {
		if err := g.add(u); err != nil {
			return nil, fmt.Errorf("access: user %q: %w", u.Name, err)
		}
	}
	var err error
	g.rejected, err = lru.New[digest, struct{}](mostRejected)
	return g, err
}

func (g *Guard) add(u User) error {
	bad := u.Validate()
	for _, field := range slices.Sorted(maps.Keys(bad)) {
		return fmt.Errorf("%s %w", field, bad[field])
	}
	if g.users[u.Name] != nil {
		return errors.New("is there twice")
	}
	known := &user{Caller: Caller{Name: u.Name, Grant: u.Grant}}
	g.users[u.Name] = known
	switch {
	case isHash(u.Password):
		known.verify, _ = parseHash(u.Password) // valid
		if g.nobody.verify == nil {
			g.nobody.verify = known.verify
		}
	case u.Password != "":
		d := g.digest(u.Name, []byte(u.Password))
		known.right.Store(&d)
	}
	if u.Token == "" {
		return nil
	}
	d := g.digest("", []byte(u.Token))
	if g.tokens[d] != nil {
		return errors.New("token is another user's, too")
	}
	g.tokens[d] = known
	return nil
}

// maxPassword bounds a name with its password, or a token, in bytes.
const maxPassword = 512

// digest is of a name and a password. Both fit, by the bounds of header and User.
func (g *Guard) digest(name string, password []byte) digest {
	var text [len(g.secret) + 2 + 2*maxPassword]byte
	n := copy(text[:], g.secret[:])
	binary.BigEndian.PutUint16(text[n:], uint16(len(name))) // where it ends
	n += 2
	n += copy(text[n:], name)
	n += copy(text[n:], password)
	return sha256.Sum256(text[:n])
}

// Check tells who sends a request by its Authorization header, or ErrMissing,
// ErrRejected, ErrAttempts or ErrBusy. A password that was right before costs
// one SHA-256 and no allocation.
func (g *Guard) Check(authorization []byte, from netip.Addr) (*Caller, error) {
	if len(authorization) == 0 {
		if g.anonymous == nil {
			return nil, ErrMissing
		}
		return g.anonymous, nil
	}
	var room [2 * maxPassword]byte
	c := parse(authorization, room[:])
	switch c.scheme {
	case schemeBearer:
		d := g.digest("", c.password)
		if u := g.tokens[d]; u != nil {
			return &u.Caller, nil
		}
		if wait := g.attempts.wait(from, nil, time.Now()); wait > 0 {
			return nil, &Wait{ErrAttempts, wait}
		}
		return nil, g.reject(nil, d, from)
	case schemeBasic:
		return g.basic(c, from)
	}
	return nil, ErrRejected
}

func (g *Guard) basic(c credentials, from netip.Addr) (*Caller, error) {
	u := g.users[string(c.name)]
	d := g.digest(string(c.name), c.password)
	if u != nil {
		if right := u.right.Load(); right != nil && subtle.ConstantTimeCompare(right[:], d[:]) == 1 {
			return &u.Caller, nil
		}
	}
	if g.rejected.Contains(d) {
		return nil, ErrRejected
	}
	if wait := g.attempts.wait(from, u, time.Now()); wait > 0 {
		return nil, &Wait{ErrAttempts, wait}
	}
	known, err := g.examine(u, d, c.password, from)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, g.reject(u, d, from)
	}
	return &u.Caller, nil
}

// reject takes note of wrong credentials.
func (g *Guard) reject(u *user, d digest, from netip.Addr) error {
	if known, _ := g.rejected.ContainsOrAdd(d, struct{}{}); !known {
		g.attempts.failed(from, u, time.Now())
	}
	return ErrRejected
}
