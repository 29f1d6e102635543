package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/slap"
)

// A Run says how partitions are processed.
type Run struct {
	Force     bool     // also those that are up to date
	ForceStop bool     // processed, and then stopped; the master is told nothing
	Only      []string // partitions; empty is all
	Parallel  int      // 0 is what the configuration says
	Debug     bool     // buildout stops in Python's debugger, on this terminal; one partition at a time

	failures *failures // of runs before, nil for none
	snapshot *snapshot
	again    bool // of Report: nothing went in the round before

	usageEvery time.Duration // of Report: how often all are asked what they used; 0 is always
}

// Instance processes the computer's partitions. The error tells why nothing
// could be done at all; what failed with single partitions is in the outcome.
func (n *Node) Instance(ctx context.Context, r Run) (Outcome, error) {
	if err := n.prepare(); err != nil {
		return Outcome{}, err
	}
	r.snapshot = n.snapshot(ctx)
	defer func() { <-r.snapshot.taken }()
	computer, err := n.client.Computer(ctx, n.c.Computer)
	if isOffline(err) {
		return n.offline(ctx, err)
	}
	if err != nil {
		return Outcome{}, err
	}
	n.remember(computer)
	partitions, err := choose(computer.Partitions, r.Only)
	if err != nil {
		return Outcome{}, err
	}
	parallel := r.Parallel
	if parallel == 0 {
		parallel = n.c.Parallel
	}
	if r.Debug {
		parallel = 1
	}
	o, lost := n.each(ctx, partitions, parallel, func(ctx context.Context, p slap.Partition) result {
		if r.failures.spare(p, n.now()) {
			return result{}
		}
		v := n.process(ctx, p, r)
		r.failures.note(p, v, n.now())
		return v
	})
	if lost != nil {
		return n.offline(ctx, lost)
	}
	return o, ctx.Err()
}

// isOffline: the master is away or in trouble, so nothing it says is known.
func isOffline(err error) bool {
	return errors.Is(err, slap.ErrUnreachable) || errors.Is(err, slap.ErrServer)
}

// choose takes the partitions that are asked for, in the master's order.
func choose(all []slap.Partition, only []string) ([]slap.Partition, error) {
	if len(only) == 0 {
		return all, nil
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Place.Partition)
	}
	if err := unknown("partition", only, names); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(all), func(p slap.Partition) bool { return !slices.Contains(only, p.Place.Partition) }), nil
}

// A result is what came of one partition.
type result struct {
	err     error // nil, or why it is not as it should be
	promise bool  // only a promise failed
	worked  bool  // it was processed, not skipped
}

// each does something with all partitions, several at a time. It ends early
// only when the master is lost, which is the error.
func (n *Node) each(ctx context.Context, list []slap.Partition, parallel int, do func(context.Context, slap.Partition) result) (o Outcome, lost error) {
	ctx, lose := context.WithCancelCause(ctx)
	defer lose(nil)
	var all sync.WaitGroup
	var next atomic.Int64
	results := make([]result, len(list))
	for range min(max(1, parallel), len(list)) {
		all.Go(func() {
			for k := next.Add(1) - 1; k < int64(len(list)) && ctx.Err() == nil; k = next.Add(1) - 1 {
				if results[k] = do(ctx, list[k]); isOffline(results[k].err) {
					lose(results[k].err)
				}
			}
		})
	}
	all.Wait()
	if cause := context.Cause(ctx); isOffline(cause) {
		lost = cause
	}
	for k, p := range list {
		o.add(p, results[k])
	}
	return o, lost
}

func (o *Outcome) add(p slap.Partition, r result) {
	if r.worked {
		o.Done++
	}
	if r.err == nil {
		return
	}
	title := p.Title
	if title == "" {
		title = "(not ready)"
	}
	problem := Problem{Name: p.Place.Partition, Title: title, Text: r.err.Error()}
	if r.promise {
		o.Promises = append(o.Promises, problem)
	} else {
		o.Failed = append(o.Failed, problem)
	}
}

// process brings one partition to its state.
func (n *Node) process(ctx context.Context, p slap.Partition, r Run) result {
	if ctx.Err() != nil {
		return result{err: ctx.Err()}
	}
	t, err := n.open(p)
	if errors.Is(err, ErrRunning) {
		n.log.Info("another command works on it", "partition", p.Place.Partition)
		return result{}
	}
	if err != nil {
		if free(p) {
			return result{}
		}
		err = fmt.Errorf("partition %s: %w", p.Place.Partition, err)
		n.log.Error("partition cannot be processed", "partition", p.Place.Partition, "error", err)
		if errors.Is(err, errName) {
			return result{err: err, worked: true}
		}
		_, told := n.client.Report(ctx, n.place(p), slap.ReportError, err.Error())
		return result{err: errors.Join(err, onlyOffline(told)), worked: true}
	}
	defer t.close()
	if free(p) {
		return result{err: t.leave()}
	}
	if !r.Force && !r.ForceStop && t.upToDate() {
		return t.watch(ctx, r.snapshot)
	}
	return t.bring(ctx, r)
}

func onlyOffline(err error) error {
	if isOffline(err) {
		return err
	}
	return nil
}

// free tells whether a partition has no instance.
func free(p slap.Partition) bool { return p.State == slap.Destroyed && p.Software == "" }

// place is how the master is told of a partition.
func (n *Node) place(p slap.Partition) slap.Place {
	return slap.Place{Computer: n.c.Computer, Partition: p.Place.Partition}
}

// open takes a partition's lock and its folder.
func (n *Node) open(p slap.Partition) (*task, error) {
	name := p.Place.Partition
	if checkName(name) != nil || slices.Contains([]string{"etc", "var", "sv.sock"}, name) {
		return nil, fmt.Errorf("the master names a partition that cannot be one: %.100q is %w", name, errName)
	}
	for _, v := range []string{p.Software, p.State, p.Timestamp} {
		if strings.ContainsAny(v, "\n\r\x00") {
			return nil, errors.New("the master sends an URL, a state or a timestamp of several lines")
		}
	}
	lock, err := n.locks.take(n.state("lock", name))
	if err != nil {
		return nil, err
	}
	f, err := openFolder(n.c.Instances, name)
	if err != nil {
		lock.Release()
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("its folder is missing: weir node format makes it: %w", err)
		}
		return nil, err
	}
	t := &task{n: n, p: p, f: f, name: name, lock: lock, log: n.log.With("partition", name)}
	if p.Software != "" {
		t.release = n.releasePath(p.Software)
	}
	if mark, err := os.ReadFile(t.runFile()); err == nil {
		if k := killMarked(strings.TrimSpace(string(mark))); k > 0 {
			t.log.Warn("a run that was cut short had left processes, which are killed", "processes", k)
		}
		os.Remove(t.runFile())
	}
	if n.going(p) && (free(p) || p.State != slap.Destroyed) {
		// The master has freed it, and the removal was cut short.
		if err := t.empty(context.Background()); err != nil {
			t.close()
			return nil, err
		}
	}
	return t, nil
}
