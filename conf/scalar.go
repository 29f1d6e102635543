package conf

import (
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Size is a number of bytes, written as 512, 64KiB, 1.5GiB or, as fluentd
// does, 8m.
type Size int64

// units of sizes; fluentd's letters are powers of 1024, too.
var units = []struct {
	suffix string
	bytes  float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"t", 1 << 40},
	{"B", 1}, {"", 1},
}

func parseSize(s string) (Size, error) {
	for _, u := range units {
		number, ok := cutSuffixFold(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if n *= u.bytes; err != nil || n < 0 || n >= math.MaxInt64 || n != math.Trunc(n) {
			break
		}
		return Size(n), nil
	}
	return 0, fmt.Errorf("%q is no size: write a number of bytes such as 4096, 64KiB or 8MiB", s)
}

func cutSuffixFold(s, suffix string) (string, bool) {
	i := len(s) - len(suffix)
	if i < 0 || !strings.EqualFold(s[i:], suffix) {
		return s, false
	}
	return s[:i], true
}

// String writes a size as the largest whole unit.
func (s Size) String() string {
	for _, u := range []int{3, 2, 1, 0} {
		if n := int64(units[u].bytes); s != 0 && int64(s)%n == 0 {
			return strconv.FormatInt(int64(s)/n, 10) + units[u].suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// A Mode is who may write to a file, written in octal as chmod has it; 0 is
// not said.
type Mode fs.FileMode

// parseMode reads a socket's mode. To connect is to write, so somebody may.
func parseMode(s string) (Mode, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 8, 16)
	switch {
	case err != nil || len(s) < 3 || len(s) > 4 || n > 0o777:
		return 0, fmt.Errorf("%q is no mode: write three octal digits such as 0660", s)
	case n&0o222 == 0:
		return 0, fmt.Errorf("%s lets nobody write, which connecting asks for: write 0600, 0660 or 0666", s)
	}
	return Mode(n), nil
}

func parseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 64); err == nil && n <= mostDays {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no duration: write a number and a unit such as 500ms, 30s, 24h or 30d", s)
	}
	return d, nil
}

// mostDays is what a duration can be.
const mostDays = uint64(math.MaxInt64 / (24 * time.Hour))

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", s)
}

func parseInt(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no number: write digits such as 1000", s)
	}
	return n, nil
}
