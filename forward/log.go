package forward

import (
	"log/slog"
	"sync"
	"time"
)

const (
	logBurst = 10               // lines of one topic at once
	logEvery = 10 * time.Second // then one in this time
)

// A limitedLog logs a few lines of each topic and counts the others, so that
// a peer cannot fill the log.
type limitedLog struct {
	log    *slog.Logger
	now    func() time.Time
	mu     sync.Mutex
	topics map[string]*topic
}

type topic struct {
	tokens     float64
	at         time.Time
	suppressed int
}

// warn logs one line of a topic, one of a fixed set.
func (l *limitedLog) warn(name, msg string, args ...any) {
	n, ok := l.allow(name)
	if !ok {
		return
	}
	if n > 0 {
		args = append(args, "suppressed", n)
	}
	l.log.Warn("forward: "+msg, args...)
}

// allow tells whether a line may go out, and how many did not since the last.
func (l *limitedLog) allow(name string) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	t := l.topics[name]
	if t == nil {
		if l.topics == nil {
			l.topics = map[string]*topic{}
		}
		t = &topic{tokens: logBurst, at: now}
		l.topics[name] = t
	}
	t.tokens = min(logBurst, t.tokens+now.Sub(t.at).Seconds()/logEvery.Seconds())
	t.at = now
	if t.tokens < 1 {
		t.suppressed++
		return 0, false
	}
	t.tokens--
	suppressed, t.suppressed = t.suppressed, 0
	return suppressed, true
}
