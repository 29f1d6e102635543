package metrics

// Retention counts, of a policy, bytes of its streams.
type Retention struct {
	Trimmed int64 // given up since the start
	Held    int64 // beyond the limit at the last look, and needed by an array
}

func ofRetention() []metric {
	byPolicy := []string{"policy"}
	retained := func(s *snapshot) map[string]Retention { return s.retained }
	return []metric{
		{name: "weir_retention_trimmed_bytes_total", kind: counter, labels: byPolicy, help: "Bytes of a policy's streams that were given up by its retention.",
			read: each(retained, func(r Retention) int64 { return r.Trimmed })},
		{name: "weir_retention_held_bytes", kind: gauge, labels: byPolicy, help: "Bytes beyond a policy's retention that stay because an array has not decoded them.",
			read: each(retained, func(r Retention) int64 { return r.Held })},
	}
}
