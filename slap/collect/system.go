package collect

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// system measures the computer's load. Of /proc/stat the processor time since
// the last sample is taken, at the first one since the boot.
func (c *Collector) system(last state, next *state) (System, error) {
	var s System
	busy, idle, err := processor(c.text(filepath.Join(c.o.Root, "proc/stat")))
	if err != nil {
		return s, err
	}
	next.Busy, next.Idle = busy, idle
	if busy >= last.Busy && idle >= last.Idle { // else the computer was started again
		busy, idle = busy-last.Busy, idle-last.Idle
	}
	if busy+idle > 0 {
		s.CPUPercent = 100 * busy / (busy + idle)
	}
	if f := strings.Fields(c.text(filepath.Join(c.o.Root, "proc/loadavg"))); len(f) > 0 {
		s.Load, _ = strconv.ParseFloat(f[0], 64)
	}
	memory := c.memory()
	s.MemoryFree = memory["MemAvailable"]
	s.MemoryUsed = memory["MemTotal"] - s.MemoryFree
	for _, f := range columns(c.text(filepath.Join(c.o.Root, "proc/net/dev"))) {
		if len(f) < 16 {
			continue
		}
		s.NetInBytes += at(f, 0)
		s.NetInErrors += at(f, 2)
		s.NetInDropped += at(f, 3)
		s.NetOutBytes += at(f, 8)
		s.NetOutErrors += at(f, 10)
		s.NetOutDropped += at(f, 11)
	}
	return s, nil
}

// processor reads the first line of /proc/stat, in ticks.
func processor(text string) (busy, idle float64, err error) {
	line, _, _ := strings.Cut(text, "\n")
	f := strings.Fields(line)
	if len(f) < 5 || f[0] != "cpu" {
		return 0, 0, errors.New("collect: /proc/stat has no line of all processors")
	}
	for i, v := range f[1:min(9, len(f))] {
		n, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("collect: /proc/stat: %w", err)
		}
		if i == 3 || i == 4 { // idle, iowait
			idle += n
		} else {
			busy += n
		}
	}
	return busy, idle, nil
}

// memory gives /proc/meminfo in bytes.
func (c *Collector) memory() map[string]int64 {
	out := map[string]int64{}
	for key, f := range columns(c.text(filepath.Join(c.o.Root, "proc/meminfo"))) {
		out[key] = first(f) << 10
	}
	return out
}

// computer tells what the computer is, and its disks.
func (c *Collector) computer() (Computer, []Disk) {
	info := columns(c.text(filepath.Join(c.o.Root, "proc/cpuinfo")))
	k := Computer{Cores: runtime.NumCPU(), Type: strings.Join(info["model name"], " "), MemorySize: c.memory()["MemTotal"]}
	if f := info["cpu MHz"]; len(f) > 0 {
		k.Frequency, _ = strconv.ParseFloat(f[0], 64)
	}
	var disks []Disk
	var parts []string
	seen := map[string]bool{}
	for line := range strings.Lines(c.text(filepath.Join(c.o.Root, "proc/self/mounts"))) {
		f := strings.Fields(line)
		if len(f) < 3 || !strings.HasPrefix(f[0], "/") || seen[f[0]] {
			continue
		}
		seen[f[0]] = true
		mount := unescape(f[1])
		var st unix.Statfs_t
		if err := unix.Statfs(filepath.Join(c.o.Root, mount), &st); err != nil || st.Blocks == 0 {
			continue
		}
		size := int64(st.Bsize)
		disks = append(disks, Disk{Partition: f[0], Used: int64(st.Blocks-st.Bfree) * size, Free: int64(st.Bavail) * size, Mountpoint: mount})
		parts = append(parts, fmt.Sprintf("%s=%d", f[0], int64(st.Blocks)*size))
	}
	k.Partitions = strings.Join(parts, ";")
	return k, disks
}

// unescape undoes the octal escapes of a mount point.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// temperatures reads the kernel's sensors; many computers have none.
func (c *Collector) temperatures() []Temperature {
	inputs, _ := filepath.Glob(filepath.Join(c.o.Root, "sys/class/hwmon/hwmon*/temp*_input"))
	var list []Temperature
	for _, input := range inputs {
		sensor := strings.TrimSuffix(input, "_input")
		t, ok := c.celsius(input)
		if !ok {
			continue
		}
		name := strings.TrimSpace(c.text(filepath.Join(filepath.Dir(input), "name")))
		label := strings.TrimSpace(c.text(sensor + "_label"))
		if label == "" {
			label = filepath.Base(sensor)
		}
		r := Temperature{Sensor: strings.TrimSpace(name + " " + label), Celsius: t}
		if most, ok := c.celsius(sensor + "_max"); ok && t >= most {
			r.Alarm = 1
		}
		if most, ok := c.celsius(sensor + "_crit"); ok && t >= most {
			r.Alarm = 2
		}
		list = append(list, r)
	}
	return list
}

func (c *Collector) celsius(path string) (float64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
	return n / 1000, err == nil
}
