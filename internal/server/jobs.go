package server

import (
	"context"
	"errors"

	"weir/jobs"
	"weir/jobs/cimi"
)

// startJobs opens the job resources and starts the derived work: transforms
// follow from the streams, so they are not kept, and made again at each start.
func (s *Server) startJobs() (_ func(context.Context) error, err error) {
	if s.resources, err = jobs.OpenStore(jobs.StoreOptions{Streams: s.streams, Log: s.log}); err != nil {
		return nil, err
	}
	s.jobs = jobs.New(jobs.Options{Log: s.log})
	if err := s.defineTransform(); err != nil {
		return nil, errors.Join(err, s.resources.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	changes := s.streams.Changes()
	s.serve("following the streams", nil, func() error { return s.follow(ctx, changes) })
	return func(stopping context.Context) error {
		cancel()
		return errors.Join(s.jobs.Close(stopping), s.resources.Close())
	}, nil
}

// jobService answers the requests of job engines.
func (s *Server) jobService() *cimi.Service {
	o := cimi.Options{Store: s.resources, Derived: s.jobs}
	for _, u := range s.conf.Jobs.Users {
		o.Users = append(o.Users, cimi.User{Name: u.Username, Password: u.Password.Value(), Admin: u.Admin})
	}
	return cimi.NewService(o)
}
