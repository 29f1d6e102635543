package jobs

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A Line is one of a job's log: what its action printed, or a change of its
// state, progress or message.
type Line struct {
	Number  int64  `json:"number"` // from 0; grows by one, also over lines that are gone
	Time    string `json:"time"`
	Attempt int    `json:"attempt"`
	Text    string `json:"text"`
}

// A Log is the end of what a job said.
type Log struct {
	ID    string `json:"id"`
	Cut   int64  `json:"cut"` // lines before the first one here, which are gone
	Lines []Line `json:"lines"`
}

// Bounds of the logs: of a line, of a job's, of all jobs' in memory and in the
// journal. The oldest lines, and the logs of the jobs that began to speak
// first, make room.
const (
	maxLogLine  = 4 << 10
	maxLogBytes = 64 << 10
	maxLogs     = 32 << 20
	lineCost    = 64 // of a line beside its text
)

// logs hold the log of each job. The store's lock guards them.
type logs struct {
	byJob map[string]*jobLog
	order []string // as they began; some are gone
	bytes int
}

type jobLog struct {
	next  int64 // number of the next line
	lines []Line
	bytes int
}

// add puts lines at the end of a job's log.
func (l *logs) add(id string, lines []Line) {
	j := l.byJob[id]
	if j == nil {
		j = &jobLog{}
		l.byJob[id] = j
		l.order = append(l.order, id)
	}
	for _, line := range lines {
		line.Number = j.next
		j.next++
		j.lines = append(j.lines, line)
		l.grow(j, len(line.Text)+lineCost)
	}
	for j.bytes > maxLogBytes {
		l.grow(j, -len(j.lines[0].Text)-lineCost)
		j.lines = j.lines[1:]
	}
	for l.bytes > maxLogs && l.order[0] != id {
		l.drop(l.order[0])
		l.order = l.order[1:]
	}
}

// skip makes a new log begin after lines that are gone.
func (l *logs) skip(id string, n int64) {
	if l.byJob[id] == nil {
		l.byJob[id] = &jobLog{next: n}
		l.order = append(l.order, id)
	}
}

func (l *logs) grow(j *jobLog, n int) {
	j.bytes += n
	l.bytes += n
}

// drop forgets a job's log.
func (l *logs) drop(id string) {
	if j := l.byJob[id]; j != nil {
		l.bytes -= j.bytes
		delete(l.byJob, id)
	}
}

// cut brings a text to the length of a line, in UTF-8.
func cut(text string, most int) string {
	if len(text) > most {
		for most > 0 && !utf8.RuneStart(text[most]) {
			most--
		}
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// Log adds lines that an attempt printed to a job's log.
func (s *Store) Log(_ context.Context, id string, attempt int, lines []string) error {
	now := stamp(s.o.Now())
	return s.update(func(t *tx) error {
		if _, err := t.get(id); err != nil {
			return err
		}
		list := make([]Line, len(lines))
		for i, text := range lines {
			list[i] = Line{Time: now, Attempt: attempt, Text: cut(text, maxLogLine)}
		}
		t.log(id, list)
		return nil
	})
}

// Logs gives a job's log from a line's number on, or ErrNotFound.
func (s *Store) Logs(_ context.Context, id string, from int64) (Log, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.jobs[id] == nil {
		return Log{}, fmt.Errorf("%s %w", id, ErrNotFound)
	}
	out := Log{ID: id, Lines: []Line{}}
	if j := s.logs.byJob[id]; j != nil {
		out.Cut = j.next - int64(len(j.lines))
		skip := max(0, min(from-out.Cut, int64(len(j.lines))))
		out.Lines = append(out.Lines, j.lines[skip:]...)
	}
	return out, nil
}

// told gives the line that a job's change is worth, if any.
func told(before, after *Job) []Line {
	var parts []string
	if after.State != before.State || after.Attempt != before.Attempt {
		parts = append(parts, string(after.State))
		if after.Executor != "" && after.State == Running {
			parts = append(parts, "by "+after.Executor)
		}
	}
	if after.ReturnCode != nil && (before.ReturnCode == nil || *before.ReturnCode != *after.ReturnCode) {
		parts = append(parts, fmt.Sprint("return code ", *after.ReturnCode))
	}
	if after.Progress != before.Progress && !after.State.Final() {
		parts = append(parts, fmt.Sprint("progress ", after.Progress, "%"))
	}
	text := strings.Join(parts, ", ")
	if after.StatusMessage != before.StatusMessage && after.StatusMessage != "" {
		if text != "" {
			text += ": "
		}
		text += after.StatusMessage
	}
	if text == "" {
		return nil
	}
	return []Line{{Time: after.Updated, Attempt: after.Attempt, Text: cut(text, maxLogLine)}}
}

// log adds lines to a job's log.
func (t *tx) log(id string, lines []Line) {
	if len(lines) > 0 {
		t.events = append(t.events, event{ID: id, Log: lines})
	}
}
