package jobs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Schedule says when the next job of a distribution is due: an interval
// after the last one, or at times of the calendar. The zero value is never.
type Schedule struct {
	every time.Duration
	cron  *calendar
}

// Every is the schedule of an interval.
func Every(d time.Duration) Schedule { return Schedule{every: d} }

// ParseSchedule reads an interval such as 90s, 10m, 24h or 7d, or the five
// fields of a crontab: minute, hour, day of the month, month, day of the week,
// each *, a number, a range a-b, a step */n or a-b/n, or a list of these;
// months and days of the week may be names. Times are those of the machine's
// time zone. "never" and "" are no time.
func ParseSchedule(text string) (Schedule, error) {
	fields := strings.Fields(text)
	switch len(fields) {
	case 0:
		return Schedule{}, nil
	case 1:
		if fields[0] == "never" {
			return Schedule{}, nil
		}
		d, err := interval(fields[0])
		if err != nil || d < leastInterval {
			return Schedule{}, fmt.Errorf("%q is no schedule: write an interval from 100ms on, such as 10m or 7d, or five fields such as \"30 3 * * *\"", text)
		}
		return Every(d), nil
	case 5:
		c, err := parseCalendar(fields)
		if err != nil {
			return Schedule{}, fmt.Errorf("%q is no schedule: %w", text, err)
		}
		return Schedule{cron: c}, nil
	}
	return Schedule{}, fmt.Errorf("%q is no schedule: it has %d fields, a crontab has five: minute, hour, day, month, day of the week", text, len(fields))
}

// leastInterval keeps a mistake from making jobs without end.
const leastInterval = 100 * time.Millisecond

// interval reads a duration, days included.
func interval(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 32)
		if n > 100*365 {
			err = errors.New("too long")
		}
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

// Never tells whether nothing is ever due.
func (s Schedule) Never() bool { return s.every <= 0 && s.cron == nil }

// Next gives when the next job is due after the last one; without one, last is
// zero, it is now or the next time of the calendar. What became due while
// nobody looked is due once. ok is false for never.
func (s Schedule) Next(last, now time.Time) (due time.Time, ok bool) {
	switch {
	case s.every > 0 && last.IsZero():
		return now, true
	case s.every > 0:
		return last.Add(s.every), true
	case s.cron == nil:
		return time.Time{}, false
	case last.IsZero():
		last = now
	}
	return s.cron.next(last.In(now.Location()))
}

// A calendar is a crontab's five fields; bit n of a field stands for n.
type calendar struct {
	minute, hour, day, month, weekday uint64
	anyDay, anyWeekday                bool // written as *, or */n
}

var (
	monthNames   = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
	weekdayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
)

func parseCalendar(fields []string) (*calendar, error) {
	c := &calendar{anyDay: fields[2][0] == '*', anyWeekday: fields[4][0] == '*'}
	for i, f := range []struct {
		to          *uint64
		what        string
		least, most int
		names       []string // of least and what follows
	}{
		{&c.minute, "minute", 0, 59, nil}, {&c.hour, "hour", 0, 23, nil}, {&c.day, "day", 1, 31, nil},
		{&c.month, "month", 1, 12, monthNames}, {&c.weekday, "day of the week", 0, 7, weekdayNames},
	} {
		var err error
		if *f.to, err = parseField(fields[i], f.least, f.most, f.names); err != nil {
			return nil, fmt.Errorf("the %s %q: %w", f.what, fields[i], err)
		}
	}
	c.weekday |= c.weekday >> 7 & 1 // 7 is Sunday, too
	if _, ok := c.next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); !ok {
		return nil, errors.New("there is no such day")
	}
	return c, nil
}

// parseField reads one field to its bits.
func parseField(text string, least, most int, names []string) (bits uint64, err error) {
	number := func(s string) (int, error) {
		for i, name := range names {
			if strings.EqualFold(s, name) {
				return least + i, nil
			}
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("%q is not between %d and %d", s, least, most)
		}
		return n, nil
	}
	for _, part := range strings.Split(text, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 || step > most {
				return 0, fmt.Errorf("%q is no step", stepText)
			}
		}
		from, to := least, most
		if span != "*" {
			first, last, ranged := strings.Cut(span, "-")
			if from, err = number(first); err != nil {
				return 0, err
			}
			if to = from; ranged {
				to, err = number(last)
			} else if stepped {
				to = most
			}
			if err != nil {
				return 0, err
			}
			if to < from {
				return 0, fmt.Errorf("%q goes backwards", span)
			}
		}
		for n := from; n <= to; n += step {
			bits |= 1 << n
		}
	}
	return bits, nil
}

// fits tells whether a day is one of the calendar. As in every crontab, a day
// of the month and one of the week that are both given are alternatives.
func (c *calendar) fits(t time.Time) bool {
	if c.month>>int(t.Month())&1 == 0 {
		return false
	}
	day, weekday := c.day>>t.Day()&1 == 1, c.weekday>>int(t.Weekday())&1 == 1
	if c.anyDay || c.anyWeekday {
		return day && weekday
	}
	return day || weekday
}

// next gives the first minute of the calendar after a time; false when there
// is none in the years that a leap day may take. An hour that the clocks skip
// has no minutes; one that comes twice counts twice.
func (c *calendar) next(after time.Time) (time.Time, bool) {
	t := after.Truncate(time.Minute).Add(time.Minute)
	for end := t.AddDate(9, 0, 0); t.Before(end); {
		switch {
		case !c.fits(t):
			y, m, d := t.Date()
			t = later(t, time.Date(y, m, d+1, 0, 0, 0, 0, t.Location()))
		case c.hour>>t.Hour()&1 == 0:
			t = later(t, t.Add(time.Hour-time.Duration(t.Minute())*time.Minute))
		case c.minute>>t.Minute()&1 == 0:
			t = t.Add(time.Minute)
		default:
			return t, true
		}
	}
	return time.Time{}, false
}

// later is a time that is after another whatever the clocks do.
func later(t, next time.Time) time.Time {
	if next.After(t) {
		return next
	}
	return t.Add(time.Minute)
}
