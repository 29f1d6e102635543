package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"weir/arrays"
	"weir/forward"
	"weir/internal/httpapi"
	"weir/lake"
	"weir/policies"
	"weir/slap/deploy"
	"weir/streams"
)

// sample gives sources in which every map has an entry.
func sample() Sources {
	return Sources{
		Version: "1.2.3",
		Streams: func() streams.Stats {
			return streams.Stats{Streams: 3, Records: 17, Bytes: 1700, Failed: "no space",
				CommitSeconds: streams.Histogram{Bounds: []float64{0.001, 0.01}, Counts: []int64{5, 2, 1}, Sum: 0.25},
				Recovery:      streams.Recovery{CutBytes: 12, QuarantinedFiles: []string{"a", "b"}}}
		},
		Policies: func() policies.Stats {
			return policies.Stats{
				Policies:  map[string]policies.PolicyStats{"raw": {Batches: 4, Records: 40, Bytes: 400, Duplicates: 1, Dead: 2}},
				Refused:   map[string]policies.Count{"bad-tag": {Records: 6, Bytes: 60}},
				Unmatched: map[string]int64{"strange.tag": 9},
			}
		},
		Arrays: func() arrays.Stats {
			return arrays.Stats{Groups: 2, Rows: 100, RefusedByReason: map[string]int64{"not-a-number": 3}}
		},
		Forward: func() forward.Stats {
			return forward.Stats{Messages: map[string]int64{"packed": 8}, Handshakes: map[string]int64{"bad-key": 1},
				Refused: map[string]forward.Count{"too-large": {Messages: 1, Bytes: 99}}}
		},
		HTTP: func() httpapi.Stats {
			return httpapi.Stats{Answers: map[string][6]int64{"ingest": {0, 0, 5, 0, 2, 0}}}
		},
		Lake: func() lake.Stats { return lake.Stats{Sets: 1, Files: 20, Partial: 3, Bytes: 4000} },
		Deployments: func() []deploy.Status {
			return []deploy.Status{
				{Policy: "up", Reference: "r", Phase: deploy.Allocated, State: "started", Report: "#access Instance correctly started", Attempts: 7, Since: time.Unix(1800000000, 0)},
				{Policy: "ill", Reference: "r", Phase: deploy.Allocated, State: "started", Report: "#error while instanciating: x", Since: time.Unix(1800000000, 0)},
				{Policy: "up", Reference: "another", Phase: deploy.Waiting},
				{Policy: "down", Reference: "r", Phase: deploy.Failed, Since: time.Unix(1800000000, 0)},
			}
		},
	}
}

func write(t *testing.T, s Sources) string {
	t.Helper()
	r, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestValues(t *testing.T) {
	t.Parallel()
	text := write(t, sample())
	for _, line := range []string{
		`weir_build_info{version="1.2.3"} 1`,
		`weir_stream_appends_total 17`,
		`weir_stream_appends_failing 1`,
		`weir_recovery_clean 0`,
		`weir_recovery_quarantined_files 2`,
		`weir_stream_commit_seconds_bucket{le="0.001"} 5`,
		`weir_stream_commit_seconds_bucket{le="0.01"} 7`,
		`weir_stream_commit_seconds_bucket{le="+Inf"} 8`,
		`weir_stream_commit_seconds_sum 0.25`,
		`weir_stream_commit_seconds_count 8`,
		`weir_policy_dead_letters_total{policy="raw"} 2`,
		`weir_refused_bytes_total{reason="bad-tag"} 60`,
		`weir_unmatched_batches{tag="strange.tag"} 9`,
		`weir_array_refused_ranges_total{reason="not-a-number"} 3`,
		`weir_forward_messages_total{mode="packed"} 8`,
		`weir_forward_refused_bytes_total{reason="too-large"} 99`,
		`weir_http_answers_total{class="2xx",route="ingest"} 5`,
		`weir_http_answers_total{class="4xx",route="ingest"} 2`,
		`weir_lake_sets 1`, `weir_lake_files 20`, `weir_lake_bytes 4000`, `weir_lake_partial_files 3`,
		`weir_deployments{phase="allocated"} 2`,
		`weir_deployments{phase="waiting"} 1`,
		`weir_deployment_running{policy="up",reference="r"} 1`,
		`weir_deployment_running{policy="ill",reference="r"} 0`,
		`weir_deployment_broken{policy="ill",reference="r"} 1`,
		`weir_deployment_broken{policy="down",reference="r"} 1`,
		`weir_deployment_requests_total{policy="up",reference="r"} 7`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("metrics have no line %q", line)
		}
	}
	for _, prefix := range []string{"go_goroutines ", "process_cpu_seconds_total "} {
		if !strings.Contains(text, "\n"+prefix) {
			t.Errorf("metrics have no %s", prefix)
		}
	}
}

func TestNamesAreLinted(t *testing.T) {
	t.Parallel()
	problems, err := promlint.New(strings.NewReader(write(t, sample()))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "weir_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestAbsentSourcesHaveNoMetrics(t *testing.T) {
	t.Parallel()
	text := write(t, Sources{})
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "weir_") && !strings.HasPrefix(line, "weir_build_info") {
			t.Errorf("without sources there is %q", line)
		}
	}
}

// A scrape asks the sources anew.
func TestScrapeIsFresh(t *testing.T) {
	t.Parallel()
	var n int64
	r, err := New(Sources{Streams: func() streams.Stats { n++; return streams.Stats{Records: n} }})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"weir_stream_appends_total 1\n", "weir_stream_appends_total 2\n"} {
		var text strings.Builder
		if err := r.Write(&text); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text.String(), want) {
			t.Errorf("scrape has no %q", want)
		}
	}
}

// Label values come from senders; they must not break the format.
func TestHostileLabels(t *testing.T) {
	t.Parallel()
	tag := "a\"b\\c\nd"
	text := write(t, Sources{Policies: func() policies.Stats {
		return policies.Stats{Unmatched: map[string]int64{tag: 1, "\xff\xfe": 2, `"\xff\xfe"`: 3}}
	}})
	if want := `weir_unmatched_batches{tag="a\"b\\c\nd"} 1`; !strings.Contains(text, want) {
		t.Errorf("metrics have no %q", want)
	}
	if _, err := promlint.New(strings.NewReader(text)).Lint(); err != nil {
		t.Errorf("the format is broken: %v", err)
	}
}
