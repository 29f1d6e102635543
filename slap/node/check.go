package node

import (
	"context"
	"errors"

	"weir/slap"
	"weir/slap/promise"
)

// Promises checks the promises of partitions that are started, and tells the
// master of those that fail. Nothing else is done.
func (n *Node) Promises(ctx context.Context, r Run) (Outcome, error) {
	if err := n.prepare(); err != nil {
		return Outcome{}, err
	}
	computer, err := n.client.Computer(ctx, n.c.Computer)
	if isOffline(err) {
		return Outcome{Offline: true}, err
	}
	if err != nil {
		return Outcome{}, err
	}
	partitions, err := choose(computer.Partitions, r.Only)
	if err != nil {
		return Outcome{}, err
	}
	o, lost := n.each(ctx, partitions, max(1, r.Parallel), func(ctx context.Context, p slap.Partition) result {
		if p.State != slap.Started {
			return result{}
		}
		t, err := n.open(p)
		if err != nil {
			return result{err: err}
		}
		defer t.close()
		err = t.promises(ctx)
		if ctx.Err() != nil {
			return result{err: ctx.Err()}
		}
		var broken *promise.Error
		return result{err: errors.Join(err, t.news(ctx, err)), promise: errors.As(err, &broken), worked: true}
	})
	o.Offline = lost != nil
	return o, ctx.Err()
}
