package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

// oldRaw packs strings as msgpack's old raw, whatever their bytes are, and maps
// with the pairs in order: what a msgpack without bin sends.
func oldRaw(tag string, entries []byte) []byte {
	b := msgp.AppendArrayHeader(nil, 3)
	b = msgp.AppendString(b, tag)
	b = msgp.AppendStringFromBytes(b, entries)
	b = msgp.AppendMapHeader(b, 2)
	b = msgp.AppendInt(msgp.AppendString(b, "size"), 1)
	return msgp.AppendString(msgp.AppendString(b, "compressed"), "text")
}

// TestGatewayOfSlapOS are the figures of the test of SlapOS' fluentd, A29: a
// sensor's record, whose values are text, and a chunk of 8 MiB come in by the
// forward protocol, and the stream has the bytes that its @type wendelin would
// POST; and what is POSTed makes the very same stream.
func TestGatewayOfSlapOS(t *testing.T) {
	t.Parallel()
	w := start(t, "--config", filepath.Join(root, "conf", "examples", "wendelin.yaml"))
	sensor := []byte("\x92\xd7\x00\x65\x53\xf1\x00\x00\x00\x00\x07\x83\xa8pressure\xa61013.2\xa8humidity\xa445.0\xabtemperature\xa421.5")
	if got := fmt.Sprint(events(t, sensor)[0].record); got != "map[humidity:45.0 pressure:1013.2 temperature:21.5]" {
		t.Fatalf("the record is %s", got)
	}
	const limit = 8 << 20 // chunk_limit_size 8m
	var large []byte
	for i := 0; ; i++ {
		e := encode(entry{1_700_000_000, uint32(i), map[string]any{"message": string(noise(uint64(i), 20_000))}})
		if len(large)+len(e) > limit {
			break
		}
		large = append(large, e...)
	}
	for _, c := range []struct {
		name    string
		entries []byte
	}{{"sensor", sensor}, {"large", large}} {
		forwarded, posted := "default.forwarded_"+c.name, "default.posted_"+c.name
		conn := mustDial(t, w.Forward)
		conn.write(t, oldRaw(forwarded, c.entries))
		if got := w.awaitStream(forwarded, len(c.entries)); !bytes.Equal(got, c.entries) {
			t.Errorf("%s: the stream of %d bytes is not the %d that were forwarded", c.name, len(got), len(c.entries))
		}
		if a := w.ingest("default", posted, c.entries); a.Status != 204 || len(a.Body) != 0 {
			t.Errorf("%s: %d %s", c.name, a.Status, a.Body)
		}
		if got := w.stream(posted); !bytes.Equal(got, c.entries) {
			t.Errorf("%s: the stream of %d bytes is not the %d that were posted", c.name, len(got), len(c.entries))
		}
	}
}

// TestGatewayTagPrefix: radios send under their own name; the gateway's prefix
// makes it the tag by which the policy of their logs is found.
func TestGatewayTagPrefix(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "conf", "examples", "wendelin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(config, append([]byte("forward: {add_tag_prefix: ors}\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, "--config", config)
	const radio = "ors123_COMP-4567_e0xABCDE"
	log := encode(entry{1_700_000_000, 0, map[string]any{"log": `{"utc":1}`}}, entry{1_700_000_001, 0, map[string]any{"log": `{"utc":2}`}})
	conn := mustDial(t, w.Forward)
	conn.write(t, oldRaw(radio, log))
	const want = "{\"utc\":1}\n{\"utc\":2}\n"
	if got := w.awaitStream("ors."+radio, len(want)); string(got) != want {
		t.Errorf("the radio's log is %q", got)
	}
	if got := w.stream(radio); got != nil {
		t.Errorf("without the prefix there is %q", got)
	}
}
