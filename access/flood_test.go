package access

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// hashed is a guard whose only user's password takes a while to check; spent
// is the time that checks took.
func hashed(t *testing.T, cost time.Duration) (g *Guard, spent, running *atomic.Int64) {
	t.Helper()
	g = guard(t, Options{Users: []User{{Name: "alice", Password: bcryptOther}}})
	spent, running = new(atomic.Int64), new(atomic.Int64)
	verify := func(password []byte) bool {
		if running.Add(1) > 1 {
			t.Error("two passwords are checked at once")
		}
		time.Sleep(cost)
		running.Add(-1)
		spent.Add(int64(cost))
		return string(password) == "right"
	}
	g.users["alice"].verify, g.nobody.verify = verify, verify
	return g, spent, running
}

func addr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// A flood of wrong passwords from everywhere takes a fourth of a core at most,
// and somebody who was let in before does not feel it.
func TestAFloodOfWrongPasswordsIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, spent, _ := hashed(t, 100*time.Millisecond)
		if _, err := g.Check(basic("alice", "right"), here); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var refused, rejected atomic.Int64
		for i := range 1000 {
			go func() {
				for j := range 5 {
					_, err := g.Check(basic("alice", fmt.Sprint(i, j)), addr(i))
					switch {
					case errors.Is(err, ErrBusy):
						refused.Add(1)
						time.Sleep(time.Second)
					case errors.Is(err, ErrRejected):
						rejected.Add(1)
					default:
						t.Errorf("a wrong password gets %v", err)
					}
				}
			}()
		}
		for range 10 {
			time.Sleep(time.Second)
			before := time.Now()
			if _, err := g.Check(basic("alice", "right"), here); err != nil || time.Since(before) > 0 {
				t.Errorf("in the flood alice waits %v and gets %v", time.Since(before), err)
			}
		}
		took := time.Since(began)
		if share := float64(spent.Load()) / float64(took); share > 0.27 {
			t.Errorf("wrong passwords took %.0f %% of a core", 100*share)
		}
		if refused.Load() == 0 || rejected.Load() == 0 {
			t.Errorf("%d refused, %d rejected", refused.Load(), rejected.Load())
		}
		time.Sleep(time.Hour)
	})
}

// Who waits too long for a check is told so, and not that the password is wrong;
// so is everybody who waits for the same one.
func TestTheWaitForACheckIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, spent, _ := hashed(t, 20*time.Second)
		go g.Check(basic("alice", "wrong"), here)
		synctest.Wait()
		began := time.Now()
		told := make(chan error)
		for i := range 3 {
			go func() {
				_, err := g.Check(basic("alice", "right"), addr(i))
				told <- err
			}()
		}
		for range 3 {
			err := <-told
			var w *Wait
			if !errors.As(err, &w) || !errors.Is(err, ErrBusy) || w.After != busyWait || time.Since(began) != longestTurn {
				t.Errorf("after %v alice gets %v", time.Since(began), err)
			}
		}
		time.Sleep(time.Hour)
		if _, err := g.Check(basic("alice", "right"), addr(1)); err != nil || spent.Load() != int64(40*time.Second) {
			t.Errorf("later she gets %v; the checks took %v", err, time.Duration(spent.Load()))
		}
	})
}

// A user not yet known comes before addresses that have failed, though these
// fill the queue, and one address has no advantage of many users' names.
func TestAFreshAddressComesFirst(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		failed bool // before
		who    func(i int) (user string, from netip.Addr)
	}{
		{"many addresses that failed", true, func(i int) (string, netip.Addr) { return "alice", addr(i) }},
		{"many names of one address", false, func(i int) (string, netip.Addr) { return fmt.Sprint("user", i), addr(1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { freshFirst(t, c.failed, c.who) })
		})
	}
}

func freshFirst(t *testing.T, failed bool, who func(i int) (string, netip.Addr)) {
	g, _, _ := hashed(t, 500*time.Millisecond)
	for i := range 100 {
		name, from := who(i)
		if g.users[name] == nil {
			g.users[name] = &user{verify: g.nobody.verify}
		}
		if failed {
			g.attempts.failed(from, g.users[name], time.Now())
		}
	}
	time.Sleep(2 * time.Second)
	var displaced atomic.Int64
	for i := range 100 {
		go func() {
			name, from := who(i)
			before := time.Now()
			_, err := g.Check(basic(name, fmt.Sprint(i)), from)
			if waited := time.Since(before); errors.Is(err, ErrBusy) && waited > 0 && waited < longestTurn {
				displaced.Add(1)
			}
		}()
	}
	synctest.Wait()
	time.Sleep(time.Millisecond)
	began := time.Now()
	_, err := g.Check(basic("alice", "right"), addr(200))
	if took := time.Since(began); err != nil || took > 3*time.Second {
		t.Errorf("after %v alice gets %v", took, err)
	}
	time.Sleep(time.Hour)
	if displaced.Load() != 1 {
		t.Errorf("%d guesses made room, want one", displaced.Load())
	}
}

// Equal credentials that come at once are checked once.
func TestManyConnectionsOfOneUserCostOneCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, spent, _ := hashed(t, time.Second)
		for i := range 500 {
			go func() {
				if _, err := g.Check(basic("alice", "right"), addr(i)); err != nil {
					t.Error(err)
				}
			}()
		}
		time.Sleep(2 * time.Second)
		if spent.Load() != int64(time.Second) {
			t.Errorf("the checks took %v", time.Duration(spent.Load()))
		}
	})
}

// Of one address one guess at a user's password waits, so that the user, who
// comes from elsewhere, need not wait for all of them.
func TestOneAddressWaitsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _, _ := hashed(t, time.Second)
		var busy atomic.Int64
		for i := range 50 {
			go func() {
				if _, err := g.Check(basic("alice", fmt.Sprint(i)), here); errors.Is(err, ErrBusy) {
					busy.Add(1)
				} else if !errors.Is(err, ErrRejected) {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		began := time.Now()
		if _, err := g.Check(basic("alice", "right"), addr(1)); err != nil || time.Since(began) > 6*time.Second {
			t.Errorf("alice waits %v and gets %v", time.Since(began), err)
		}
		if busy.Load() != 49 {
			t.Errorf("%d of 50 guesses at once were told to come again", busy.Load())
		}
		time.Sleep(time.Hour)
	})
}

// A client with an old password, which repeats it for ever, costs one check.
func TestAWrongPasswordIsRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, spent, _ := hashed(t, time.Second)
		for range 100 {
			if _, err := g.Check(basic("alice", "old"), here); !errors.Is(err, ErrRejected) {
				t.Fatal(err)
			}
		}
		if spent.Load() != int64(time.Second) {
			t.Errorf("the checks took %v", time.Duration(spent.Load()))
		}
		time.Sleep(time.Hour)
	})
}

// Guesses from one address are heard less and less often; the user herself is
// heard from another one, and later from there, too.
func TestGuessesFromOneAddressWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _, _ := hashed(t, time.Millisecond)
		var heard, waits int
		var longest time.Duration
		for i := range 600 { // ten minutes
			_, err := g.Check(basic("alice", fmt.Sprint(i)), here)
			var w *Wait
			switch {
			case errors.As(err, &w) && errors.Is(err, ErrAttempts):
				waits++
				longest = max(longest, w.After)
			case errors.Is(err, ErrRejected):
				heard++
			default:
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if heard < freeAttempts || heard > 25 || waits == 0 || longest > longestWait {
			t.Errorf("%d guesses were heard in ten minutes, %d not; the longest wait is %v", heard, waits, longest)
		}
		if _, err := g.Check(basic("alice", "right"), addr(1)); err != nil {
			t.Errorf("from another address: %v", err)
		}
		if _, err := g.Check(basic("alice", "right"), here); err != nil {
			t.Errorf("from the same address, once she is known: %v", err)
		}
		if _, err := g.Check(basic("bob", "x"), here); !errors.Is(err, ErrRejected) {
			t.Errorf("another name from the same address: %v", err)
		}
		time.Sleep(time.Hour)
	})
}

// Tokens and passwords that are no hashes can be guessed no faster.
func TestGuessesWithoutHashesWait(t *testing.T) {
	t.Parallel()
	for _, header := range []func(i int) []byte{
		func(i int) []byte { return fmt.Appendf(nil, "Bearer 0123456789%d", i) },
		func(i int) []byte { return basic("plain", fmt.Sprint(i)) },
		func(i int) []byte { return basic(fmt.Sprint("nobody", i), "x") },
	} {
		g := guard(t, Options{Users: []User{{Name: "plain", Password: "x", Token: "0123456789abcdef"}}})
		var waits int
		for i := range 100 {
			if _, err := g.Check(header(i), here); errors.Is(err, ErrAttempts) {
				waits++
			} else if !errors.Is(err, ErrRejected) {
				t.Fatal(err)
			}
		}
		if waits < 80 {
			t.Errorf("%s: of 100 guesses %d had to wait", header(0), waits)
		}
	}
}

func TestAnAddressOfIPv6IsItsNetwork(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
	} {
		if got := sourceOf(netip.MustParseAddr(c.a), nil) == sourceOf(netip.MustParseAddr(c.b), nil); got != c.same {
			t.Errorf("%s and %s: one source is %v", c.a, c.b, got)
		}
	}
	if sourceOf(netip.Addr{}, nil) != (source{}) {
		t.Error("no address is a source")
	}
}

// A flood from ever new addresses, under names that there are not and under
// another user's, does not keep a user outside who is not known yet.
func TestAFloodFromNewAddressesKeepsNobodyElseOutside(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nobody", "bob"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g, _, _ := hashed(t, 200*time.Millisecond)
				g.users["bob"] = &user{Caller: Caller{Name: "bob"}, verify: g.nobody.verify}
				ended := make(chan struct{})
				for i := range 200 {
					go func() {
						for n := i; ; n += 200 { // a new address and a new password each time
							g.Check(basic(name, fmt.Sprint(n)), addr(n))
							select {
							case <-ended:
								return
							case <-time.After(100 * time.Millisecond):
							}
						}
					}()
				}
				time.Sleep(20 * time.Second)
				began := time.Now()
				if _, err := g.Check(basic("alice", "right"), here); err != nil {
					t.Errorf("alice waits %v and gets %v", time.Since(began), err)
				}
				close(ended)
				time.Sleep(time.Hour)
			})
		})
	}
}
