package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weir/slap"
	"weir/slap/collect"
)

// A CollectConfig says what becomes of what the partitions use.
type CollectConfig struct {
	KeepDays  int           // [slapos] collect_cache
	DiskEvery time.Duration // [collect] disk_snapshot_time_cycle; negative: report_disk_usage is false
	// Push is the URL of a gateway's ingestion policy, with {table} in the
	// place of the table's name; "" pushes nothing. [weir] push
	Push           string
	User, Password string // [weir] push_user, push_password
	UID            string // [weir] push_uid: the end of the tags
}

// collect reads the options of CollectConfig.
func (r *reader) collect() CollectConfig {
	c := CollectConfig{
		KeepDays:  r.number("slapos", "collect_cache", 15, 1),
		DiskEvery: r.seconds("collect", "disk_snapshot_time_cycle", 24*time.Hour),
		Push:      strings.TrimSuffix(r.text("weir", "push", ""), "/"),
		User:      r.text("weir", "push_user", ""), Password: r.text("weir", "push_password", ""), UID: r.text("weir", "push_uid", ""),
	}
	if !r.truth("collect", "report_disk_usage", true) {
		c.DiskEvery = -1
	}
	if c.Push != "" && !strings.HasPrefix(c.Push, "http://") && !strings.HasPrefix(c.Push, "https://") {
		r.mistake("weir", "push", fmt.Sprintf("= %q is no http or https URL", c.Push))
	}
	return c
}

// Collect measures what the partitions use, pushes it to the gateway that is
// configured, and tells the master the use of the days that are over. A
// gateway or a master that is away is told in the error, and nothing is lost:
// what was not taken is kept for the next time.
func (n *Node) Collect(ctx context.Context) error {
	if err := n.prepare(); err != nil {
		return err
	}
	o := collect.Options{
		Dir: n.state("collect"), Computer: n.c.Computer, Partitions: n.measured, Log: n.log,
		KeepDays: n.c.Collect.KeepDays, DiskEvery: n.c.Collect.DiskEvery, UID: n.c.Collect.UID,
	}
	if n.c.Collect.Push != "" {
		o.Push = collect.HTTP{URL: n.c.Collect.Push, User: n.c.Collect.User, Password: n.c.Collect.Password}
	}
	k := collect.New(o)
	_, err := k.Collect(ctx, n.now())
	folder := filepath.Join(n.c.Instances, "var", "xml_report", n.c.Computer)
	_, journals := k.WriteJournals(folder, n.now())
	return errors.Join(err, journals, n.sendUsage(ctx, folder))
}

// measured lists the partitions that there are, with the owners of their
// folders.
func (n *Node) measured() []collect.Partition {
	var list []collect.Partition
	for _, p := range n.c.Format.Partitions {
		f, err := openFolder(n.c.Instances, p.Name)
		if err != nil {
			continue // not formatted yet
		}
		user := p.User
		if user == "" {
			user = p.Name
		}
		list = append(list, collect.Partition{ID: p.Name, Folder: f.path, User: user, UID: uint32(f.uid)})
		f.close()
	}
	return list
}

// refusedForGood tells of a journal that would be refused the next time, too.
func refusedForGood(err error) bool {
	var refused *slap.StatusError
	return errors.As(err, &refused) && refused.Status == 400
}

// sendUsage sends the journals of a folder, oldest first, and removes each
// that the master took, or refuses for good.
func (n *Node) sendUsage(ctx context.Context, folder string) error {
	entries, err := os.ReadDir(folder) // sorted by name
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("node: usage: %w", err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".xml" || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(folder, e.Name())
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("node: usage: %w", err)
		}
		err = n.client.ReportUsage(ctx, n.c.Computer, string(b))
		if refusedForGood(err) {
			n.log.Error("the master refuses a journal of usage, which is dropped", "file", path, "error", err)
			err = nil
		}
		if err != nil {
			return fmt.Errorf("node: usage: %w", err)
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // another command sends, too
			return fmt.Errorf("node: usage: %w", err)
		}
	}
	return nil
}
