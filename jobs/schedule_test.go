package jobs

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSchedules(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones on this system")
	}
	const form = "2006-01-02 15:04"
	for _, c := range []struct{ text, last, want string }{
		{"90s", "2026-11-21 15:00", "2026-11-21 15:01"},
		{"7d", "2026-11-21 15:00", "2026-11-28 15:00"},
		{"* * * * *", "2026-11-21 15:00", "2026-11-21 15:01"},
		{"30 3 * * *", "2026-11-21 15:00", "2026-11-22 03:30"},
		{"30 3 * * *", "2026-11-21 03:29", "2026-11-21 03:30"},
		{"*/20 9-17/4 * * mon-fri", "2026-11-20 17:50", "2026-11-23 09:00"},
		{"0 0 29 2 *", "2026-11-21 15:00", "2028-02-29 00:00"},
		{"0 12 13 * 5", "2026-11-21 15:00", "2026-11-27 12:00"}, // a Friday, or a 13th
		{"0 12 */2 * 7", "2026-11-21 15:00", "2026-11-29 12:00"},
		{"5,35 * 1 jan,JUL 0", "2026-11-21 15:00", "2027-01-01 00:05"},
		{"30 2 * * *", "2026-03-28 12:00", "2026-03-30 02:30"}, // the clocks skip 02:30 on the 29th
		{"30 2 25 10 *", "2026-10-24 12:00", "2026-10-25 02:30"},
		{"59 23 31 12 *", "2026-12-31 23:59", "2027-12-31 23:59"},
	} {
		s, err := ParseSchedule(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		last, _ := time.ParseInLocation(form, c.last, berlin)
		due, ok := s.Next(last, last.Add(time.Hour))
		if got := due.In(berlin).Format(form); !ok || got != c.want {
			t.Errorf("%q after %s is due %s, want %s", c.text, c.last, got, c.want)
		}
	}
	now := time.Date(2026, 11, 21, 15, 0, 30, 0, berlin)
	if due, ok := Every(time.Hour).Next(time.Time{}, now); !ok || !due.Equal(now) {
		t.Errorf("an interval's first job is due %v, want now", due)
	}
	daily, _ := ParseSchedule("0 16 * * *")
	if due, ok := daily.Next(time.Time{}, now); !ok || due.Format(form) != "2026-11-21 16:00" {
		t.Errorf("a calendar's first job is due %v, want at its first time", due)
	}
	if due, ok := daily.Next(now.AddDate(0, 0, -3), now); !ok || due.After(now) {
		t.Errorf("what became due while nobody looked is due %v, want before now", due)
	}
}

func TestSchedulesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", " ", "never"} {
		s, err := ParseSchedule(text)
		if _, ok := s.Next(time.Time{}, time.Now()); err != nil || ok || !s.Never() {
			t.Errorf("%q: %v", text, err)
		}
	}
	for text, says := range map[string]string{
		"x": "10m", "0s": "from 100ms", "-5m": "from 100ms", "10": "10m", "1ms": "from 100ms", "999999999d": "10m", "* * * *": "4 fields", "* * * * * *": "6 fields",
		"60 * * * *": "minute", "* 24 * * *": "hour", "* * 0 * *": "day", "* * * 13 *": "month", "* * * foo *": "foo", "* * * * 8": "week",
		"5-1 * * * *": "backwards", "*/0 * * * *": "step", "*/x * * * *": "step", "1,,2 * * * *": `""`, "* * 31 feb *": "no such day", "-1 * * * *": `""`,
	} {
		if _, err := ParseSchedule(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want an error with %q", text, err, says)
		}
	}
}

// TestCalendarModel: the next time is the first minute that fits, looked for
// one by one.
func TestCalendarModel(t *testing.T) {
	t.Parallel()
	fields := []*rapid.Generator[string]{
		rapid.SampledFrom([]string{"*", "*/7", "3", "1-5,50", "59"}), rapid.SampledFrom([]string{"*", "*/5", "0", "2-3", "23"}),
		rapid.SampledFrom([]string{"*", "1", "*/3", "28-31"}), rapid.SampledFrom([]string{"*", "11,12", "*/2"}), rapid.SampledFrom([]string{"*", "0", "1-3", "7"}),
	}
	rapid.Check(t, func(r *rapid.T) {
		var text []string
		for i, f := range fields {
			text = append(text, f.Draw(r, string(rune('a'+i))))
		}
		s, err := ParseSchedule(strings.Join(text, " "))
		if err != nil {
			r.Fatal(err)
		}
		from := time.Date(2026, 10, 20, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 60*24*60).Draw(r, "minute")) * time.Minute)
		due, ok := s.Next(from, from)
		if !ok || !due.After(from) {
			r.Fatalf("%v after %v: %v", text, from, due)
		}
		c := s.cron
		for m := from.Add(time.Minute); m.Before(due) && m.Before(from.Add(20*24*time.Hour)); m = m.Add(time.Minute) {
			if c.fits(m) && c.hour>>m.Hour()&1 == 1 && c.minute>>m.Minute()&1 == 1 {
				r.Fatalf("%v after %v is %v, want %v", text, from, due, m)
			}
		}
	})
}
