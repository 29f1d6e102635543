package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"weir/slap"
	"weir/slap/supervise"
)

// processes reads the limit of a partition's processes.
func (r *reader) processes() int64 {
	n := r.number("weir", "partition_processes", 4096, 0)
	if n != 0 && n < supervise.LeastProcesses {
		r.mistake("weir", "partition_processes", fmt.Sprintf("= %d is too few: write %d or more, or 0 for no limit", n, supervise.LeastProcesses))
	}
	return int64(n)
}

// memory reads the limit of a partition's memory: a size, or a part of the
// computer's.
func (r *reader) memory() int64 {
	v := r.text("weir", "partition_memory", "90%")
	number, percent := strings.CutSuffix(v, "%")
	if !percent {
		n := r.size("weir", "partition_memory", 0)
		if n != 0 && n < 1<<20 {
			r.mistake("weir", "partition_memory", fmt.Sprintf("= %q is too little: write 1M or more, or 0 for no limit", v))
		}
		return n
	}
	part, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(part > 0 && part <= 100) {
		r.mistake("weir", "partition_memory", fmt.Sprintf("= %q is neither a size such as 4G nor a part such as 90%%", v))
		return 0
	}
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) != nil {
		return 0
	}
	return int64(part / 100 * float64(info.Totalram) * float64(info.Unit))
}

// errLimit: a partition uses all that it may. That is no reason to process it.
var errLimit = errors.New("the partition is at its limit")

// limitError tells what the supervisor says of a partition's limits.
func limitError(text string) error {
	if text == "" {
		return nil
	}
	return fmt.Errorf("%w: it %s: mend the program, or raise partition_processes or partition_memory in [weir] of slapos.cfg", errLimit, text)
}

// tellLimit tells the master of a partition that has come to a limit. It is
// not banged: to be processed again would not help it.
func (n *Node) tellLimit(ctx context.Context, e supervise.Event) error {
	err := limitError(e.Limit)
	n.log.Error("watchdog: a partition is at its limit", "partition", e.Group, "service", e.Name, "error", err)
	_, told := n.client.Report(ctx, slap.Place{Computer: n.c.Computer, Partition: e.Group}, slap.ReportError, err.Error())
	if isOffline(told) {
		return told
	}
	if told != nil {
		n.log.Warn("watchdog: the master refuses a report", "partition", e.Group, "error", told)
	}
	return nil
}
