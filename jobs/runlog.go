package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// A Logger keeps what actions print. An API that is one gets it; a server of
// SlipStream has no place for it.
type Logger interface {
	Log(ctx context.Context, id string, attempt int, lines []string) error
}

// A runLog brings what an attempt prints to its job's log, some lines at a
// time. It never keeps the action waiting: lines that come faster than they can
// be kept are counted and left out.
type runLog struct {
	to      Logger // nil keeps nothing
	job     string
	attempt int
	log     *slog.Logger

	mu      sync.Mutex
	lines   []string
	bytes   int
	dropped int
	wake    chan struct{} // holds a token when there is something
	end     chan struct{}
	ended   chan struct{}
}

const (
	runLogEvery = 200 * time.Millisecond
	runLogBytes = 256 << 10 // that wait
)

func newRunLog(api API, j Job, log *slog.Logger) *runLog {
	l := &runLog{job: j.ID, attempt: j.Attempt, log: log, wake: make(chan struct{}, 1), end: make(chan struct{}), ended: make(chan struct{})}
	l.to, _ = api.(Logger)
	if l.to == nil {
		close(l.ended)
		return l
	}
	go l.run()
	return l
}

// Print takes a line.
func (l *runLog) Print(line string) {
	if l.to == nil {
		return
	}
	line = cut(line, maxLogLine)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytes+len(line)+lineCost > runLogBytes {
		l.dropped++
		return
	}
	l.lines = append(l.lines, line)
	l.bytes += len(line) + lineCost
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run sends what there is, again and again, until Close.
func (l *runLog) run() {
	defer close(l.ended)
	for {
		select {
		case <-l.wake:
		case <-l.end:
			l.send()
			return
		}
		select {
		case <-time.After(runLogEvery):
		case <-l.end:
		}
		l.send()
	}
}

func (l *runLog) send() {
	l.mu.Lock()
	lines, dropped := l.lines, l.dropped
	l.lines, l.bytes, l.dropped = nil, 0, 0
	l.mu.Unlock()
	if dropped > 0 {
		lines = append(lines, fmt.Sprintf("(%d lines came too fast and were not kept)", dropped))
	}
	if len(lines) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), runLogTime)
	defer cancel()
	if err := l.to.Log(ctx, l.job, l.attempt, lines); err != nil {
		l.log.Debug("lines of an action's output could not be kept", "job", l.job, "lines", len(lines), "error", err)
	}
}

// runLogTime bounds how long the end of a job waits for its log.
const runLogTime = 5 * time.Second

// Close sends what is left.
func (l *runLog) Close() {
	if l.to != nil {
		close(l.end)
	}
	<-l.ended
}
