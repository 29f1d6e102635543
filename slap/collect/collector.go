package collect

import (
	"log/slog"
	"time"
)

// Options of a Collector.
type Options struct {
	// Dir is where samples are kept, one file a day.
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
	// KeepDays is how long samples are kept; default 15.
	KeepDays int
	// Push sends samples on; nil does not.
	Push Pusher
	// Root of /proc and /sys; default "/".
	Root string
	Log  *slog.Logger
}

// A Collector takes samples and keeps them. It is not safe for concurrent use.
type Collector struct {
	o Options
}

// New makes a collector.
func New(o Options) *Collector { return &Collector{o: o} }
