package collect

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// A Field is a column of a table and its value as text.
type Field struct{ Name, Value string }

// A Record is one row as the monitor sends it: all values are text, in the
// order of the monitor's CSV files.
type Record []Field

// A Pusher sends records to an ingestion gateway. It returns when the gateway
// has acknowledged them; ErrRefused says that it never will. The key is the same each time the same records are
// sent, so that a repetition is stored once.
type Pusher interface {
	Push(ctx context.Context, table, tag, key string, at time.Time, records []Record) error
}

// ErrRefused is for records that the gateway will never take, such as those of
// a table that no policy is for.
var ErrRefused = errors.New("collect: the gateway refuses the records")

// spool is where samples wait that were not pushed yet, one file each, named
// by its time.
const spool = "spool"

// push sends what waits and then the sample. What is not acknowledged waits
// for the next time.
func (c *Collector) push(ctx context.Context, s Sample) error {
	dir := filepath.Join(c.o.Dir, spool)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("collect: spool: %w", err)
	}
	name := fmt.Sprintf("%012d.json", s.Time.Unix())
	if err := c.save(filepath.Join(spool, name), s); err != nil {
		return err
	}
	waiting, err := c.waiting()
	if err != nil {
		return err
	}
	for _, name := range waiting {
		var old Sample
		if err := c.load(filepath.Join(spool, name), &old); err != nil || old.Time.IsZero() {
			c.o.Log.Error("collect: a sample that cannot be read is dropped", "file", name, "error", err)
		} else if err := c.send(ctx, old); err != nil {
			return fmt.Errorf("collect: %d samples wait: %w", len(waiting), err)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("collect: spool: %w", err)
		}
		waiting = waiting[1:]
	}
	return nil
}

// waiting lists the samples that were not pushed, oldest first, and drops the
// oldest beyond the bound.
func (c *Collector) waiting() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(c.o.Dir, spool))
	if err != nil {
		return nil, fmt.Errorf("collect: spool: %w", err)
	}
	var names []string
	var bytes int64
	for _, e := range slices.Backward(entries) {
		if filepath.Ext(e.Name()) != ".json" {
			_ = os.Remove(filepath.Join(c.o.Dir, spool, e.Name()))
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue
		}
		if bytes += info.Size(); bytes > c.o.KeepBytes && len(names) > 0 {
			c.o.Log.Error("collect: a sample is dropped, as too many wait", "file", e.Name(), "limit", c.o.KeepBytes)
			if err := os.Remove(filepath.Join(c.o.Dir, spool, e.Name())); err != nil {
				return nil, fmt.Errorf("collect: spool: %w", err)
			}
			continue
		}
		names = append(names, e.Name())
	}
	slices.Reverse(names)
	return names, nil
}

// send pushes a sample, table by table.
func (c *Collector) send(ctx context.Context, s Sample) error {
	for _, t := range s.Tables() {
		if len(t.Records) == 0 {
			continue
		}
		tag := "slapos.monitor.usage." + t.Name + "." + c.o.UID
		key := fmt.Sprintf("%s-%d", tag, s.Time.Unix())
		err := c.o.Push.Push(ctx, t.Name, tag, key, s.Time, t.Records)
		if errors.Is(err, ErrRefused) {
			c.o.Log.Error("collect: records are dropped", "tag", tag, "time", s.Time, "records", len(t.Records), "error", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("pushing %s: %w", tag, err)
		}
	}
	return nil
}

// A Table is a table of the monitor.
type Table struct {
	Name    string
	Records []Record
}

// Tables gives a sample as the monitor's tables.
func (s Sample) Tables() []Table {
	end := []Field{{"date", s.Time.Format(time.DateOnly)}, {"time", s.Time.Format(time.TimeOnly)}, {"reported", "0"}}
	row := func(f ...Field) Record { return append(f, end...) }
	y := s.System
	user, folder, disk, temperature := Table{Name: "user"}, Table{Name: "folder"}, Table{Name: "disk"}, Table{Name: "temperature"}
	for _, p := range s.Processes {
		user.Records = append(user.Records, row(Field{"partition", p.Partition}, whole("pid", int64(p.PID)), Field{"process", p.Name},
			real("cpu_percent", p.CPUPercent), real("cpu_time", p.CPUTime), whole("cpu_num_threads", int64(p.Threads)),
			real("memory_percent", p.MemoryPercent), whole("memory_rss", p.RSS), whole("io_rw_counter", p.IOBytes), whole("io_cycles_counter", p.IOCalls)))
	}
	for _, f := range s.Folders {
		folder.Records = append(folder.Records, row(Field{"partition", f.Partition}, whole("disk_used", f.Used)))
	}
	for _, d := range s.Disks {
		disk.Records = append(disk.Records, row(Field{"partition", d.Partition}, whole("used", d.Used), whole("free", d.Free), Field{"mountpoint", d.Mountpoint}))
	}
	for _, t := range s.Temperatures {
		temperature.Records = append(temperature.Records, row(Field{"sensor_id", t.Sensor}, real("temperature", t.Celsius), whole("alarm", int64(t.Alarm))))
	}
	k := s.Computer
	return []Table{user, folder,
		{"system", []Record{row(real("loadavg", y.Load), real("cpu_percent", y.CPUPercent), whole("memory_used", y.MemoryUsed), whole("memory_free", y.MemoryFree),
			whole("net_in_bytes", y.NetInBytes), whole("net_in_errors", y.NetInErrors), whole("net_in_dropped", y.NetInDropped),
			whole("net_out_bytes", y.NetOutBytes), whole("net_out_errors", y.NetOutErrors), whole("net_out_dropped", y.NetOutDropped))}},
		{"computer", []Record{row(whole("cpu_num_core", int64(k.Cores)), real("cpu_frequency", k.Frequency), Field{"cpu_type", cmp.Or(k.Type, "0")},
			whole("memory_size", k.MemorySize), Field{"memory_type", cmp.Or(k.MemoryType, "0")}, Field{"partition_list", k.Partitions})}},
		disk, temperature}
}

func whole(name string, v int64) Field { return Field{name, strconv.FormatInt(v, 10)} }

// real always has a point: an array's type is told by its first value.
func real(name string, v float64) Field { return Field{name, strconv.FormatFloat(v, 'f', 2, 64)} }

// An HTTP pusher posts records as fluentd's output plugin wendelin does.
type HTTP struct {
	// URL of the ingestion policy; {table} in it is replaced by the name of
	// the table: http://127.0.0.1:8880/erp5/portal_ingestion_policies/slapos_{table}
	URL            string
	User, Password string
	Client         *http.Client // default http.DefaultClient with a minute's timeout
}

// Push posts the records in one request.
func (h HTTP) Push(ctx context.Context, table, tag, key string, at time.Time, records []Record) error {
	address := strings.ReplaceAll(h.URL, "{table}", url.PathEscape(table)) + "/ingest?reference=" + url.QueryEscape(tag)
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(encode(at, records)))
	if err != nil {
		return fmt.Errorf("collect: push: %w", err)
	}
	q.Header.Set("Content-Type", "application/octet-stream")
	q.Header.Set("Idempotency-Key", key)
	if h.User != "" {
		q.SetBasicAuth(h.User, h.Password)
	}
	client := h.Client
	if client == nil {
		client = &http.Client{Timeout: time.Minute}
	}
	r, err := client.Do(q)
	if err != nil {
		return fmt.Errorf("collect: push: %w", err)
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(r.Body, 500))
	switch r.StatusCode {
	case 400, 404, 413, 422:
		return fmt.Errorf("%w: %s: %s", ErrRefused, r.Status, strings.TrimSpace(string(text)))
	}
	if r.StatusCode/100 != 2 {
		return errors.New("collect: push: " + r.Status + ": " + strings.TrimSpace(string(text)))
	}
	return nil
}

// encode makes entries of the forward protocol: [seconds, record] each.
func encode(at time.Time, records []Record) []byte {
	var b []byte
	for _, r := range records {
		b = msgp.AppendArrayHeader(b, 2)
		b = msgp.AppendInt64(b, at.Unix())
		b = msgp.AppendMapHeader(b, uint32(len(r)))
		for _, f := range r {
			b = msgp.AppendString(msgp.AppendString(b, f.Name), strings.ToValidUTF8(f.Value, "\uFFFD"))
		}
	}
	return b
}
