package httpapi

import (
	"strconv"

	"weir/jobs"
)

// Jobs are the job resources that /api/job shows.
type Jobs interface {
	// List gives all jobs in a stable order.
	List() []jobs.Job
	// Get gives a job by its id, "job/UUID".
	Get(id string) (jobs.Job, bool)
}

// A jobCollection is the collection of CIMI.
type jobCollection struct {
	Count       int        `json:"count"` // before paging
	ID          string     `json:"id"`
	ResourceURI string     `json:"resourceURI"`
	ACL         struct{}   `json:"acl"`
	Operations  []struct{} `json:"operations"` // none yet: jobs are weir's own
	Jobs        []jobs.Job `json:"jobs"`
}

// jobsMost is the largest page of jobs.
const jobsMost = 10000

// listJobs answers with a page of the jobs: ?$first=, from 1, and ?$last=,
// inclusive.
func (r *request) listJobs() error {
	if r.s.Jobs == nil {
		return r.notFound()
	}
	all := r.s.Jobs.List()
	var err error
	first := r.number("$first", 1, &err)
	last := r.number("$last", min(int64(len(all)), first+jobsMost-1), &err)
	if err != nil {
		return err
	}
	if first < 1 || last < 0 || last-first >= jobsMost {
		return refuse(400, "bad-query", "$first=%d and $last=%d are no page of at most %s jobs", first, last, strconv.Itoa(jobsMost))
	}
	page := jobCollection{Count: len(all), ID: "job", ResourceURI: jobs.ResourceURI + "Collection",
		Operations: []struct{}{}, Jobs: []jobs.Job{}}
	from, to := min(first-1, int64(len(all))), min(last, int64(len(all)))
	if from < to {
		page.Jobs = all[from:to]
	}
	return r.json(page)
}

// readJob answers with one job.
func (r *request) readJob(id string) error {
	if r.s.Jobs == nil {
		return r.notFound()
	}
	job, ok := r.s.Jobs.Get(id)
	if !ok {
		return refuse(404, "not-found", "%s not found", id)
	}
	return r.json(job)
}
