package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// A progress shows on a terminal how far an upload came.
type progress struct {
	name        string
	size, done  int64
	from        int64 // what was there at the beginning
	began, last time.Time
	show        bool
}

func newProgress(name string) *progress {
	return &progress{name: name, show: term.IsTerminal(int(os.Stderr.Fd()))}
}

// set notes how far it came.
func (p *progress) set(done, size int64) {
	if p.began.IsZero() {
		p.began, p.from = time.Now(), done
	}
	p.done, p.size = done, size
	p.tick()
}

// tick shows it, five times a second.
func (p *progress) tick() {
	if p.show && time.Since(p.last) > 200*time.Millisecond {
		p.last = time.Now()
		fmt.Fprintf(os.Stderr, "\r\x1b[K%s", p.line(time.Since(p.began)))
	}
}

// barWidth is the width of the bar.
const barWidth = 24

// line is what is shown after some time.
func (p *progress) line(took time.Duration) string {
	rate := float64(p.done-p.from) / max(took.Seconds(), 0.001)
	if p.size <= 0 {
		return fmt.Sprintf("%s  %.1f MB  %.1f MB/s", p.name, float64(p.done)/1e6, rate/1e6)
	}
	full := int(barWidth * p.done / p.size)
	line := fmt.Sprintf("%s  [%s%s] %3d %%  %.1f MB/s", p.name, strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), 100*p.done/p.size, rate/1e6)
	if rate > 0 {
		line += fmt.Sprintf("  %.0f s left", float64(p.size-p.done)/rate)
	}
	return line
}

// broken says that the connection broke, and why; it is tried again.
func (p *progress) broken(why error) {
	p.end()
	fmt.Fprintf(os.Stderr, "weir: put %s: %v; trying again\n", p.name, why)
}

// end takes the bar away.
func (p *progress) end() {
	if p.show {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
}

// reader counts what is read. An http.Request closes no reader that has no
// Close, so the file stays ours.
func (p *progress) reader(r io.Reader) io.Reader {
	return readFunc(func(b []byte) (int, error) {
		n, err := r.Read(b)
		p.set(p.done+int64(n), 0)
		return n, err
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }
