package httpapi

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/arrays"
	"weir/policies"
	"weir/streams"
)

// A status is what the page shows. Counters only grow; rates are differences.
type status struct {
	Time       time.Time           `json:"time"`
	Started    time.Time           `json:"started"`
	Version    string              `json:"version,omitempty"`
	Conditions []Condition         `json:"conditions"`
	Totals     totals              `json:"totals"`
	Refused    []refusedCount      `json:"refused"`
	Unmatched  map[string]int64    `json:"unmatched"`
	Policies   []policyStatus      `json:"policies"`
	Streams    []streamInfo        `json:"streams"`
	Arrays     []arrays.Info       `json:"arrays"`
	Recovery   recovery            `json:"recovery"`
	Free       int64               `json:"free"` // bytes of the disk
	HTTP       map[string][6]int64 `json:"http"` // answers by route and class of status
}

type totals struct {
	Streams    int64 `json:"streams"`
	Groups     int64 `json:"groups"`
	Records    int64 `json:"records"` // an upload, and a body of unknown content, is one
	Appends    int64 `json:"appends"`
	Bytes      int64 `json:"bytes"`
	Rows       int64 `json:"rows"`
	Duplicates int64 `json:"duplicates"`
}

type refusedCount struct {
	Reason  string `json:"reason"`
	Records int64  `json:"records"`
	Bytes   int64  `json:"bytes"`
	// Requests are those of HTTP; the reasons of other listeners have none.
	Requests int64 `json:"requests"`
}

type policyStatus struct {
	Name  string `json:"name"`
	Match string `json:"match"`
	Keep  string `json:"keep"`
	Array string `json:"array,omitempty"`

	Batches    int64 `json:"batches"`
	Records    int64 `json:"records"`
	Bytes      int64 `json:"bytes"`
	Duplicates int64 `json:"duplicates"`
	Dead       int64 `json:"dead"`
}

// A recovery is what the store found when it was opened.
type recovery struct {
	Clean            bool     `json:"clean"`
	Records          int64    `json:"records"`
	Bytes            int64    `json:"bytes"`
	CutBytes         int64    `json:"cut_bytes"`
	QuarantinedFiles []string `json:"quarantined_files"`
}

// statusNames is how many streams and groups the page looks at.
const statusNames = 500

// status answers with the state of everything, for the page.
func (r *request) status() error {
	s := r.s
	kept, routed, built := s.Streams.Stats(), s.Policies.Stats(), s.Arrays.Stats()
	answer := status{
		Time: time.Now(), Started: s.started, Version: s.Version, Conditions: s.conditions(kept),
		Totals: totals{Streams: kept.Streams, Groups: built.Groups, Records: s.records(routed), Appends: kept.Records,
			Bytes: kept.Bytes, Rows: built.Rows, Duplicates: kept.Duplicates},
		Refused: refusedCounts(routed.Refused, s.refusals.all()), Unmatched: routed.Unmatched, Policies: s.policyStatus(routed),
		Streams:  s.streamInfos(s.Streams.Names("", "", statusNames)),
		Arrays:   s.arrayInfos(s.Arrays.Names("", "", statusNames)),
		Recovery: recovery(kept.Recovery), Free: kept.Free, HTTP: s.count.byRoute(),
	}
	slices.SortFunc(answer.Streams, func(a, b streamInfo) int { return b.Modified.Compare(a.Modified) })
	slices.SortFunc(answer.Arrays, func(a, b arrays.Info) int { return b.Modified.Compare(a.Modified) })
	return r.json(answer)
}

// records counts what all policies and uploads kept. A body of which the
// policy needs to know nothing is one.
func (s *Server) records(routed policies.Stats) int64 {
	n := s.uploads.Load()
	for _, p := range routed.Policies {
		n += max(p.Records, p.Batches-p.Duplicates)
	}
	return n
}

func refusedCounts(counts map[string]policies.Count, requests map[string]int64) []refusedCount {
	list := make([]refusedCount, 0, len(counts))
	for _, reason := range slices.Sorted(maps.Keys(counts)) { // it has those of all requests
		list = append(list, refusedCount{reason, counts[reason].Records, counts[reason].Bytes, requests[reason]})
	}
	return list
}

func (s *Server) policyStatus(routed policies.Stats) []policyStatus {
	var list []policyStatus
	for _, p := range s.Policies.Policies() {
		n := routed.Policies[p.Name]
		one := policyStatus{Name: p.Name, Match: p.Match, Keep: string(p.Keep),
			Batches: n.Batches, Records: n.Records, Bytes: n.Bytes, Duplicates: n.Duplicates, Dead: n.Dead}
		if p.Array != nil {
			one.Array = p.Array.Kind
		}
		list = append(list, one)
	}
	return list
}

// conditions are what readiness needs: the server's own and its owner's.
func (s *Server) conditions(kept streams.Stats) []Condition {
	appends := Condition{Name: "appends", OK: kept.Failed == "", Text: kept.Failed}
	if appends.OK && kept.FoldFailed != "" {
		appends.Text = "taken, but the log grows until the disk's reserve: " + kept.FoldFailed
	}
	list := []Condition{
		{Name: "recovered", OK: true},
		appends,
		{Name: "accepting", OK: !s.draining.Load()},
	}
	if s.draining.Load() {
		list[2].Text = "weir is shutting down"
	}
	if s.Conditions != nil {
		list = append(list, s.Conditions()...)
	}
	return list
}

// health says that the process turns.
func (r *request) health() error {
	r.ctx.SetContentType("text/plain; charset=utf-8")
	r.ctx.SetBodyString("ok\n")
	return nil
}

// ready says whether data is taken, and of each condition whether it holds.
func (r *request) ready() error {
	list := r.s.conditions(r.s.Streams.Stats())
	if slices.ContainsFunc(list, func(c Condition) bool { return !c.OK }) {
		r.ctx.SetStatusCode(503)
	}
	if wantsJSON(r.ctx) {
		return r.json(list)
	}
	var text bytes.Buffer
	for _, c := range list {
		mark := "ok  "
		if !c.OK {
			mark = "FAIL"
		}
		fmt.Fprintf(&text, "%s %s", mark, c.Name)
		if c.Text != "" {
			fmt.Fprintf(&text, ": %s", c.Text)
		}
		text.WriteByte('\n')
	}
	r.ctx.SetContentType("text/plain; charset=utf-8")
	r.ctx.SetBody(text.Bytes())
	return nil
}

// metrics answers with the Prometheus text format.
func (r *request) metrics() error {
	if r.s.Metrics == nil {
		return r.notFound()
	}
	var text bytes.Buffer
	if err := r.s.Metrics(&text); err != nil {
		return fmt.Errorf("collect metrics: %w", err)
	}
	r.ctx.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	r.ctx.SetBody(text.Bytes())
	return nil
}

// explainRoute tells where a tag goes and why: ?tag=.
func (r *request) explainRoute() error {
	tag := r.target.value("tag")
	if tag == "" {
		return refuse(400, "missing-tag", "the query has no tag; use /api/route?tag=TAG")
	}
	return r.json(r.s.Policies.Explain(tag))
}
