package cimi

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"weir/jobs"
)

// Messages of executors in other processes.
type (
	// An openExecutor begins a session.
	openExecutor struct {
		jobs.ExecutorStatus
		Holds []jobs.Hold `json:"holds,omitempty"`
	}
	// An openedExecutor answers it: which session, how long it lives after a
	// heart-beat, in ms, and what it keeps of its holds.
	openedExecutor struct {
		ID    string   `json:"id"`
		Lease int64    `json:"lease"`
		Kept  []string `json:"kept,omitempty"`
	}
	// An entryRequest is about an entry that is asked for, or held.
	entryRequest struct {
		Token string `json:"token,omitempty"` // of a take
		Wait  int64  `json:"wait,omitempty"`  // for an entry, in ms
		Path  string `json:"path,omitempty"`  // of a consume and a release
		Pause int64  `json:"pause,omitempty"` // before it is offered again, in ms
		// Action is what a distributor wants to lead, or resigns from.
		Action string `json:"action,omitempty"`
	}
	// An entryAnswer is what a take got; an empty path is nothing.
	entryAnswer struct {
		Path string `json:"path"`
		ID   string `json:"id"`
	}
	// A leadAnswer tells whether the session leads.
	leadAnswer struct {
		Leads bool `json:"leads"`
	}
)

// maxWait is the longest wait of one take; an executor asks again.
const maxWait = 5 * time.Second

// executors answers below /api/executor, for administrators.
func (s *Service) executors(ctx context.Context, who caller, r Request, rest string) (Response, error) {
	if !who.admin {
		return Response{}, &refusal{status: 403, message: who.name + " may not see executors"}
	}
	id, operation, _ := strings.Cut(rest, "/")
	switch {
	case rest == "stacks":
		return s.stacks(r)
	case rest == "" && r.Method != http.MethodPost:
		return s.listExecutors(r)
	case s.o.Lender == nil:
		return Response{}, &refusal{status: 404, message: "this server lends no entries of its queue"}
	case rest == "":
		return s.openExecutor(ctx, r)
	}
	return s.executor(ctx, r, "executor/"+id, operation)
}

func (s *Service) stacks(r Request) (Response, error) {
	if err := only(r, http.MethodGet, http.MethodHead); err != nil {
		return Response{}, err
	}
	var text bytes.Buffer
	if s.o.Stacks != nil {
		s.o.Stacks(&text)
	}
	return Response{Status: 200, Text: true, Body: text.Bytes()}, nil
}

func (s *Service) listExecutors(r Request) (Response, error) {
	if err := only(r, http.MethodGet, http.MethodHead, http.MethodPost); err != nil {
		return Response{}, err
	}
	list := []jobs.ExecutorStatus{}
	if s.o.Local != nil {
		list = append(list, s.o.Local()...)
	}
	if s.o.Lender != nil {
		remote, _ := s.o.Lender.List()
		list = append(list, remote...)
	}
	return done(map[string]any{"count": len(list), "id": "executor", "executors": list})
}

func (s *Service) openExecutor(ctx context.Context, r Request) (Response, error) {
	var o openExecutor
	if err := readJSON(r, &o); err != nil {
		return Response{}, err
	}
	id, kept, err := s.o.Lender.Open(ctx, o.ExecutorStatus, o.Holds)
	if err != nil {
		return Response{}, err
	}
	return Response{Status: 201, Location: id, Body: encode(openedExecutor{id, s.o.Lender.Lease().Milliseconds(), kept})}, nil
}

// executor answers for one session.
func (s *Service) executor(ctx context.Context, r Request, id, operation string) (Response, error) {
	ok := map[string]any{"status": 200, "resource-id": id}
	if operation == "" {
		switch r.Method {
		case http.MethodDelete:
			s.o.Lender.Close(id)
			return done(ok)
		case http.MethodPut:
			var st jobs.ExecutorStatus
			if err := readJSON(r, &st); err != nil {
				return Response{}, err
			}
			if err := s.o.Lender.Beat(id, st); err != nil {
				return Response{}, err
			}
			return done(ok)
		}
		return Response{}, only(r, http.MethodPut, http.MethodDelete)
	}
	if err := only(r, http.MethodPost); err != nil {
		return Response{}, err
	}
	var e entryRequest
	if err := readJSON(r, &e); err != nil {
		return Response{}, err
	}
	var err error
	switch operation {
	case "take":
		return s.take(ctx, id, e)
	case "lead":
		leads, err := s.o.Lender.Lead(id, e.Action)
		if err != nil {
			return Response{}, err
		}
		return done(leadAnswer{leads})
	case "resign":
		err = s.o.Lender.Resign(id, e.Action)
	case "giveup":
		err = s.o.Lender.GiveUp(id, e.Token)
	case "consume":
		err = s.o.Lender.Consume(ctx, id, e.Path)
	case "release":
		err = s.o.Lender.Release(ctx, id, e.Path, time.Duration(e.Pause)*time.Millisecond)
	default:
		err = &refusal{status: 404, message: "unknown operation " + operation + "; there are take, giveup, consume, release, lead and resign"}
	}
	if err != nil {
		return Response{}, err
	}
	return done(ok)
}

// take lends an entry, or answers after a while that there is none.
func (s *Service) take(ctx context.Context, id string, e entryRequest) (Response, error) {
	if e.Token == "" {
		return Response{}, &refusal{status: 400, message: "a take needs a token, by which it can be asked for again"}
	}
	ctx, cancel := context.WithTimeout(ctx, min(max(0, time.Duration(e.Wait)*time.Millisecond), maxWait))
	defer cancel()
	l, err := s.o.Lender.Take(ctx, id, e.Token)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return done(entryAnswer{})
	}
	if err != nil {
		return Response{}, err
	}
	return done(entryAnswer{l.Path(), l.ID()})
}
