package metrics

import "weir/jobs"

// Jobs is what the job engine says.
type Jobs struct {
	Derived jobs.Stats      // weir's own work
	Kept    jobs.StoreStats // the jobs that somebody made
}

func ofJobs() []metric {
	return []metric{
		{name: "weir_jobs", kind: gauge, labels: []string{"state"}, help: "Job resources that are kept, by state.",
			read: each(func(s *snapshot) map[jobs.State]int64 { return s.jobs.Kept.Jobs }, self)},
		{name: "weir_job_entries", kind: gauge, help: "Entries of the embedded queue.",
			read: one(func(s *snapshot) int64 { return s.jobs.Kept.Entries })},
		{name: "weir_job_entries_taken", kind: gauge, help: "Entries of the embedded queue that are taken.",
			read: one(func(s *snapshot) int64 { return s.jobs.Kept.Taken })},
		{name: "weir_job_derived_queued", kind: gauge, help: "Derived jobs, such as transforms, that wait for a worker.",
			read: one(func(s *snapshot) int64 { return s.jobs.Derived.Queued })},
		{name: "weir_job_derived_failed", kind: gauge, help: "Derived jobs whose last run failed; they are tried again.",
			read: one(func(s *snapshot) int64 { return s.jobs.Derived.Failed })},
		{name: "weir_job_derived_steps_total", kind: counter, help: "Steps of derived jobs.",
			read: one(func(s *snapshot) int64 { return s.jobs.Derived.Steps })},
		{name: "weir_job_derived_failures_total", kind: counter, help: "Steps of derived jobs that failed.",
			read: one(func(s *snapshot) int64 { return s.jobs.Derived.Failures })},
	}
}
