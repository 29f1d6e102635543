package node

import (
	"context"
	"errors"
	"slices"
	"strings"

	"weir/slap/requested"
	"weir/slap/supervise"
)

// offline starts what should run and does not, without the master. Which
// partitions are to run is what the supervisor has: a partition that was
// stopped is not known to it.
func (n *Node) offline(ctx context.Context, why error) (Outcome, error) {
	n.log.Error("the master cannot be asked; what should run is started, all else stays as it is", "error", why)
	o := Outcome{Offline: true}
	c, err := n.supervisor(ctx, false)
	if c == nil || err != nil {
		return o, err
	}
	states, err := c.Status(ctx)
	if err != nil {
		return o, err
	}
	groups := map[string][]string{}
	for _, s := range states {
		if !strings.HasSuffix(s.Group, prermSuffix) {
			groups[s.Group] = append(groups[s.Group], s.Name)
		}
	}
	for group, names := range groups {
		err = errors.Join(err, n.startOffline(ctx, c, group, names))
	}
	return o, err
}

// startOffline starts a group but for what the partition wants stopped.
func (n *Node) startOffline(ctx context.Context, c *supervise.Client, group string, names []string) error {
	f, err := openFolder(n.c.Instances, group)
	if err != nil {
		n.log.Error("partition", "partition", group, "error", err)
		return nil
	}
	defer f.close()
	plan := requested.Make(requested.Place{Folder: f.path, ID: group, UID: uint32(f.uid)}, true, names, n.now())
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
