package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// collecting is a configuration that makes arrays of what collectors send.
func collecting(t *testing.T) []string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "collecting.yaml")
	text := "policies:\n  - {name: collected, match: \"prometheus.** lab.** telegraf.**\", keep: verbatim, array: {kind: metrics}}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--config", config}
}

// A row is a line of format=jsonl.
type row struct {
	Time   string
	Record map[string]any
}

func (w *weir) records(stream string) (rows []row) {
	w.t.Helper()
	a := w.do("GET", "/streams/"+stream+"?format=jsonl", nil)
	for line := range bytes.Lines(a.Body) {
		var r row
		if err := json.Unmarshal(line, &r); err != nil {
			w.t.Fatalf("%s: %d %v: %s", stream, a.Status, err, line)
		}
		rows = append(rows, r)
	}
	return rows
}

// TestPrometheusWrites: what Prometheus' own client writes, in both versions,
// is there once, though it was sent twice, and comes to arrays.
func TestPrometheusWrites(t *testing.T) {
	t.Parallel()
	sender := goPeer(t, "remotewrite")
	w := start(t, collecting(t)...)
	out, err := exec.Command(sender, w.url("/")).CombinedOutput()
	if err != nil || !bytes.HasPrefix(out, []byte(strings.Repeat("version 1 written\nversion 2 written: 60\n", 2)+"nameless: ")) || !bytes.Contains(out, []byte("__name__")) {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, version := range []string{"one", "two"} {
		for metric := range 2 {
			name := fmt.Sprintf("prometheus.%s_%d", version, metric)
			rows := w.records(name)
			if len(rows) != 30 {
				t.Fatalf("%s has %d records, want 30", name, len(rows))
			}
			for i, r := range rows {
				node, k := i/10, i%10
				want := map[string]any{"instance": fmt.Sprint("node-", node), "job": "node", "value": float64((2*node+metric)*100 + k)}
				if fmt.Sprint(r.Record) != fmt.Sprint(want) {
					t.Errorf("%s: record %d is %v, want %v", name, i, r.Record, want)
				}
			}
			w.awaitRows(name, "value", 30)
		}
	}
}

// TestInfluxWrites: what InfluxDB's own client writes is there once, and the
// client is told of the line that is not.
func TestInfluxWrites(t *testing.T) {
	t.Parallel()
	python := registryPeer(t, "WEIR_PYTHON_CONTRACT", "Python with influxdb-client")
	w := start(t, collecting(t)...)
	out, err := exec.Command(python, "testdata/influx.py", w.url("/")).CombinedOutput()
	if err != nil || string(out) != "done\n" {
		t.Fatalf("%v\n%s", err, out)
	}
	rows := w.records("lab.room,%20one")
	if len(rows) != 100 {
		t.Fatalf("%d records, want 100", len(rows))
	}
	for i, r := range rows {
		want := map[string]any{"host=": "a b,c", "temperature": float64(i) / 4, "count": float64(i), "note": fmt.Sprintf(`"%d" \`, i), "on": i%2 == 0}
		if fmt.Sprint(r.Record) != fmt.Sprint(want) {
			t.Errorf("record %d is %v, want %v", i, r.Record, want)
		}
	}
	if n := len(w.records("lab.room")); n != 2 {
		t.Errorf("of three lines, one bad, %d are kept", n)
	}
	w.awaitRows("lab.room, one", "temperature", 100)
}
