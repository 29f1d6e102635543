package cimi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"weir/jobs"
)

// stopRel is CIMI's name of the stop operation.
const stopRel = "http://schemas.dmtf.org/cimi/2/action/stop"

// collection answers for the jobs: a search by GET or PUT, a new one by POST.
func (s *Service) collection(ctx context.Context, who caller, r Request) (Response, error) {
	if r.Method == http.MethodPost {
		return s.add(ctx, who, r)
	}
	if r.bulk() {
		return s.bulkDelete(ctx, who, r)
	}
	if err := only(r, http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost); err != nil {
		return Response{}, err
	}
	fields, err := form(r)
	if err != nil {
		return Response{}, err
	}
	if fields.Has("aggregation") {
		return Response{}, &refusal{status: 400, message: "$aggregation is not offered; ask for the count with $last=0"}
	}
	page, err := s.o.Store.Query(jobs.Query{
		Filters: fields["filter"], OrderBy: fields["orderby"], First: fields.Get("first"), Last: fields.Get("last"),
		Visible: who.sees,
	}, s.derived())
	if err != nil {
		return Response{}, err
	}
	list := make([]any, len(page.Jobs))
	for i := range page.Jobs {
		list[i] = s.show(who, page.Jobs[i], fields["select"])
	}
	operations := []jobs.Operation{}
	if who.admin {
		operations = append(operations, jobs.Operation{Rel: "add", Href: "job"})
	}
	return done(struct {
		Count       int              `json:"count"`
		ID          string           `json:"id"`
		ResourceURI string           `json:"resourceURI"`
		ACL         struct{}         `json:"acl"`
		Operations  []jobs.Operation `json:"operations"`
		Jobs        []any            `json:"jobs"`
	}{page.Count, "job", jobs.ResourceURI + "Collection", struct{}{}, operations, list})
}

func (s *Service) derived() []jobs.Job {
	if s.o.Derived == nil {
		return nil
	}
	return s.o.Derived.List()
}

func (s *Service) add(ctx context.Context, who caller, r Request) (Response, error) {
	if !who.admin {
		return Response{}, &refusal{status: 403, message: who.name + " may not add jobs", id: "job"}
	}
	if err := jsonBody(r); err != nil {
		return Response{}, err
	}
	j, err := s.o.Store.Create(ctx, r.Body, who.owner())
	if err != nil {
		return Response{}, err
	}
	return created(j.ID), nil
}

// show gives a job with what the caller may do with it, or the selected
// attributes of it.
func (s *Service) show(who caller, j jobs.Job, selected []string) any {
	j.Operations = s.operations(who, &j)
	if len(selected) == 0 {
		return j
	}
	var names []string
	for _, list := range selected {
		for _, name := range strings.Split(list, ",") {
			name, _, _ = strings.Cut(strings.TrimSpace(name), "/")
			names = append(names, jobs.Camel(name))
		}
	}
	var all map[string]any
	if err := json.Unmarshal(encode(j), &all); err != nil {
		return j
	}
	for name := range all {
		if name != "id" && name != "resourceURI" && !slices.Contains(names, name) {
			delete(all, name)
		}
	}
	return all
}

func (s *Service) operations(who caller, j *jobs.Job) []jobs.Operation {
	if !who.changes(j) {
		return nil
	}
	var list []jobs.Operation
	_, derived := s.derivedJob(j.ID)
	if !derived {
		list = []jobs.Operation{{Rel: "edit", Href: j.ID}, {Rel: "delete", Href: j.ID}, {Rel: stopRel, Href: j.ID + "/stop"}}
	}
	if !j.State.Final() {
		list = append(list, jobs.Operation{Rel: "cancel", Href: j.ID + "/cancel"})
	}
	if who.admin && j.State == jobs.Running && !derived {
		list = append(list, jobs.Operation{Rel: "timeout", Href: j.ID + "/timeout"})
	}
	return list
}

func (s *Service) derivedJob(id string) (jobs.Job, bool) {
	if s.o.Derived == nil {
		return jobs.Job{}, false
	}
	return s.o.Derived.Get(id)
}

// resource answers for one job.
func (s *Service) resource(ctx context.Context, who caller, r Request, path string) (Response, error) {
	id, operation := path, ""
	if i := strings.LastIndexByte(path, '/'); i > len("job") {
		id, operation = path[:i], path[i+1:]
	}
	j, err := s.o.Store.Get(ctx, id)
	derived := false
	if err != nil {
		if j, derived = s.derivedJob(id); !derived {
			return Response{}, err
		}
		if operation == "cancel" && who.admin {
			j, err := s.o.Derived.Cancel(id)
			if err != nil {
				return Response{}, err
			}
			return done(s.show(who, j, nil))
		}
		if operation != "" && operation != "log" || r.Method != http.MethodGet && r.Method != http.MethodHead {
			return Response{}, &refusal{status: 405, message: id + " is weir's own job, which follows its stream; it can be read and cancelled", id: id, allow: "GET, HEAD"}
		}
	}
	if !who.sees(&j) {
		return Response{}, &refusal{status: 403, message: who.name + " may not see " + id, id: id}
	}
	if operation == "log" {
		return s.log(ctx, who, r, j, derived)
	}
	if operation == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		fields, err := form(r)
		if err != nil {
			return Response{}, err
		}
		return done(s.show(who, j, fields["select"]))
	}
	if operation == "get-context" {
		return s.context(ctx, who, j)
	}
	if !who.changes(&j) {
		return Response{}, &refusal{status: 403, message: who.name + " may not change " + id, id: id}
	}
	return s.operate(ctx, who, r, id, operation)
}

// operate changes a job.
func (s *Service) operate(ctx context.Context, who caller, r Request, id, operation string) (Response, error) {
	var j jobs.Job
	var err error
	switch {
	case operation == "stop":
		j, err = s.o.Store.Stop(ctx, id)
	case operation == "cancel":
		j, err = s.o.Store.Cancel(ctx, id)
	case operation == "timeout":
		j, err = s.timeout(ctx, who, id)
	case operation != "":
		err = &refusal{status: 404, message: "unknown operation " + operation + "; there are stop, cancel, timeout, get-context and log"}
	case r.Method == http.MethodDelete:
		if err := s.o.Store.Delete(ctx, id); err != nil {
			return Response{}, err
		}
		return done(map[string]any{"status": 200, "message": id + " deleted", "resource-id": id})
	case r.Method == http.MethodPut:
		j, err = s.edit(ctx, r, id)
	default:
		err = only(r, http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete)
	}
	if err != nil {
		return Response{}, err
	}
	return done(j)
}

func (s *Service) edit(ctx context.Context, r Request, id string) (jobs.Job, error) {
	if err := jsonBody(r); err != nil {
		return jobs.Job{}, err
	}
	fields, err := form(Request{Query: r.Query})
	if err != nil {
		return jobs.Job{}, err
	}
	var remove []string
	for _, list := range fields["select"] {
		for _, name := range strings.Split(list, ",") {
			remove = append(remove, jobs.Camel(strings.TrimSpace(name)))
		}
	}
	return s.o.Store.EditJSON(ctx, id, r.Body, remove...)
}
