package master

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"weir/slap"
)

// TestIngest: what comes to /ingestData is handed on whole, and answered with
// what became of it.
func TestIngest(t *testing.T) {
	t.Parallel()
	var got []Ingestion
	refused := map[int]int64{}
	b := newBench(t, Options{MaxIngest: 1 << 10, Refused: func(status int, bytes int64) { refused[status] += bytes }, Ingest: func(_ context.Context, in Ingestion) error {
		if got = append(got, in); in.Policy == "none" {
			return Refuse(http.StatusNotFound, "no policy none")
		}
		if in.Policy == "down" {
			return errors.New("the disk is gone")
		}
		return nil
	}})
	octets := http.Header{"Content-Type": {"application/octet-stream"}, "Idempotency-Key": {"k"}}
	for _, c := range []struct {
		path, body string
		header     http.Header
		status     int
		data       string // handed on; "" for nothing
	}{
		{"/ingestData?ingestion_policy=p&reference=a.b", "x\x00y", octets, 204, "x\x00y"},
		{"/ingestData?ingestion_policy=p&reference=a.b", "data_chunk=a%26b", formType, 204, "a&b"},
		{"/ingestData?ingestion_policy=p&reference=a.b", "a=b&c", formType, 204, "a=b&c"},
		{"/ingestData?ingestion_policy=none&reference=a", "x", octets, 404, "x"},
		{"/ingestData?ingestion_policy=down&reference=a", "x", octets, 500, "x"},
		{"/ingestData?reference=a", "x", octets, 400, ""},
		{"/ingestData?ingestion_policy=p", "x", octets, 400, ""},
		{"/ingestData?ingestion_policy=p&reference=a", "", octets, 400, ""},
		{"/ingestData?ingestion_policy=p&reference=a", strings.Repeat("x", 2<<10), octets, 413, ""},
	} {
		got = nil
		status, body := b.raw(http.MethodPost, c.path, c.body, c.header)
		if status != c.status {
			t.Errorf("%s %.20q: %d %s, want %d", c.path, c.body, status, body, c.status)
		}
		if c.data == "" && len(got) > 0 || c.data != "" && (len(got) != 1 || string(got[0].Data) != c.data) {
			t.Errorf("%s %.20q: handed on %+v", c.path, c.body, got)
		}
		if len(got) == 1 && (got[0].ID != c.header.Get("Idempotency-Key") || got[0].Peer == "") {
			t.Errorf("%s: %+v", c.path, got[0])
		}
	}
	if status, _ := b.raw(http.MethodGet, "/ingestData?ingestion_policy=p&reference=a", "", nil); status != 405 {
		t.Errorf("GET: %d", status)
	}
	if refused[400] != 2 || refused[413] != 2<<10 || len(refused) != 3 { // 405 with nothing
		t.Errorf("refused bytes by status: %v", refused)
	}
	alone := newBench(t, Options{})
	if status, body := alone.raw(http.MethodPost, "/ingestData?ingestion_policy=p&reference=a", "x", octets); status != 404 || !strings.Contains(body, "weir serve") {
		t.Errorf("without policies: %d %s", status, body)
	}
}

const twoMovements = `<?xml version='1.0' encoding='utf-8'?><journal><transaction type="Sale Packing List"><title>Eco</title>
<start_date>2026-11-20 00:00:00</start_date><stop_date>2026-11-20 23:59:59</stop_date><reference>2026-11-20-global</reference><currency/>
<movement><resource>service_module/cpu_load_percent</resource><title>CPU &lt;load&gt;</title><reference>slappart0</reference><quantity>1.5</quantity><price>0.0</price><VAT/><category/></movement>
<movement><resource>service_module/disk_used</resource><reference/><quantity>much</quantity></movement>
</transaction></journal>`

// TestAccounts: the movements of a journal are entries of a stream, once
// however often the journal comes.
func TestAccounts(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.formatNode(theNode, 1)
	for range 3 {
		b.must(b.ReportUsage(context.Background(), theNode, twoMovements))
	}
	b.restart()
	b.must(b.ReportUsage(context.Background(), theNode, twoMovements))
	var lines []map[string]any
	for rest := b.read(AccountsStream); len(rest) > 0; {
		n, rest2, err := msgp.ReadArrayHeaderBytes(rest)
		if err != nil || n != 2 {
			t.Fatalf("an entry: %d, %v", n, err)
		}
		var at int64
		if at, rest2, err = msgp.ReadInt64Bytes(rest2); err != nil || at != 1795219199 {
			t.Errorf("time %d, %v", at, err)
		}
		v, rest3, err := msgp.ReadMapStrIntfBytes(rest2, nil)
		b.must(err)
		lines, rest = append(lines, v), rest3
	}
	if len(lines) != 2 || lines[0]["quantity"] != 1.5 || lines[0]["computer"] != theNode || lines[0]["partition"] != "slappart0" ||
		lines[0]["title"] != "CPU <load>" || lines[1]["quantity"] != nil || lines[1]["resource"] != "service_module/disk_used" {
		t.Errorf("the entries: %v", lines)
	}
	var u usage
	if raw := b.read(UsageStream); json.Unmarshal(raw, &u) != nil || u.Journal != twoMovements || u.Computer != theNode {
		t.Errorf("the journal: %s", raw)
	}
	var status *slap.StatusError
	if err := b.ReportUsage(context.Background(), "stranger", twoMovements); !errors.As(err, &status) || status.Status != 404 {
		t.Errorf("of a stranger: %v", err)
	}
}

// read gives all bytes of a stream.
func (b *bench) read(name string) []byte {
	b.t.Helper()
	st, ok := b.store.Stream(name)
	if !ok {
		b.t.Fatalf("there is no stream %s", name)
	}
	state := st.State()
	r, err := st.Reader(state.Generation, 0, state.Length)
	b.must(err)
	defer r.Close()
	data, err := io.ReadAll(r)
	b.must(err)
	return data
}
