// Package metrics shows the counters of weir's parts in the Prometheus text
// format. It keeps none of its own: each scrape asks every part for its Stats.
//
// All names are in names.go. A part that is not there has no metrics.
package metrics

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"weir/arrays"
	"weir/forward"
	"weir/internal/httpapi"
	"weir/lake"
	"weir/policies"
	"weir/slap/deploy"
	"weir/streams"
)

// Sources are the parts; a nil one is left out.
type Sources struct {
	Forward  func() forward.Stats
	Streams  func() streams.Stats
	Policies func() policies.Stats
	Arrays   func() arrays.Stats
	HTTP     func() httpapi.Stats
	Jobs     func() Jobs
	Lake     func() lake.Stats
	// Retention tells by policy what was given up.
	Retention func() map[string]Retention
	// Deployments are the instances that policies name.
	Deployments func() []deploy.Status
	// Version of weir, for weir_build_info.
	Version string
}

// A Registry writes the metrics of its sources, of the Go runtime and of the
// process. All methods are safe for concurrent use.
type Registry struct{ registry *prometheus.Registry }

// New makes a registry.
func New(s Sources) (*Registry, error) {
	r := &Registry{registry: prometheus.NewRegistry()}
	for _, c := range []prometheus.Collector{
		newCollector(s),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := r.registry.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: register: %w", err)
		}
	}
	return r, nil
}

// Write writes all metrics as they are now in the Prometheus text format.
func (r *Registry) Write(w io.Writer) error {
	families, err := r.registry.Gather()
	if err != nil {
		return fmt.Errorf("metrics: gather: %w", err)
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			return fmt.Errorf("metrics: write %s: %w", f.GetName(), err)
		}
	}
	return nil
}

// A collector asks the sources at each scrape.
type collector struct {
	sources Sources
	metrics []described
}

// described is a metric with what the library knows it by.
type described struct {
	metric
	desc *prometheus.Desc
}

func newCollector(s Sources) *collector {
	c := &collector{sources: s}
	for _, m := range present(s) {
		c.metrics = append(c.metrics, described{m, prometheus.NewDesc(m.name, m.help, m.labels, nil)})
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	now := take(c.sources)
	for _, m := range c.metrics {
		if m.histogram != nil {
			ch <- histogram(m.desc, m.histogram(&now))
			continue
		}
		m.read(&now, func(value float64, labels ...string) {
			for i := range labels {
				labels[i] = label(labels[i])
			}
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
		})
	}
}

// label gives a label's value, which a sender may have made, a form that the
// library takes and that no two values share: what is no UTF-8 is quoted, and
// so is what begins like a quoted one.
func label(s string) string {
	if utf8.ValidString(s) && !strings.HasPrefix(s, `"`) {
		return s
	}
	return strconv.QuoteToASCII(s)
}

// histogram gives a store's histogram, whose buckets count for themselves, as
// the library wants it: each bucket counts those below it, too.
func histogram(d *prometheus.Desc, h streams.Histogram) prometheus.Metric {
	buckets := make(map[float64]uint64, len(h.Bounds))
	var n uint64
	for i, count := range h.Counts {
		n += uint64(count)
		if i < len(h.Bounds) {
			buckets[h.Bounds[i]] = n
		}
	}
	return prometheus.MustNewConstHistogram(d, n, h.Sum, buckets)
}

// A snapshot is what the sources say at one scrape.
type snapshot struct {
	forward  forward.Stats
	streams  streams.Stats
	policies policies.Stats
	arrays   arrays.Stats
	http     httpapi.Stats
	jobs     Jobs
	lake     lake.Stats
	retained map[string]Retention
	deployed []deploy.Status
	version  string
}

func take(s Sources) snapshot {
	now := snapshot{version: s.Version}
	ask(&now.forward, s.Forward)
	ask(&now.streams, s.Streams)
	ask(&now.policies, s.Policies)
	ask(&now.arrays, s.Arrays)
	ask(&now.http, s.HTTP)
	ask(&now.jobs, s.Jobs)
	ask(&now.lake, s.Lake)
	ask(&now.retained, s.Retention)
	ask(&now.deployed, s.Deployments)
	return now
}

func ask[T any](to *T, source func() T) {
	if source != nil {
		*to = source()
	}
}
