package collect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"weir/internal/replace"
)

// Options of a Collector.
type Options struct {
	// Dir is where state, days and what was not pushed yet are kept.
	Dir string
	// Computer is the id at the master.
	Computer string
	// UID ends the tags of pushed records: slapos.monitor.usage.user.UID;
	// default the computer.
	UID string
	// Partitions gives whom to measure.
	Partitions func() []Partition
	// DiskEvery is how often the disk use of a partition is measured; default
	// a day, negative never.
	DiskEvery time.Duration
	// KeepDays is how long days are kept; default 15.
	KeepDays int
	// KeepBytes bounds what waits to be pushed; default 64 MiB. The oldest
	// sample goes first.
	KeepBytes int64
	// Push sends samples on; nil does not.
	Push Pusher
	// Root of /proc and /sys; default "/".
	Root string
	Log  *slog.Logger // default discards
}

// A Collector takes samples and keeps them. It is not safe for concurrent use.
type Collector struct{ o Options }

// New makes a collector.
func New(o Options) *Collector {
	if o.UID == "" {
		o.UID = o.Computer
	}
	if o.DiskEvery == 0 {
		o.DiskEvery = 24 * time.Hour
	}
	if o.KeepDays <= 0 {
		o.KeepDays = 15
	}
	if o.KeepBytes <= 0 {
		o.KeepBytes = 64 << 20
	}
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Partitions == nil {
		o.Partitions = func() []Partition { return nil }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Collector{o}
}

// A state is what one sample hands to the next: counters to take differences
// of, and when the disk was measured.
type state struct {
	Time      time.Time            `json:"time"`
	Processes map[string]float64   `json:"processes"` // seconds of processor time by PID-START
	Busy      float64              `json:"busy"`
	Idle      float64              `json:"idle"`
	Disk      map[string]time.Time `json:"disk"` // by partition: last measured
}

// Collect takes a sample, adds it to its day, pushes it and what could not be
// pushed before, and removes what is old. The sample is given also when
// something of the rest failed.
func (c *Collector) Collect(ctx context.Context, now time.Time) (Sample, error) {
	if err := os.MkdirAll(c.o.Dir, 0o755); err != nil {
		return Sample{}, fmt.Errorf("collect: folder: %w", err)
	}
	var last state
	if err := c.load("state.json", &last); err != nil {
		c.o.Log.Warn("collect: the state of the last sample is left out", "error", err)
		last = state{}
	}
	s, next, err := c.sample(ctx, now.UTC().Truncate(time.Second), last)
	if err != nil {
		return s, err
	}
	err = errors.Join(c.save("state.json", next), c.addDay(s))
	if c.o.Push != nil {
		err = errors.Join(err, c.push(ctx, s))
	}
	return s, errors.Join(err, c.expire(s.Time))
}

// sample measures everything.
func (c *Collector) sample(ctx context.Context, now time.Time, last state) (Sample, state, error) {
	partitions := c.o.Partitions()
	next := state{Time: now, Processes: map[string]float64{}, Disk: map[string]time.Time{}}
	s := Sample{Time: now}
	var err error
	if s.System, err = c.system(last, &next); err != nil {
		return s, next, err
	}
	s.Computer, s.Disks = c.computer()
	s.Temperatures = c.temperatures()
	if s.Processes, err = c.processes(partitions, last, &next); err != nil {
		return s, next, err
	}
	for _, p := range partitions {
		next.Disk[p.ID] = last.Disk[p.ID]
		if c.o.DiskEvery < 0 || now.Sub(last.Disk[p.ID]) < c.o.DiskEvery && !last.Disk[p.ID].After(now) {
			continue
		}
		used, err := diskUse(ctx, p.Folder)
		if err != nil {
			c.o.Log.Warn("collect: disk use was not measured", "partition", p.ID, "error", err)
			continue
		}
		next.Disk[p.ID] = now
		s.Folders = append(s.Folders, Folder{p.User, used})
	}
	return s, next, ctx.Err()
}

// load reads a file of the folder; none leaves the value as it is.
func (c *Collector) load(name string, v any) error {
	b, err := os.ReadFile(filepath.Join(c.o.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return fmt.Errorf("collect: %s: %w", name, err)
	}
	return nil
}

// save replaces a file of the folder.
func (c *Collector) save(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("collect: %s: %w", name, err)
	}
	path := filepath.Join(c.o.Dir, name)
	if err := replace.File(path, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	return nil
}
