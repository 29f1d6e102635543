package demo

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLinesAreTheVectorOfWendelin(t *testing.T) {
	t.Parallel()
	text := lines(100000)
	sum := md5.Sum([]byte(text))
	if len(text) != 588897 || hex.EncodeToString(sum[:]) != "9ab92a072f5f532f3d1d45dda2e3aba9" {
		t.Errorf("%d bytes, md5 %x", len(text), sum)
	}
	body := appendText(nil, text)
	if len(body) != 588904 || !bytes.HasPrefix(body, []byte{0x92, 0, 0xdb, 0, 8, 0xfc, 0x61}) {
		t.Errorf("the body has %d bytes and begins with %x", len(body), body[:7])
	}
}

func TestWavsAreWhole(t *testing.T) {
	t.Parallel()
	for _, tone := range tones {
		b := tone.wav()
		block := tone.channels * tone.bits / 8
		if got := int(binary.LittleEndian.Uint32(b[40:])); got != len(b)-44 || got != tone.frames()*block {
			t.Errorf("%s: the data chunk says %d bytes of %d", tone.name, got, len(b)-44)
		}
		if got := int(binary.LittleEndian.Uint32(b[4:])); got != len(b)-8 {
			t.Errorf("%s: RIFF says %d bytes of %d", tone.name, got, len(b)-8)
		}
		if tone.bits == 16 {
			at := 44 + tone.frames()/2*block
			got := float64(int16(binary.LittleEndian.Uint16(b[at:]))) / 32767
			if want := tone.at(tone.frames()/2, 0); math.Abs(got-want) > 1e-4 {
				t.Errorf("%s: sample %v, want %v", tone.name, got, want)
			}
		}
	}
}

func TestEntryIsAnEventTimeAndAMap(t *testing.T) {
	t.Parallel()
	got := appendEntry(nil, time.Unix(1700000000, 5), [][2]string{{"a", "1"}})
	want := []byte("\x92\xd7\x00\x65\x53\xf1\x00\x00\x00\x00\x05\x81\xa1a\xa11")
	if !bytes.Equal(got, want) {
		t.Errorf("entry %x, want %x", got, want)
	}
}

// host makes a folder that looks like the root of a machine.
func host(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"proc/loadavg":                         "0.52 0.41 0.30 1/200 1234\n",
		"proc/stat":                            "cpu  100 0 100 700 100 0 0 0 0 0\n",
		"proc/meminfo":                         "MemTotal:  1000 kB\nMemAvailable:  400 kB\n",
		"proc/net/dev":                         "Inter-| Receive | Transmit\n face |bytes\n    lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\n  eth0: 10 1 2 3 0 0 0 0 20 1 4 5 0 0 0 0\n",
		"proc/7/stat":                          "7 (a b) c) S 1 7 7 0 -1 0 0 0 0 0 150 50 0 0 20 0 3 0 1 1000 25\n",
		"proc/7/io":                            "write_bytes: 4096\n",
		"proc/8/stat":                          "broken",
		"sys/class/thermal/thermal_zone0/temp": "42500\n",
	} {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestSampleHasTheTablesOfTheMonitor(t *testing.T) {
	t.Parallel()
	s := &sampler{root: host(t)}
	now := time.Date(2026, 11, 21, 10, 20, 30, 0, time.UTC)
	got := map[string]map[string]string{}
	for _, r := range s.sample(now) {
		fields := map[string]string{}
		for _, f := range r.fields {
			fields[f[0]] = f[1]
		}
		got[r.table] = fields
	}
	for table, want := range map[string]map[string]string{
		"system": {"loadavg": "0.52", "cpu_percent": "20.0", "memory_used": "614400", "memory_free": "409600",
			"net_in_bytes": "10", "net_in_errors": "2", "net_in_dropped": "3", "net_out_bytes": "20", "net_out_errors": "4", "net_out_dropped": "5"},
		"user":        {"pid": "7", "process": "a b) c", "cpu_time": "2.00", "cpu_num_threads": "3", "io_rw_counter": "4096"},
		"computer":    {"memory_size": "1024000"},
		"temperature": {"sensor_id": "thermal_zone0", "temperature": "42.5", "alarm": "0", "date": "2026-11-21", "time": "10:20:30", "reported": "0"},
	} {
		for field, value := range want {
			if got[table][field] != value {
				t.Errorf("%s.%s = %q, want %q", table, field, got[table][field], value)
			}
		}
	}
	if s.cpuPercent() != "0.0" {
		t.Error("the second sample does not begin where the first ended")
	}
}

func TestSampleOfAnEmptyMachine(t *testing.T) {
	t.Parallel()
	var tables []string
	for _, r := range (&sampler{root: t.TempDir()}).sample(time.Now()) {
		tables = append(tables, r.table)
	}
	if want := []string{"computer", "disk", "system"}; !slices.Equal(tables, want) {
		t.Errorf("tables %s, want %s", strings.Join(tables, " "), want)
	}
}
