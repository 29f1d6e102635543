package supervise

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestStartsDuringAChange: a start that comes while a changed program is
// stopping makes one process, of the new settings; one that comes while it is
// removed makes none.
func TestStartsDuringAChange(t *testing.T) {
	both(t, func(t *testing.T, plain bool) {
		b := open(t, plain)
		program := func(v int) Program { // stops when it is let
			script := fmt.Sprintf("trap 'while [ ! -e go%d ]; do sleep 0.02; done; exit' TERM; echo $$ %d >> ran; while :; do sleep 0.05; done", v, v)
			return b.sh("p", script, func(p *Program) { p.StopSeconds = 300 })
		}
		// during starts the program while a change waits for its end.
		during := func(v int, change func() error) Status {
			b.content("ran", fmt.Sprintf(" %d\n", v))
			changed, started := make(chan error, 1), make(chan Status, 1)
			go func() { changed <- change() }()
			b.until("g:p", Stopping)
			go func() {
				s, err := b.Start(b.ctx(), "g:p")
				switch {
				case errors.Is(err, ErrUnknown): // it came after the removal
					started <- Status{State: Stopped}
				case err != nil || len(s) != 1:
					t.Errorf("start during a change: %+v, %v", s, err)
					started <- Status{}
				default:
					started <- s[0]
				}
			}()
			time.Sleep(100 * time.Millisecond) // the start is to come first; where it does not, this shows less
			if err := os.WriteFile(b.path(fmt.Sprintf("go%d", v)), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := <-changed; err != nil {
				t.Error(err)
			}
			return <-started
		}
		const changes = 3
		b.apply("g", program(0))
		b.begin("g:*")
		for v := range changes {
			s := during(v, func() error {
				_, err := b.Apply(b.ctx(), Group{Name: "g", Programs: []Program{program(v + 1)}})
				return err
			})
			if s.State != Running || s.PID != b.one("g:p").PID {
				t.Errorf("started during change %d: %+v, now %+v", v, s, b.one("g:p"))
			}
		}
		if s := during(changes, func() error { return b.Remove(b.ctx(), "g") }); s.State != Stopped {
			t.Errorf("started during the removal: %+v", s)
		}
		ran, err := os.ReadFile(b.path("ran"))
		if err != nil {
			t.Fatal(err)
		}
		var settings []int
		for line := range strings.Lines(string(ran)) {
			var pid, v int
			if _, err := fmt.Sscan(line, &pid, &v); err != nil || alive(pid) {
				t.Errorf("lives on, or %v: %q", err, line)
			}
			settings = append(settings, v)
		}
		if !slices.Equal(settings, []int{0, 1, 2, 3}) {
			t.Errorf("processes of settings %v, want one of each", settings)
		}
	})
}

// TestRestartsOfWhatLeftSomething: a program that has exited and left a process
// behind is restarted while that one is being ended; whoever asked hears of it.
func TestRestartsOfWhatLeftSomething(t *testing.T) {
	both(t, func(t *testing.T, plain bool) {
		b := open(t, plain)
		b.apply("g", b.sh("p", "sleep 1000 &"))
		b.begin("g:p")
		for i := range 25 {
			b.until("g:p", Exited)
			if s, err := b.Restart(b.ctx(), "g:p"); err != nil || len(s) != 1 {
				t.Fatalf("restart %d: %+v, %v", i, s, err)
			}
		}
	})
}

// TestStartOfWhatExitsAtOnce: who starts a service that exits again and again
// hears of it, and does not wait until it stays.
func TestStartOfWhatExitsAtOnce(t *testing.T) {
	both(t, func(t *testing.T, plain bool) {
		b := open(t, plain)
		b.apply("g", b.sh("p", "exit 3", func(p *Program) { p.Restart = Always }))
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for i := range 8 {
					do := b.Start
					if i%2 == 1 {
						do = b.Restart
					}
					if s, err := do(b.ctx(), "g:p"); err != nil || len(s) != 1 {
						t.Errorf("start %d: %+v, %v", i, s, err)
						return
					}
				}
			})
		}
		all.Wait()
	})
}
