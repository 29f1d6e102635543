package promise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A check is one promise to run.
type check struct {
	name, path string
	plugin     bool
}

func (c check) title() string {
	// As Python parts names: leading dots are no ending.
	name := strings.TrimLeft(c.name, ".")
	return c.name[:len(c.name)-len(filepath.Ext(name))]
}

// run runs plugins and executables within the bound.
func run(ctx context.Context, o Options) (Summary, error) {
	checks, err := o.checks()
	if err != nil || len(checks) == 0 {
		return Summary{}, err
	}
	if err := o.prepare(); err != nil {
		return Summary{}, err
	}
	results := make([]*Result, len(checks))
	var plugins []check
	var places []int
	slots := make(chan struct{}, o.Parallel)
	var all sync.WaitGroup
	for i, c := range checks {
		former, run := o.due(c)
		switch {
		case !run:
			results[i] = former
		case c.plugin:
			plugins, places = append(plugins, c), append(places, i)
		default:
			all.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				if ctx.Err() == nil {
					results[i] = o.executable(ctx, c)
				}
			})
		}
	}
	if len(plugins) > 0 {
		all.Go(func() {
			for i, r := range o.plugins(ctx, plugins) {
				results[places[i]] = r
			}
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return Summary{}, fmt.Errorf("promise: %s: %w", o.ID, err)
	}
	return o.sum(checks, results), nil
}

// sum keeps the results, and tells failures.
func (o Options) sum(checks []check, results []*Result) Summary {
	var s Summary
	for i, r := range results {
		if r == nil || r.Former {
			s.Skipped++
		}
		if r == nil {
			continue
		}
		if !r.Former {
			o.save(*r)
			o.trim(checks[i])
		}
		if r.Failed {
			o.Log.Error("promise: failed", "partition", o.ID, "promise", r.Name, "message", r.Message)
		}
		s.Results = append(s.Results, *r)
	}
	return s
}

// due tells whether a promise is to be run now; if not, its last result is
// given, where there is one and it counts.
func (o Options) due(c check) (*Result, bool) {
	k, ok := o.known(c)
	if !ok {
		return nil, true
	}
	if o.Anomaly && !k.Anomaly || !o.Anomaly && !k.Tested {
		return nil, false // the promise is not for this mode
	}
	if o.Force || seconds(time.Now()) >= k.Next {
		return nil, true
	}
	r, ok := o.last(c)
	if !ok {
		return nil, false
	}
	r.Former = true
	return &r, false
}

// blank is a result that is still to come.
func (o Options) blank(c check) *Result {
	return &Result{Title: c.title(), Name: c.name, Path: c.path, Plugin: c.plugin, Date: time.Now().UTC().Truncate(time.Second)}
}

// checks lists the promises, plugins first, each sort by name.
func (o Options) checks() ([]check, error) {
	var list []check
	for _, d := range []struct {
		folder string
		plugin bool
	}{{"etc/plugin", true}, {"etc/promise", false}} {
		entries, err := os.ReadDir(filepath.Join(o.Partition, d.folder))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("promise: %s: %w", o.ID, err)
		}
		for _, e := range entries {
			c := check{e.Name(), filepath.Join(o.Partition, d.folder, e.Name()), d.plugin}
			if d.plugin && (!strings.HasSuffix(c.name, ".py") || strings.HasPrefix(c.name, "__init__")) {
				continue
			}
			if o.Only == nil || slices.Contains(o.Only, c.name) {
				list = append(list, c)
			}
		}
	}
	return list, nil
}
