package cimi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"weir/jobs"
)

// A logEntry is what an executor adds to a job's log.
type logEntry struct {
	Attempt int      `json:"attempt"`
	Lines   []string `json:"lines"`
}

// log answers for the log of a job: lines from a number on by GET, more of
// them by POST.
func (s *Service) log(ctx context.Context, who caller, r Request, j jobs.Job, derived bool) (Response, error) {
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		fields, err := form(r)
		if err != nil {
			return Response{}, err
		}
		from, err := strconv.ParseInt("0"+fields.Get("from"), 10, 64)
		if err != nil {
			return Response{}, &refusal{status: 400, message: "from=" + fields.Get("from") + " is no number of a line", id: j.ID}
		}
		if derived {
			l, _ := s.o.Derived.Logs(j.ID, from)
			return done(l)
		}
		l, err := s.o.Store.Logs(ctx, j.ID, from)
		if err != nil {
			return Response{}, err
		}
		return done(l)
	case r.Method == http.MethodPost && !derived:
		if !who.changes(&j) {
			return Response{}, &refusal{status: 403, message: who.name + " may not change " + j.ID, id: j.ID}
		}
		var e logEntry
		if err := readJSON(r, &e); err != nil {
			return Response{}, err
		}
		if err := s.o.Store.Log(ctx, j.ID, e.Attempt, e.Lines); err != nil {
			return Response{}, err
		}
		return done(map[string]any{"status": 200, "message": "lines added", "resource-id": j.ID})
	}
	return Response{}, only(r, http.MethodGet, http.MethodHead, http.MethodPost)
}

// readJSON reads a body that is one JSON value of a known form.
func readJSON(r Request, v any) error {
	if err := jsonBody(r); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(r.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return &refusal{status: 400, message: "the body is not what is expected here: " + err.Error()}
	}
	return nil
}

// Log implements jobs.Logger. A server that keeps no logs is asked once.
func (c *Client) Log(ctx context.Context, id string, attempt int, lines []string) error {
	if !c.attempts.Load() { // SlipStream's server
		return nil
	}
	return c.do(ctx, http.MethodPost, id+"/log", "application/json", encode(logEntry{attempt, lines}), nil)
}

// Queue tells where the server's queue is: hosts of ZooKeeper, or the server
// itself, when it lends its entries. A server of SlipStream tells neither.
func (c *Client) Queue(ctx context.Context) (hosts []string, lends bool, err error) {
	var e struct{ Queue *struct{ Hosts []string } }
	if err = c.do(ctx, http.MethodGet, "cloud-entry-point", "", nil, &e); err != nil || e.Queue == nil {
		return nil, false, err
	}
	return e.Queue.Hosts, len(e.Queue.Hosts) == 0, nil
}

// Executors lists the executors that the server hears.
func (c *Client) Executors(ctx context.Context) ([]jobs.ExecutorStatus, error) {
	var list struct{ Executors []jobs.ExecutorStatus }
	err := c.do(ctx, http.MethodGet, "executor", "", nil, &list)
	return list.Executors, err
}

// Stacks gives what each thread of the server does, as text.
func (c *Client) Stacks(ctx context.Context) ([]byte, error) {
	return c.text(ctx, "executor/stacks")
}

// Logs gives a job's log from a line's number on.
func (c *Client) Logs(ctx context.Context, id string, from int64) (jobs.Log, error) {
	var l jobs.Log
	err := c.do(ctx, http.MethodGet, id+"/log?from="+strconv.FormatInt(from, 10), "", nil, &l)
	return l, err
}
