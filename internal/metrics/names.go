package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"weir/streams"
)

// A metric is one name.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
	read       func(*snapshot, emit)
	histogram  func(*snapshot) streams.Histogram
}

// emit gives one value and its labels' values.
type emit func(value float64, labels ...string)

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// one reads a single number.
func one(n func(*snapshot) int64) func(*snapshot, emit) {
	return func(s *snapshot, out emit) { out(float64(n(s))) }
}

// each reads a number for each key of a map.
func each[K ~string, V any](m func(*snapshot) map[K]V, n func(V) int64) func(*snapshot, emit) {
	return func(s *snapshot, out emit) {
		for key, v := range m(s) {
			out(float64(n(v)), string(key))
		}
	}
}

func self(n int64) int64 { return n }

// present lists the metrics of the sources that are there.
func present(s Sources) []metric {
	list := []metric{{name: "weir_build_info", kind: gauge, labels: []string{"version"},
		help: "Always 1; its label names the version of weir.",
		read: func(s *snapshot, out emit) { out(1, s.version) }}}
	if s.Streams != nil {
		list = append(list, ofStreams()...)
	}
	if s.Policies != nil {
		list = append(list, ofPolicies()...)
	}
	if s.Arrays != nil {
		list = append(list, ofArrays()...)
	}
	if s.Forward != nil {
		list = append(list, ofForward()...)
	}
	if s.HTTP != nil {
		list = append(list, ofHTTP()...)
	}
	if s.Jobs != nil {
		list = append(list, ofJobs()...)
	}
	if s.Lake != nil {
		list = append(list, ofLake()...)
	}
	if s.Retention != nil {
		list = append(list, ofRetention()...)
	}
	if s.Deployments != nil {
		list = append(list, ofDeployments()...)
	}
	return list
}

func ofStreams() []metric {
	return []metric{
		{name: "weir_streams", kind: gauge, help: "Streams in the store.",
			read: one(func(s *snapshot) int64 { return s.streams.Streams })},
		{name: "weir_stream_appends_total", kind: counter, help: "Appends that became durable.",
			read: one(func(s *snapshot) int64 { return s.streams.Records })},
		{name: "weir_stream_append_bytes_total", kind: counter, help: "Bytes that became durable in streams.",
			read: one(func(s *snapshot) int64 { return s.streams.Bytes })},
		{name: "weir_stream_duplicates_total", kind: counter, help: "Appends whose key had been seen; they were answered and not stored again.",
			read: one(func(s *snapshot) int64 { return s.streams.Duplicates })},
		{name: "weir_stream_refused_total", kind: counter, help: "Appends that were refused or failed; none was acknowledged.",
			read: one(func(s *snapshot) int64 { return s.streams.Refused })},
		{name: "weir_stream_commit_seconds", help: "Time of a group commit: one write and one fdatasync.",
			histogram: func(s *snapshot) streams.Histogram { return s.streams.CommitSeconds }},
		{name: "weir_stream_folded_bytes_total", kind: counter, help: "Bytes moved from the shared log to chunk files.",
			read: one(func(s *snapshot) int64 { return s.streams.FoldedBytes })},
		{name: "weir_stream_trimmed_bytes_total", kind: counter, help: "Bytes given up at the beginnings of streams.",
			read: one(func(s *snapshot) int64 { return s.streams.TrimmedBytes })},
		{name: "weir_stream_log_segments", kind: gauge, help: "Segments of the shared log.",
			read: one(func(s *snapshot) int64 { return s.streams.Segments })},
		{name: "weir_stream_keys", kind: gauge, help: "Append keys that are remembered to recognise repetitions.",
			read: one(func(s *snapshot) int64 { return s.streams.Keys })},
		{name: "weir_stream_appends_failing", kind: gauge, help: "1 while the store can take no appends, else 0.",
			read: one(func(s *snapshot) int64 { return flag(s.streams.Failed != "") })},
		{name: "weir_stream_fold_failing", kind: gauge, help: "1 while the shared log cannot be moved to chunk files and grows until the disk's reserve, else 0.",
			read: one(func(s *snapshot) int64 { return flag(s.streams.FoldFailed != "") })},
		{name: "weir_disk_free_bytes", kind: gauge, help: "Space left on the disk of the data folder.",
			read: one(func(s *snapshot) int64 { return s.streams.Free })},
		{name: "weir_recovery_clean", kind: gauge, help: "1 when the store had been closed in order before this start, else 0.",
			read: one(func(s *snapshot) int64 { return flag(s.streams.Recovery.Clean) })},
		{name: "weir_recovery_cut_bytes", kind: gauge, help: "Bytes of an unacknowledged commit that recovery cut off at this start.",
			read: one(func(s *snapshot) int64 { return s.streams.Recovery.CutBytes })},
		{name: "weir_recovery_quarantined_files", kind: gauge, help: "Damaged files that recovery set aside at this start.",
			read: one(func(s *snapshot) int64 { return int64(len(s.streams.Recovery.QuarantinedFiles)) })},
	}
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func ofPolicies() []metric {
	byPolicy := []string{"policy"}
	return []metric{
		{name: "weir_policy_batches_total", kind: counter, labels: byPolicy, help: "Batches that a policy kept, repeated ones included.",
			read: each(policyStats, batches)},
		{name: "weir_policy_records_total", kind: counter, labels: byPolicy, help: "Records that a policy kept, where their number is known.",
			read: each(policyStats, records)},
		{name: "weir_policy_bytes_total", kind: counter, labels: byPolicy, help: "Bytes that a policy kept.",
			read: each(policyStats, policyBytes)},
		{name: "weir_policy_duplicates_total", kind: counter, labels: byPolicy, help: "Batches of a policy that had been kept before.",
			read: each(policyStats, duplicates)},
		{name: "weir_policy_dead_letters_total", kind: counter, labels: byPolicy, help: "Parts of batches that went to the policy's dead letters.",
			read: each(policyStats, dead)},
		{name: "weir_refused_records_total", kind: counter, labels: []string{"reason"}, help: "Records refused or set aside, where their number is known.",
			read: each(refused, refusedRecords)},
		{name: "weir_refused_bytes_total", kind: counter, labels: []string{"reason"}, help: "Bytes refused or set aside.",
			read: each(refused, refusedBytes)},
		{name: "weir_unmatched_batches", kind: gauge, labels: []string{"tag"}, help: "Batches that no policy takes, for the most frequent tags.",
			read: each(func(s *snapshot) map[string]int64 { return s.policies.Unmatched }, self)},
	}
}

func ofArrays() []metric {
	return []metric{
		{name: "weir_array_groups", kind: gauge, help: "Groups of arrays in the store.",
			read: one(func(s *snapshot) int64 { return s.arrays.Groups })},
		{name: "weir_array_rows_total", kind: counter, help: "Rows that were published.",
			read: one(func(s *snapshot) int64 { return s.arrays.Rows })},
		{name: "weir_array_bytes_total", kind: counter, help: "Decoded bytes of the rows that were published.",
			read: one(func(s *snapshot) int64 { return s.arrays.Bytes })},
		{name: "weir_array_commits_total", kind: counter, help: "Publications: replacements of a group's zarr.json.",
			read: one(func(s *snapshot) int64 { return s.arrays.Commits })},
		{name: "weir_array_refused_ranges_total", kind: counter, labels: []string{"reason"}, help: "Ranges of streams that a decoder could not use.",
			read: each(func(s *snapshot) map[string]int64 { return s.arrays.RefusedByReason }, self)},
		{name: "weir_array_cache_bytes", kind: gauge, help: "Decoded chunks in memory.",
			read: one(func(s *snapshot) int64 { return s.arrays.CacheBytes })},
		{name: "weir_array_cache_hits_total", kind: counter, help: "Chunks that were found decoded in memory.",
			read: one(func(s *snapshot) int64 { return s.arrays.CacheHits })},
		{name: "weir_array_cache_misses_total", kind: counter, help: "Chunks that had to be decoded.",
			read: one(func(s *snapshot) int64 { return s.arrays.CacheMisses })},
	}
}

func ofForward() []metric {
	return []metric{
		{name: "weir_forward_connections", kind: gauge, help: "Open connections of the forward protocol.",
			read: one(func(s *snapshot) int64 { return s.forward.Connections })},
		{name: "weir_forward_connections_accepted_total", kind: counter, help: "Connections that were accepted.",
			read: one(func(s *snapshot) int64 { return s.forward.Accepted })},
		{name: "weir_forward_messages_total", kind: counter, labels: []string{"mode"}, help: "Messages kept, by carrier mode.",
			read: each(func(s *snapshot) map[string]int64 { return s.forward.Messages }, self)},
		{name: "weir_forward_records_total", kind: counter, help: "Entries of kept messages.",
			read: one(func(s *snapshot) int64 { return s.forward.Records })},
		{name: "weir_forward_bad_parts_total", kind: counter, help: "Parts of kept messages that are no entries; they went to the dead letters.",
			read: one(func(s *snapshot) int64 { return s.forward.Bad })},
		{name: "weir_forward_received_bytes_total", kind: counter, help: "Bytes of kept messages on the wire.",
			read: one(func(s *snapshot) int64 { return s.forward.Bytes })},
		{name: "weir_forward_inflated_bytes_total", kind: counter, help: "Bytes that came out of decompression.",
			read: one(func(s *snapshot) int64 { return s.forward.Inflated })},
		{name: "weir_forward_acks_total", kind: counter, help: "Acknowledgements written.",
			read: one(func(s *snapshot) int64 { return s.forward.Acks })},
		{name: "weir_forward_heartbeats_total", kind: counter, help: "Heartbeats answered.",
			read: one(func(s *snapshot) int64 { return s.forward.Heartbeats })},
		{name: "weir_forward_in_flight_bytes", kind: gauge, help: "Bytes that connections hold now.",
			read: one(func(s *snapshot) int64 { return s.forward.InFlight })},
		{name: "weir_forward_refused_messages_total", kind: counter, labels: []string{"reason"}, help: "Messages refused.",
			read: each(forwardRefused, refusedMessages)},
		{name: "weir_forward_refused_bytes_total", kind: counter, labels: []string{"reason"}, help: "Bytes of refused messages.",
			read: each(forwardRefused, refusedMessageBytes)},
		{name: "weir_forward_handshakes_failed_total", kind: counter, labels: []string{"reason"}, help: "Handshakes that failed.",
			read: each(func(s *snapshot) map[string]int64 { return s.forward.Handshakes }, self)},
	}
}

func ofHTTP() []metric {
	return []metric{
		{name: "weir_http_connections", kind: gauge, help: "Open connections of HTTP.",
			read: one(func(s *snapshot) int64 { return s.http.Connections })},
		{name: "weir_http_connections_rejected_total", kind: counter, help: "Connections refused because too many were open.",
			read: one(func(s *snapshot) int64 { return s.http.Rejected })},
		{name: "weir_http_refused_requests_total", kind: counter, labels: []string{"reason"},
			help: "Requests that brought data and were refused before they came to a policy.",
			read: each(func(s *snapshot) map[string]int64 { return s.http.Refused }, self)},
		{name: "weir_http_body_memory_bytes", kind: gauge, help: "Bytes of request bodies in memory.",
			read: one(func(s *snapshot) int64 { return s.http.BodyBytes })},
		{name: "weir_http_answers_total", kind: counter, labels: []string{"route", "class"},
			help: "Answers by route and class of status; requests that could not be read have an empty route.",
			read: answers},
	}
}

// answers gives the classes 1xx to 5xx of each route.
func answers(s *snapshot, out emit) {
	for route, classes := range s.http.Answers {
		for class := 1; class < len(classes); class++ {
			if n := classes[class]; n > 0 || class == 2 {
				out(float64(n), route, strconv.Itoa(class)+"xx")
			}
		}
	}
}
