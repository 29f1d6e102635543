package metrics

import "weir/jobs"

// Jobs is what the job engine says.
type Jobs struct {
	Derived jobs.Stats      // weir's own work
	Kept    jobs.StoreStats // the jobs that somebody made
	// Executors are those that are heard, and ExecutorsLost counts those that
	// were not any more.
	Executors     []jobs.ExecutorStatus
	ExecutorsLost int64
}

// executorsBy sums what the executors of each kind of queue say.
func executorsBy(of func(jobs.ExecutorStatus) int64) func(*snapshot) map[string]int64 {
	return func(s *snapshot) map[string]int64 {
		sums := map[string]int64{"embedded": 0, "api": 0, "zookeeper": 0, "pull": 0}
		for _, x := range s.jobs.Executors {
			sums[x.Queue] += of(x)
		}
		return sums
	}
}

func ofJobs() []metric {
	return []metric{
		{name: "weir_jobs", kind: gauge, labels: []string{"state"}, help: "Job resources that are kept, by state.",
			read: each(func(s *snapshot) map[jobs.State]int64 { return s.jobs.Kept.Jobs }, self)},
		{name: "weir_job_entries", kind: gauge, help: "Entries of the embedded queue.",
			read: one(func(s *snapshot) int64 { return s.jobs.Kept.Entries })},
		{name: "weir_job_entries_taken", kind: gauge, help: "Entries of the embedded queue that are taken.",
			read: one(func(s *snapshot) int64 { return s.jobs.Kept.Taken })},
		{name: "weir_job_oldest_seconds", kind: gauge, help: "For how long the oldest job that is QUEUED has waited.",
			read: one(func(s *snapshot) int64 { return s.jobs.Kept.Oldest })},
		{name: "weir_job_executors", kind: gauge, labels: []string{"queue"}, help: "Executors that are heard, by where they take jobs.",
			read: each(executorsBy(func(jobs.ExecutorStatus) int64 { return 1 }), self)},
		{name: "weir_job_threads", kind: gauge, labels: []string{"queue"}, help: "Threads of the executors that are heard.",
			read: each(executorsBy(func(x jobs.ExecutorStatus) int64 { return int64(x.Threads) }), self)},
		{name: "weir_job_threads_busy", kind: gauge, labels: []string{"queue"}, help: "Threads that run a job.",
			read: each(executorsBy(func(x jobs.ExecutorStatus) int64 { return int64(len(x.Running)) }), self)},
		{name: "weir_job_executors_lost_total", kind: counter, help: "Executors in other processes that were not heard in time.",
			read: one(func(s *snapshot) int64 { return s.jobs.ExecutorsLost })},
		{name: "weir_job_derived_queued", kind: gauge, help: "Derived jobs, such as transforms, that wait for a worker.",
			read: one(func(s *snapshot) int64 { return s.jobs.Derived.Queued })},
		{name: "weir_job_derived_failed", kind: gauge, help: "Derived jobs whose last run failed; they are tried again.",
			read: one(func(s *snapshot) int64 { return s.jobs.Derived.Failed })},
		{name: "weir_job_derived_steps_total", kind: counter, help: "Steps of derived jobs.",
			read: one(func(s *snapshot) int64 { return s.jobs.Derived.Steps })},
		{name: "weir_job_derived_late_total", kind: counter, help: "Steps of derived jobs that began more than 100 ms after what woke them.",
			read: one(func(s *snapshot) int64 { return s.jobs.Derived.Late })},
		{name: "weir_job_derived_failures_total", kind: counter, help: "Steps of derived jobs that failed.",
			read: one(func(s *snapshot) int64 { return s.jobs.Derived.Failures })},
	}
}
