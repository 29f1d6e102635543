package e2e

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestWendelinsOwnTests are the steps, with their figures, of Wendelin's tests
// of ingestion, MQTT, telecom, drones and data bucket streams that a client can
// take over HTTP.
func TestWendelinsOwnTests(t *testing.T) {
	t.Parallel()
	python := registryPeer(t, "WEIR_PYTHON", "Python with zarr, xarray, requests")
	w := start(t, "--config", filepath.Join(root, "conf", "examples", "wendelin.yaml"))
	script := `
import hashlib, struct, sys, time, urllib.parse, msgpack, numpy as np, requests, xarray as xr
base = sys.argv[1]
s = requests.Session()
def ingest(policy, tag, data, status=204, **more):
    more.setdefault("headers", {"Content-Type": "application/octet-stream"})
    r = s.post(base + "/erp5/portal_ingestion_policies/" + policy + "/ingest?reference=" + tag, data=data, allow_redirects=False, **more)
    assert r.status_code == status, (policy, tag, r.status_code, r.text)
    return r
def get(path, status=200):
    r = s.get(base + path)
    assert r.status_code == status, (path, r.status_code, r.text)
    return r
def ingestion_of(supply):
    return [i for i in get("/api/ingestions").json()["ingestions"] if i["supply"] == supply]

# 01 and 01_1: 10 001 lines of numbers, straddled by every cut
text = "".join(",".join(str(j) for j in range(i, min(i + 10, 100001))) + "\n" for i in range(0, 100001, 10)).encode()
assert len(text) == 588897 and hashlib.md5(text).hexdigest() == "9ab92a072f5f532f3d1d45dda2e3aba9"
chunk = msgpack.packb([0, text.decode()], use_bin_type=True)
assert len(chunk) == 588904 and chunk[:7] == bytes.fromhex("9200db0008fc61")
ingest("conversion", "csv.first", chunk)
form = urllib.parse.urlencode({"data_chunk": chunk})
assert len(form) == 788929, len(form)
ingest("conversion", "csv.second", form, headers={"Content-Type": "application/x-www-form-urlencoded"})
for name in ("csv.first", "csv.second"):
    assert get("/streams/" + name).content == text, name
    for _ in range(300):
        if s.get(base + "/api/arrays/" + name).status_code == 200 and xr.open_zarr(base + "/arrays/" + name).sizes["index"] == 100001:
            break
        time.sleep(0.1)
    value = xr.open_zarr(base + "/arrays/" + name).value
    assert value.dtype == np.float64 and (value.values == np.arange(100001)).all() and value.values.mean() == 50000, value
one = ingestion_of("csv")
assert len(one) == 1 and one[0]["state"] == "started", one
assert [(l["product"], l["stream"]) for l in one[0]["lines"]] == [("csv.first", "csv.first"), ("csv.second", "csv.second")], one

# 06: policy and supply default exist
assert "default" in [p["name"] for p in get("/api/status").json()["policies"]]
assert get("/api/supplies/default").json()["state"] == "validated"

# 09: one array of 10 001 pairs, kept as it came
body = msgpack.packb([[1576249571 + i, i * 1.5] for i in range(10001)])
ingest("default", "test_sensor.test_product", body)
got = get("/streams/test_sensor.test_product").content
assert got == body
dates = np.array([p[0] for p in msgpack.unpackb(got)], dtype="datetime64[s]")
assert dates[0] == np.datetime64("2019-12-13T15:06:11"), dates[0]

# 13: what comes is what unpacks
ingest("default", "default.raw", bytes([0x93, 1, 2, 3]))
assert list(msgpack.Unpacker(__import__("io").BytesIO(get("/streams/default.raw").content))) == [[1, 2, 3]]

# MQTT 02, 03, 07: a form; title and payload; several in a row
for i in range(3):
    record = {"topic": "room/%d" % i, "payload": {"temperature": 20 + i, "ok": True}}
    ingest("default_mqtt", "default_mqtt.mqtt_data", {"data_chunk": msgpack.packb([0, record])}, headers={"Content-Type": "application/x-www-form-urlencoded"})
messages = get("/buckets/default_mqtt.mqtt_data").json()
assert [m["key"] for m in messages["buckets"]] == ["room/0", "room/1", "room/2"], messages
for i in range(3):
    assert get("/buckets/default_mqtt.mqtt_data?index=%d" % i).text == str({"temperature": 20 + i, "ok": True})

# MQTT 04, 05, 06: who is not known; the last two were 500
data = msgpack.packb([0, {"topic": "t", "payload": "p"}])
ingest("not_existing_policy", "default_mqtt.mqtt_data", data, 404)
assert "supply" in ingest("default_mqtt", "bad_supply.mqtt_data", data, 404).text
assert "product" in ingest("default_mqtt", "default_mqtt.bad_product", data, 404).text
assert "dot" in ingest("default_mqtt", "nodot", data, 400).text

# Telecom 05: logs of radios; an empty one stores nothing; no prefix is refused
tag = "ors.ors123_COMP-4567_e0xABCDE"
ingest("ors_enb_log_ingestion", tag, msgpack.packb([0, {"log": "first"}]) + msgpack.packb([1, {"log": "second"}]))
assert get("/streams/" + tag).text == "first\nsecond\n"
assert "ors." in ingest("ors_enb_log_ingestion", "other.tag", msgpack.packb([0, {"log": "x"}]), 400).text
assert [i["reference"] for i in ingestion_of("ors123_COMP-4567_e0xABCDE")] == ["ors123_COMP-4567_e0xABCDE"]

# Drones: a bucket for each file, the same name overwritten, a broken record told
def rows(path, *lines):
    return b"".join(msgpack.packb([0, {"filepath": path, "message": l}]) for l in lines)
ingest("drone", "drone.log", rows("/srv/a/drone1.csv", "a;b", "1;2") + rows("/srv/a/drone2.csv", "a;b"))
ingest("drone", "drone.log", rows("/srv/b/drone1.csv", "a;b", "3;4"))
ingest("drone", "drone.log", msgpack.packb([0, {"message": "no path"}]), 400)
assert get("/buckets/drone.log?key=drone1.csv").text == "a;b\n3;4"
assert get("/buckets/drone.log?index=1").text == "a;b"

# 04: 100 buckets of 100 000 bytes, by key, by index, in sequence; one deleted
get("/buckets/drone.files", 404)
value = "x" * 100000
for i in range(100):
    ingest("drone", "drone.files", rows("%02d" % i, value))
assert get("/buckets/drone.files?key=00").text == value and get("/buckets/drone.files?index=0").text == value
listed = get("/buckets/drone.files?order=key").json()
assert listed["count"] == 100 and [b["key"] for b in listed["buckets"]] == ["%02d" % i for i in range(100)]
assert [b["key"] for b in get("/buckets/drone.files?order=key&start=10&limit=1").json()["buckets"]] == ["10"]
assert s.delete(base + "/buckets/drone.files?key=10").status_code == 204
get("/buckets/drone.files?key=10", 404)
assert get("/buckets/drone.files").json()["count"] == 99

# A stopped ingestion goes on to take data; an invalidated supply starts no new one
i = ingestion_of("test_sensor")[0]["id"]
assert s.post(base + "/api/ingestions/" + i + "/stop").json()["state"] == "stopped"
ingest("default", "test_sensor.test_product", body)
assert s.post(base + "/api/supplies/test_sensor/invalidate").json()["state"] == "invalidated"
assert s.post(base + "/api/ingestions/" + i + "/deliver").json()["state"] == "delivered"
assert "invalidated" in ingest("default", "test_sensor.test_product", body, 409).text
assert get("/streams/test_sensor.test_product").content == body * 2
`
	if out, err := exec.Command(python, "-c", script, w.url("")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	w.kill() // and all of it is there after a crash
	w.up()
	if a := w.do("GET", "/api/supplies/test_sensor", nil); a.Status != 200 || !bytes.Contains(a.Body, []byte(`"state":"invalidated"`)) {
		t.Errorf("after a kill: %d %s", a.Status, a.Body)
	}
	if a := w.do("GET", "/buckets/drone.log?key=drone1.csv", nil); string(a.Body) != "a;b\n3;4" {
		t.Errorf("after a kill the bucket is %q", a.Body)
	}
}

// TestFileBufferChunk: what fluentd's file buffer makes at most by default,
// 256 MB, and more, is taken without any setting, in little memory.
func TestFileBufferChunk(t *testing.T) {
	t.Parallel()
	const limit = 96 << 20
	w := start(t)
	peak := w.watchMemory()
	piece := encode(entry{1_700_000_000, 0, map[string]any{"log": strings.Repeat("x", 1<<20)}})
	chunk := bytes.Repeat(piece, 256<<20/len(piece))
	if a := w.ingest("default", "raw.buffer", chunk); a.Status != 204 {
		t.Fatalf("a chunk of %d bytes: %d %s", len(chunk), a.Status, a.Body)
	}
	a := w.do("HEAD", "/streams/raw.buffer", nil)
	if got := a.Header.Get("Content-Length"); got != strconv.Itoa(len(chunk)) {
		t.Errorf("the stream has %s bytes, want %d", got, len(chunk))
	}
	if got := peak(); got > limit {
		t.Errorf("memory rose to %d MiB, want at most %d", got>>20, limit>>20)
	}
}
