package cimi

import (
	"bytes"
	"context"
	"net/http"
)

// executors answers below /api/executor, for administrators.
func (s *Service) executors(_ context.Context, who caller, r Request, rest string) (Response, error) {
	if !who.admin {
		return Response{}, &refusal{status: 403, message: who.name + " may not see executors"}
	}
	switch {
	case rest == "stacks":
		if err := only(r, http.MethodGet, http.MethodHead); err != nil {
			return Response{}, err
		}
		var text bytes.Buffer
		if s.o.Stacks != nil {
			s.o.Stacks(&text)
		}
		return Response{Status: 200, Text: true, Body: text.Bytes()}, nil
	}
	return Response{}, &refusal{status: 404, message: "there is no executor " + rest}
}
