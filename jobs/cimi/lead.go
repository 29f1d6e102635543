package cimi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"weir/jobs"
)

// askAgain is how often a distributor that does not lead asks whether it does.
const askAgain = time.Second

// Lead implements jobs.Elector: the gateway says who leads.
func (r *Remote) Lead(ctx context.Context, action, _ string) (jobs.Term, error) {
	for {
		id, err := r.session(ctx)
		if err != nil {
			return nil, fmt.Errorf("cimi: lead %s: %w", action, err)
		}
		var a leadAnswer
		err = r.o.Client.do(ctx, http.MethodPost, id+"/lead", "application/json", encode(entryRequest{Action: action}), &a)
		if errors.Is(err, jobs.ErrNotFound) {
			r.replace(id)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cimi: lead %s: %w", action, err)
		}
		r.mu.Lock()
		over, same := r.over, r.id == id
		r.mu.Unlock()
		if a.Leads && same {
			return &remoteTerm{r: r, id: id, action: action, over: over}, nil
		}
		sleep(ctx, askAgain)
	}
}

// A remoteTerm lasts as long as the session.
type remoteTerm struct {
	r          *Remote
	id, action string
	over       chan struct{}
}

// Lost implements jobs.Term.
func (t *remoteTerm) Lost() <-chan struct{} { return t.over }

// Resign implements jobs.Term.
func (t *remoteTerm) Resign(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatTime)
	defer cancel()
	err := t.r.o.Client.do(ctx, http.MethodPost, t.id+"/resign", "application/json", encode(entryRequest{Action: t.action}), nil)
	if errors.Is(err, jobs.ErrNotFound) {
		return nil // it went with the session
	}
	return err
}
