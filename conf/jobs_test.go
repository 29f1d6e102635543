package conf

import (
	"strings"
	"testing"
)

func TestSchedules(t *testing.T) {
	t.Parallel()
	c, ds := Parse("a.yaml", []byte("jobs:\n  schedules: {collect: 10m, cleanup_jobs: never}\n"), Source{})
	if ds != nil {
		t.Fatal(ds)
	}
	var names []string
	for _, d := range c.Jobs.Distributions() {
		names = append(names, d.Action)
	}
	if got := strings.Join(names, " "); got != "collect expire verify_streams" {
		t.Errorf("the distributions are %s: what is written joins what is shipped", got)
	}
	for text, says := range map[string]string{
		"schedules: {a: 10x}": "no schedule", "schedules: {a: '* * *'}": "3 fields", `schedules: {"a/b": 1h}`: "no name", "timeouts: {a: -1s}": "jobs.timeouts.a", "timeouts: {a: soon}": "jobs.timeouts.a", "timeout: -1s": "jobs.timeout",
		"grace: 0": "jobs.grace", "grace: -1s": "jobs.grace",
	} {
		if _, ds := Parse("a.yaml", []byte("jobs: {"+text+"}\n"), Source{}); len(ds) != 1 || !strings.Contains(ds.Error(), says) {
			t.Errorf("%s: %v, want an error with %q", text, ds, says)
		}
	}
}
