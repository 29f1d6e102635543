package server

import (
	"context"
	"strings"

	"weir/arrays"
	"weir/jobs"
	"weir/slap/master"
	"weir/streams"
)

// transform is the action that brings a stream's group up to date.
const transform = "transform"

// target is how a stream is named as the target of a job.
const target = "streams/"

// defineTransform makes the action known. One run is one bounded step.
func (s *Server) defineTransform() error {
	return s.jobs.Define(jobs.Action{Name: transform, Run: func(ctx context.Context, name string) (bool, error) {
		st, ok := s.streams.Stream(strings.TrimPrefix(name, target))
		if !ok || s.held(st) {
			return false, nil
		}
		spec := s.arrayOf(st)
		if spec == nil {
			return false, nil
		}
		return s.arrays.Advance(ctx, st, *spec)
	}})
}

// arrayOf says what is built from a stream, nil for nothing: what its policy
// says, and the accounts of the own SLAP master.
func (s *Server) arrayOf(st *streams.Stream) *arrays.Spec {
	if st.Name() == master.AccountsStream {
		return accountsArray()
	}
	p, ok := s.router.Of(st)
	if !ok {
		return nil
	}
	return p.Array
}

// accountsArray has a column a field of the movements that nodes report.
func accountsArray() *arrays.Spec {
	const word, number = "category", "float64"
	return &arrays.Spec{Kind: "metrics", Columns: map[string]string{
		"computer": word, "partition": word, "resource": word, "title": word, "category": word,
		"transaction": word, "currency": word, "quantity": number, "price": number,
	}}
}

// wake queues the transform of a stream from which an array is built.
func (s *Server) wake(st *streams.Stream) error {
	if s.arrayOf(st) == nil || s.held(st) {
		return nil
	}
	return s.jobs.Wake(transform, target+st.Name())
}

// wakeAll queues the transforms of all streams, a page of names at a time: a
// crash may have come between an append and its transform.
func (s *Server) wakeAll(ctx context.Context) error {
	const page = 1000
	for after := ""; ctx.Err() == nil; {
		names := s.streams.Names("", after, page)
		if len(names) == 0 {
			break
		}
		for _, name := range names {
			if st, ok := s.streams.Stream(name); ok {
				if err := s.wake(st); err != nil {
					return err
				}
			}
		}
		after = names[len(names)-1]
	}
	return nil
}

// follow wakes the transforms of streams that grow, until the context ends.
func (s *Server) follow(ctx context.Context, changes *streams.Changes) error {
	defer changes.Close()
	if err := s.wakeAll(ctx); err != nil {
		return err
	}
	for {
		grown, err := changes.Next(ctx)
		if err != nil {
			return nil // the context ended, or the store was closed
		}
		for _, st := range grown {
			if err := s.wake(st); err != nil {
				return err
			}
		}
	}
}
