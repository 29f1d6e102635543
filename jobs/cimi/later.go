package cimi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"weir/jobs"
)

// What the engine that came after SlipStream's asks for beside.

// timeout gives a running job up, for an administrator who waited long enough.
func (s *Service) timeout(ctx context.Context, who caller, id string) (jobs.Job, error) {
	if !who.admin {
		return jobs.Job{}, &refusal{status: 403, message: who.name + " may not time out " + id, id: id}
	}
	return s.o.Store.TimeOut(ctx, id)
}

// context gives the documents that a job's action needs in one answer, by their
// ids: the job, its parent, its children, and the jobs that it is about, as far
// as the caller may see them.
func (s *Service) context(ctx context.Context, who caller, j jobs.Job) (Response, error) {
	ids := append([]string{j.ID, j.Parent}, j.Nested...)
	for _, r := range j.Affected {
		ids = append(ids, r.Href)
	}
	children, err := s.o.Store.Query(jobs.Query{Filters: []string{"parentJob='" + j.ID + "'"}}, nil)
	if err != nil {
		return Response{}, err
	}
	for _, c := range children.Jobs {
		ids = append(ids, c.ID)
	}
	out := map[string]any{}
	for _, id := range ids {
		d, err := s.o.Store.Get(ctx, id)
		if err != nil {
			if own, ok := s.derivedJob(id); ok {
				d, err = own, nil
			}
		}
		if err == nil && who.sees(&d) {
			out[id] = s.show(who, d, nil)
		}
	}
	return done(out)
}

// bulkDelete forgets the jobs that a filter matches.
func (s *Service) bulkDelete(ctx context.Context, who caller, r Request) (Response, error) {
	if !who.admin {
		return Response{}, &refusal{status: 403, message: who.name + " may not delete jobs in bulk", id: "job"}
	}
	fields, err := form(r)
	if err != nil {
		return Response{}, err
	}
	if strings.TrimSpace(strings.Join(fields["filter"], "")) == "" {
		return Response{}, &refusal{status: 400, message: "a bulk delete needs a filter, such as state='SUCCESS'", id: "job"}
	}
	deleted := 0
	for {
		page, err := s.o.Store.Query(jobs.Query{Filters: fields["filter"], Visible: who.sees}, nil)
		if err != nil {
			return Response{}, err
		}
		gone := 0
		for _, j := range page.Jobs {
			err := s.o.Store.Delete(ctx, j.ID)
			if err != nil && !errors.Is(err, jobs.ErrNotFound) {
				return Response{}, fmt.Errorf("%d jobs are deleted: %w", deleted+gone, err)
			}
			gone++
		}
		if deleted += gone; gone < jobs.MaxPage {
			return done(map[string]any{"total": deleted, "deleted": deleted, "failures": []string{}})
		}
	}
}

// bulk tells whether a request is about many jobs at once.
func (r Request) bulk() bool { return r.Method == http.MethodDelete && r.Bulk != "" }
