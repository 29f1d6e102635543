package node

import (
	"context"
	"errors"
	"os"
	"time"

	"weir/slap"
	"weir/slap/supervise"
)

// Watchdog tells the master of services that ended, until the context ends:
// once after each processing of a partition that succeeded. It goes with the
// supervisor, so that it works while no other command does.
func (n *Node) Watchdog(ctx context.Context) {
	c, err := supervise.Dial(ctx, n.SupervisorDir())
	pause := time.Second
	for ctx.Err() == nil {
		if err == nil {
			err = n.watchOnce(ctx, c)
		} else {
			c, err = supervise.Dial(ctx, n.SupervisorDir())
		}
		switch {
		case err == nil:
			pause = time.Second
		case ctx.Err() != nil:
		case errors.Is(err, supervise.ErrAbsent): // it is not there yet, or no more
			sleep(ctx, 50*time.Millisecond)
		default:
			n.log.Warn("watchdog", "error", err)
			sleep(ctx, pause)
			pause = min(2*pause, time.Minute)
		}
	}
}

// watchOnce waits for events and handles them.
func (n *Node) watchOnce(ctx context.Context, c *supervise.Client) error {
	list, err := c.Events(ctx, time.Minute)
	if err != nil {
		return err
	}
	for _, e := range list {
		handle := n.bang
		if e.Limit != "" {
			handle = n.tellLimit
		}
		if err := handle(ctx, e); err != nil {
			return err // the event stays, and is handled again
		}
		if err := c.Taken(ctx, e.Seq); err != nil {
			return err
		}
	}
	return nil
}

// bang tells the master of one end, if the partition is due for it.
func (n *Node) bang(ctx context.Context, e supervise.Event) error {
	f, err := openFolder(n.c.Instances, e.Group)
	if err != nil {
		n.log.Warn("watchdog: no partition of that name", "partition", e.Group, "error", err)
		return nil
	}
	defer f.close()
	may, err := supervise.MayBang(f.path)
	if err != nil || !may {
		n.log.Info("watchdog: a service ended, and its partition is to be processed anyway", "partition", e.Group, "service", e.Name, "error", err)
		return nil
	}
	n.log.Warn("watchdog: a service ended", "partition", e.Group, "service", e.Name, "exit", e.Exit.String())
	_, err = n.client.Report(ctx, slap.Place{Computer: n.c.Computer, Partition: e.Group}, slap.ReportBang, e.BangMessage())
	if isOffline(err) {
		return err
	}
	if err != nil {
		n.log.Warn("watchdog: the master refuses the bang", "partition", e.Group, "error", err)
	}
	return errors.Join(supervise.Banged(f.path), n.wake())
}

// wakeName is a file that is newer when there is reason for a run at once.
func (n *Node) wakeName() string { return n.state("wake") }

func (n *Node) wake() error {
	return os.WriteFile(n.wakeName(), []byte(n.now().UTC().Format(time.RFC3339Nano)+"\n"), 0o600)
}

// sleep waits, and tells whether the context goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
