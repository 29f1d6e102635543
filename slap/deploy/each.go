package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"
)

// spread begins to keep an instance on each computer that comes to be known.
// An instance that was begun is kept, also when the master lists its computer
// no more: it may be back.
func (d *Deployer) spread(ctx context.Context, i *item, all *sync.WaitGroup) {
	begun := map[string]bool{}
	for pause := min(time.Second, d.o.Every); ctx.Err() == nil; pause = min(2*pause, d.o.Every) {
		computers, err := d.where(ctx, i.Deployment)
		if ctx.Err() != nil {
			return
		}
		for _, c := range computers {
			if !begun[c] {
				begun[c] = true
				one := d.add(i.on(c))
				all.Go(func() { d.keep(ctx, one) })
			}
		}
		s := i.Deployment.status()
		switch {
		case len(begun) > 0:
			s.Phase = Allocated
		case err != nil:
			s.Phase, s.Error = Failed, err.Error()
		}
		d.note(i, s)
		d.sleep(ctx, pause)
	}
}

// where gives the computers on each of which there is to be an instance.
func (d *Deployer) where(ctx context.Context, v Deployment) (list []string, err error) {
	if len(v.Computers) > 0 {
		return v.Computers, nil
	}
	err = d.o.Work(v.Policy, func() error {
		computers, err := d.o.Client.Computers(ctx)
		for _, c := range computers {
			list = append(list, c.Reference)
		}
		return err
	})
	if err == nil && len(list) == 0 {
		err = errors.New("deploy: the master lists no computer yet")
	}
	return list, err
}

// on is the deployment on one computer.
func (v Deployment) on(computer string) Deployment {
	one := v
	one.Each, one.Computers, one.Reference = false, nil, fmt.Sprintf("%s-%s", v.Reference, computer)
	if one.Filter = maps.Clone(v.Filter); one.Filter == nil {
		one.Filter = map[string]string{}
	}
	one.Filter["computer_guid"] = computer
	return one
}
