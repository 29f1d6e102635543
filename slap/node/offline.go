package node

import (
	"context"
	"errors"
	"slices"
	"strings"

	"weir/slap"
	"weir/slap/requested"
	"weir/slap/supervise"
)

// offline starts what should run and does not, without the master, and takes
// nothing down. What should run is what the supervisor has, and what the master
// said last and was brought about; but for what it said last to be stopped.
func (n *Node) offline(ctx context.Context, why error) (Outcome, error) {
	a := n.recall()
	said := "unknown"
	if a != nil {
		said = a.at.UTC().Format("2006-01-02 15:04:05")
	}
	n.log.Error("the master cannot be asked; what should run is started, all else stays as it is", "error", why, "last answer", said)
	o := Outcome{Offline: true}
	c, err := n.supervisor(ctx, false)
	if err != nil {
		return o, err
	}
	groups := map[string][]string{}
	if c != nil {
		states, err := c.Status(ctx)
		if err != nil {
			return o, err
		}
		for _, s := range states {
			if !strings.HasSuffix(s.Group, prermSuffix) {
				groups[s.Group] = append(groups[s.Group], s.Name)
			}
		}
	}
	for group, names := range groups {
		if state := a.state(group); state != "" && state != slap.Started {
			n.log.Info("not started: the master said last that it is to be otherwise", "partition", group, "state", state)
			continue
		}
		err = errors.Join(err, n.startOffline(ctx, c, group, names))
	}
	return o, errors.Join(err, n.startAnswered(ctx, a, groups))
}

// startOffline starts a group but for what the partition wants stopped.
func (n *Node) startOffline(ctx context.Context, c *supervise.Client, group string, names []string) error {
	f, err := openFolder(n.c.Instances, group)
	if err != nil {
		n.log.Error("partition", "partition", group, "error", err)
		return nil
	}
	defer f.close()
	if state := f.text(oldStateName); state == slap.Stopped || state == slap.Destroyed {
		n.log.Info("not started: an older slapos has stopped it", "partition", group)
		return nil
	}
	plan := requested.Make(requested.Place{Root: f.root, ID: group, UID: uint32(f.uid)}, true, names, n.now())
	var start []string
	for _, name := range names {
		if !slices.Contains(plan.Stopped, name) {
			start = append(start, group+":"+name)
		}
	}
	if len(start) == 0 {
		return nil
	}
	_, err = c.Start(ctx, start...)
	return err
}

// startAnswered starts the partitions that the supervisor does not know, and
// that were processed as the master's last answer wants them.
func (n *Node) startAnswered(ctx context.Context, a *answer, known map[string][]string) (err error) {
	if a == nil {
		return nil
	}
	for _, p := range a.Partitions {
		if p.State != slap.Started || known[p.Name] != nil {
			continue
		}
		err = errors.Join(err, n.startKept(ctx, slap.Partition{
			Place: slap.Place{Computer: n.c.Computer, Partition: p.Name}, State: p.State, Software: p.Software, Timestamp: p.Timestamp, Title: p.Title,
		}))
	}
	return err
}

// startKept starts one partition, if its last processing succeeded.
func (n *Node) startKept(ctx context.Context, p slap.Partition) error {
	t, err := n.open(p)
	if errors.Is(err, ErrRunning) {
		return nil // whoever works on it starts it
	}
	if err != nil {
		n.log.Error("partition", "partition", p.Place.Partition, "error", err)
		return nil
	}
	defer t.close()
	if t.p.Timestamp == "" || t.f.text(timestampName) != t.p.Timestamp {
		return nil
	}
	t.log.Info("started by the master's last answer")
	return t.startProcesses(ctx)
}
