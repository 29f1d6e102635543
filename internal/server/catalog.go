package server

import (
	"context"
	"fmt"

	"weir/catalog"
	"weir/streams"
)

// startCatalog opens the data supplies, products and ingestions, where a
// policy asks for them, and defines the supplies of the configuration.
func (s *Server) startCatalog() (_ func(context.Context) error, err error) {
	if !s.conf.HasCatalog() {
		return nil, nil
	}
	if s.catalog, err = catalog.Open(catalog.Options{Streams: s.streams, Started: s.resume, Log: s.log}); err != nil {
		return nil, err
	}
	stop := func(context.Context) error { return s.catalog.Close() }
	for _, v := range s.conf.Supplies {
		if _, err := s.catalog.Define(v.Supply()); err != nil {
			return nil, fmt.Errorf("server: supply %q: %w", v.Reference, joined(err, stop))
		}
	}
	return stop, nil
}

// joined stops what was started, since the start fails.
func joined(err error, stop func(context.Context) error) error {
	if stopErr := stop(context.Background()); stopErr != nil {
		return fmt.Errorf("%w; %w", err, stopErr)
	}
	return err
}

// held tells whether the ingestion of a stream is not started, so that nothing
// follows from its data.
func (s *Server) held(st *streams.Stream) bool {
	return s.catalog != nil && !s.catalog.Runs(st.Name())
}

// resume wakes the transforms of streams whose ingestion starts.
func (s *Server) resume(names []string) {
	for _, name := range names {
		if st, ok := s.streams.Stream(name); ok {
			if err := s.wake(st); err != nil {
				s.log.Error("the transform of a stream could not be resumed", "stream", name, "error", err)
			}
		}
	}
}
