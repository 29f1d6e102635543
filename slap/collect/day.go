package collect

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weir/internal/replace"
)

// A day is what its journal needs: sums, and how many samples went into them.
type day struct {
	Samples int             `json:"samples"`
	CPU     float64         `json:"cpu_percent"`
	Memory  float64         `json:"memory_used"` // bytes
	Users   map[string]*use `json:"users"`
}

// A use is a partition's part of a day.
type use struct {
	Samples int     `json:"samples"` // in which it had processes
	CPU     float64 `json:"cpu_percent"`
	Memory  float64 `json:"memory_rss"` // bytes
	Disks   int     `json:"disk_samples"`
	Disk    float64 `json:"disk_used"` // kB
}

const dayPrefix = "day-"

func dayName(t time.Time) string { return dayPrefix + t.UTC().Format(time.DateOnly) + ".json" }

// addDay adds a sample to its day.
func (c *Collector) addDay(s Sample) error {
	var d day
	name := dayName(s.Time)
	if err := c.load(name, &d); err != nil {
		c.o.Log.Error("collect: a damaged day is begun anew", "file", name, "error", err)
		d = day{}
	}
	d.add(s)
	return c.save(name, d)
}

func (d *day) add(s Sample) {
	d.Samples++
	d.CPU += s.System.CPUPercent
	d.Memory += float64(s.System.MemoryUsed)
	if d.Users == nil {
		d.Users = map[string]*use{}
	}
	user := func(name string) *use {
		if d.Users[name] == nil {
			d.Users[name] = new(use)
		}
		return d.Users[name]
	}
	seen := map[string]bool{}
	for _, p := range s.Processes {
		u := user(p.Partition)
		u.CPU += p.CPUPercent
		u.Memory += float64(p.RSS)
		if !seen[p.Partition] {
			seen[p.Partition] = true
			u.Samples++
		}
	}
	for _, f := range s.Folders {
		u := user(f.Partition)
		u.Disk += float64(f.Used)
		u.Disks++
	}
}

// ErrNoSamples: nothing was collected on a day, so it has no journal.
var ErrNoSamples = errors.New("collect: there are no samples of the day")

// The journal's form is that of slapos.core's computer_consumption.xsd: the
// order of elements counts.
type journal struct {
	XMLName     xml.Name    `xml:"journal"`
	Transaction transaction `xml:"transaction"`
}

type transaction struct {
	Type      string `xml:"type,attr"`
	Title     string `xml:"title"`
	Start     string `xml:"start_date"`
	Stop      string `xml:"stop_date"`
	Reference string `xml:"reference"`
	Currency  string `xml:"currency"`
	Payment   string `xml:"payment_mode"`
	Category  string `xml:"category"`
	Arrow     struct {
		Type string `xml:"type,attr"`
	} `xml:"arrow"`
	Movements []movement `xml:"movement"`
}

type movement struct {
	Resource  string `xml:"resource"`
	Title     string `xml:"title"`
	Reference string `xml:"reference"`
	Quantity  string `xml:"quantity"`
	Price     string `xml:"price"`
	VAT       string `xml:"VAT"`
	Category  string `xml:"category"`
}

// Journal gives the use of a day (in UTC) as the XML that a SLAP master takes
// by useComputer, or ErrNoSamples.
func (c *Collector) Journal(at time.Time) ([]byte, error) {
	var d day
	if err := c.load(dayName(at), &d); err != nil {
		return nil, err
	}
	if d.Samples == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNoSamples, at.UTC().Format(time.DateOnly))
	}
	date := at.UTC().Format(time.DateOnly)
	t := transaction{
		Type: "Sale Packing List", Title: "Eco Information for " + c.o.Computer + " ",
		Start: date + " 00:00:00", Stop: date + " 23:59:59", Reference: date + "-global",
	}
	t.Arrow.Type = "Destination"
	add := func(resource, title, reference string, quantity float64) {
		t.Movements = append(t.Movements, movement{
			Resource: "service_module/" + resource, Title: title, Reference: reference,
			Quantity: fmt.Sprint(quantity), Price: "0.0",
		})
	}
	n := float64(d.Samples)
	add("cpu_load_percent", "CPU Load Percent Average", c.o.Computer, d.CPU/n)
	add("memory_used", "Used Memory", c.o.Computer, d.Memory/n)
	var users []string
	for u := range d.Users {
		users = append(users, u)
	}
	slices.SortFunc(users, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) })
	for _, name := range users {
		if u := d.Users[name]; u.Samples > 0 {
			add("cpu_load_percent", "CPU Load Percent Average for "+name, name, u.CPU/float64(u.Samples))
		}
	}
	for _, name := range users {
		if u := d.Users[name]; u.Samples > 0 {
			add("memory_used", "Memory Used Average for "+name, name, u.Memory/float64(u.Samples)/(1<<20))
		}
	}
	for _, name := range users {
		if u := d.Users[name]; u.Disks > 0 {
			add("disk_used", "Partition Disk Used Average for "+name, name, u.Disk/float64(u.Disks)/1024)
		}
	}
	b, err := xml.Marshal(journal{Transaction: t})
	if err != nil {
		return nil, fmt.Errorf("collect: journal: %w", err)
	}
	return append([]byte("<?xml version='1.0' encoding='utf-8'?>"), b...), nil
}

// WriteJournals writes the journals of the two days before, DATE.xml, into a
// folder from which they are reported, each once, and names them.
func (c *Collector) WriteJournals(folder string, now time.Time) (written []string, err error) {
	for _, before := range []int{2, 1} {
		at := now.UTC().AddDate(0, 0, -before)
		name := at.Format(time.DateOnly)
		mark := filepath.Join(c.o.Dir, "reported-"+name)
		if _, err := os.Stat(mark); err == nil {
			continue
		}
		b, err := c.Journal(at)
		if errors.Is(err, ErrNoSamples) {
			continue
		}
		if err != nil {
			return written, err
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return written, fmt.Errorf("collect: journal: %w", err)
		}
		path := filepath.Join(folder, name+".xml")
		if err := replace.File(path, b, 0o644); err != nil {
			return written, fmt.Errorf("collect: journal: %w", err)
		}
		if err := replace.File(mark, nil, 0o644); err != nil {
			return written, fmt.Errorf("collect: journal: %w", err)
		}
		written = append(written, path)
	}
	return written, nil
}

// expire removes days and marks that are older than is kept.
func (c *Collector) expire(now time.Time) error {
	entries, err := os.ReadDir(c.o.Dir)
	if err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	oldest := now.AddDate(0, 0, -c.o.KeepDays).Format(time.DateOnly)
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".json")
		date, isDay := strings.CutPrefix(name, dayPrefix)
		if !isDay {
			if date, isDay = strings.CutPrefix(name, "reported-"); !isDay {
				continue
			}
		}
		if _, err := time.Parse(time.DateOnly, date); err != nil || date >= oldest {
			continue
		}
		if err := os.Remove(filepath.Join(c.o.Dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("collect: %w", err)
		}
	}
	return nil
}
