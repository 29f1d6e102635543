package server

import (
	"context"

	"weir/lake"
)

// startLake opens the data lake, where the configuration asks for one.
func (s *Server) startLake() (_ func(context.Context) error, err error) {
	if s.conf.Lake.Policy == "" {
		return nil, nil
	}
	if s.lake, err = lake.Open(lake.Options{Streams: s.streams, PartAge: s.conf.Lake.PartAge, RemovedAge: s.conf.Lake.RemovedAge, Log: s.log}); err != nil {
		return nil, err
	}
	return func(context.Context) error { return s.lake.Close() }, nil
}

// lakeStats counts what the data lake has; nil without one.
func (s *Server) lakeStats() func() lake.Stats {
	if s.lake == nil {
		return nil
	}
	return s.lake.Stats
}
