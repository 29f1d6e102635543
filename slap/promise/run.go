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
)

// A check is one promise to run.
type check struct {
	name, path string
	plugin     bool
}

func (c check) title() string {
	// Python's splitext leaves leading dots alone.
	name := strings.TrimLeft(c.name, ".")
	return c.name[:len(c.name)-len(filepath.Ext(name))]
}

// run runs plugins and executables within the bound.
func run(ctx context.Context, o Options) (Summary, error) {
	checks, err := o.checks()
	if err != nil {
		return Summary{}, err
	}
	results := make([]*Result, len(checks))
	slots := make(chan struct{}, o.Parallel)
	var all sync.WaitGroup
	for i, c := range checks {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() == nil {
				results[i] = o.run(ctx, c)
			}
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return Summary{}, fmt.Errorf("promise: %s: %w", o.ID, err)
	}
	var s Summary
	for _, r := range results {
		if r == nil || r.Former {
			s.Skipped++
		}
		if r != nil {
			s.Results = append(s.Results, *r)
		}
	}
	return s, nil
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
			if o.Only != nil && !slices.Contains(o.Only, c.name) {
				continue
			}
			list = append(list, c)
		}
	}
	return list, nil
}
