package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"weir/slap"
	"weir/slap/supervise"
)

// prermSuffix ends the name of the group that runs a partition's etc/prerm.
const prermSuffix = "-prerm"

// Report asks the partitions what they used, tells the master, and removes the
// instances that are to be destroyed. Where a root waits for the rest of its
// tree, that goes first, in the same run.
func (n *Node) Report(ctx context.Context, r Run) (all Outcome, _ error) {
	if err := n.prepare(); err != nil {
		return Outcome{}, err
	}
	var before []Problem
	for asked := false; ; asked = true {
		computer, err := n.client.Computer(ctx, n.c.Computer)
		if err != nil {
			return all, err
		}
		partitions, err := choose(computer.Partitions, r.Only)
		if err != nil {
			return all, err
		}
		if !asked {
			safe, err := n.usage(ctx, partitions, r.usageEvery == 0 || n.usageDue(r.usageEvery))
			if isOffline(err) || ctx.Err() != nil {
				return all, err
			}
			if err != nil {
				n.log.Error("usage", "error", err)
				before = append(before, Problem{Name: "usage", Text: err.Error()})
			}
			if !safe {
				return Outcome{Failed: before}, nil
			}
		}
		var waiting, gone atomic.Int64
		o, lost := n.each(ctx, partitions, max(1, r.Parallel), func(ctx context.Context, p slap.Partition) result {
			if p.State != slap.Destroyed || free(p) && !n.going(p) {
				return result{}
			}
			return n.destroy(ctx, p, &waiting, &gone)
		})
		o.Done += all.Done
		o.Failed = slices.Concat(before, o.Failed)
		all = o
		if lost != nil || ctx.Err() != nil {
			return all, errors.Join(lost, ctx.Err())
		}
		// The master has had children destroyed for each that waits.
		if waiting.Load() == 0 || gone.Load() == 0 && r.again {
			return all, nil
		}
		r.again = gone.Load() == 0
	}
}

// going: the master was asked to free the partition, whose content may be
// there still.
func (n *Node) going(p slap.Partition) bool {
	_, err := os.Lstat(n.state("destroy", p.Place.Partition))
	return err == nil
}

// destroy removes an instance. The master is asked first: it may want the
// rest of a tree to go before its root. From then on a file of the agent tells
// that the content is to go, whatever is cut short.
func (n *Node) destroy(ctx context.Context, p slap.Partition, waiting, gone *atomic.Int64) result {
	t, err := n.open(p)
	if err != nil {
		n.log.Error("destroying failed", "partition", p.Place.Partition, "error", err)
		return result{err: err, worked: true}
	}
	defer t.close()
	if free(p) {
		return result{} // open has emptied it
	}
	t.log.Info("destroying", "title", p.Title)
	err = errors.Join(t.certificate(ctx), t.stop(ctx))
	if err == nil {
		err = t.tell(ctx, slap.ReportStopped, "")
	}
	if err == nil {
		err = t.destroy(ctx, waiting, gone)
	}
	if err != nil {
		t.log.Error("destroying failed", "error", err)
	}
	return result{err: err, worked: true}
}

func (t *task) destroy(ctx context.Context, waiting, gone *atomic.Int64) error {
	if wait, err := t.retained(); wait || err != nil {
		return err
	}
	if wait, err := t.prerm(ctx); wait || err != nil {
		return err
	}
	if err := t.destroyScript(ctx); err != nil {
		return err
	}
	if err := os.WriteFile(t.goingFile(), []byte(t.p.GUID+"\n"), 0o600); err != nil {
		return err
	}
	answer, err := t.n.client.Report(ctx, t.n.place(t.p), slap.ReportDestroyed, "")
	switch {
	case err != nil && !errors.Is(err, slap.ErrNotFound):
		if !isOffline(err) {
			os.Remove(t.goingFile())
		}
		return err
	case strings.HasPrefix(answer, "Not destroying"):
		waiting.Add(1)
		t.log.Info("the master wants others to be destroyed first", "answer", answer)
		return os.Remove(t.goingFile())
	}
	gone.Add(1)
	return t.empty(ctx)
}

func (t *task) goingFile() string { return t.n.state("destroy", t.name) }

// empty takes away what is left of an instance.
func (t *task) empty(ctx context.Context) error {
	c, err := t.n.supervisor(ctx, false)
	if err != nil {
		return err
	}
	if c != nil {
		if err := errors.Join(c.Remove(ctx, t.name), c.Remove(ctx, t.name+prermSuffix), t.n.forgetGroup(t.name), t.n.forgetGroup(t.name+prermSuffix)); err != nil {
			return err
		}
	}
	if err := t.f.clear(); err != nil {
		return err
	}
	if dir := t.n.c.Certificates; dir != "" {
		os.Remove(filepath.Join(dir, t.name+".crt"))
		os.Remove(filepath.Join(dir, t.name+".key"))
	}
	os.Remove(t.toldFile())
	return os.Remove(t.goingFile())
}

// retained tells whether the instance is to be kept for some time yet. The
// first time it notes until when.
func (t *task) retained() (bool, error) {
	days, err := strconv.ParseFloat(t.f.text(delayName), 64)
	if err != nil || days <= 0 || days != days {
		return false, nil
	}
	until, err := strconv.ParseFloat(t.f.text(dateName), 64)
	if err != nil {
		until = float64(t.n.now().UnixNano())/1e9 + min(days, 36500)*24*3600
		if err := t.f.write(dateName, []byte(strconv.FormatFloat(until, 'f', 6, 64)), 0o644); err != nil {
			return true, err
		}
	}
	if float64(t.n.now().UnixNano())/1e9 < until {
		t.log.Info("kept", "until", time.Unix(int64(until), 0).UTC())
		return true, nil
	}
	return false, nil
}

// prerm runs the scripts that an instance has for its end, once, and tells
// whether to wait: for one of these, or for what the file of names says.
func (t *task) prerm(ctx context.Context) (wait bool, _ error) {
	group := t.name + prermSuffix
	names, err := t.f.names("etc/prerm")
	if err != nil {
		return false, err
	}
	if len(names) > 0 && !t.f.exists(waitName) {
		if err := t.startPrerm(ctx, group, names); err != nil {
			return false, err
		}
	}
	waited := strings.Fields(t.f.text(waitName))
	if len(waited) == 0 {
		return false, nil
	}
	c, err := t.n.supervisor(ctx, false)
	if c == nil || err != nil {
		return false, err
	}
	states, err := c.Status(ctx, group+":*")
	if errors.Is(err, supervise.ErrUnknown) {
		return false, nil
	}
	for _, s := range states {
		if s.State.Runs() && slices.Contains(waited, s.Name) {
			t.log.Info("waiting for a script", "program", s.FullName())
			return true, nil
		}
	}
	return false, err
}

func (t *task) startPrerm(ctx context.Context, group string, names []string) error {
	if os.Geteuid() == 0 && (t.f.uid == 0 || t.f.gid == 0) {
		return ErrRoot
	}
	g := supervise.Group{Name: group}
	for _, name := range names {
		g.Programs = append(g.Programs, t.program(group, name, filepath.Join(t.f.path, "etc", "prerm", name)))
	}
	c, err := t.n.supervisor(ctx, true)
	if err != nil {
		return err
	}
	if err := t.apply(ctx, c, g); err != nil {
		return err
	}
	if _, err := c.Start(ctx, group+":*"); err != nil {
		return err
	}
	return t.f.write(waitName, []byte(strings.Join(names, "\n")), 0o644)
}

// destroyScript runs the instance's own sbin/destroy.
func (t *task) destroyScript(ctx context.Context) error {
	if info, err := t.f.root.Lstat("sbin/destroy"); err != nil || info.IsDir() {
		return nil
	}
	out := &tail{limit: maxErrorLog}
	if err := t.run(ctx, program{args: []string{filepath.Join(t.f.path, "sbin", "destroy")}, limit: t.n.c.PartitionTimeout, output: out}); err != nil {
		return fmt.Errorf("sbin/destroy: %w: %s", err, strings.TrimSpace(out.text()))
	}
	return nil
}
