package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestMonitor sends rows of each table of SlapOS' monitor as its agents do, all
// values as text, to the policies of the example, and reads typed arrays.
func TestMonitor(t *testing.T) {
	t.Parallel()
	python := registryPeer(t, "WEIR_PYTHON", "Python with zarr, xarray, requests")
	w := start(t, "--config", filepath.Join(root, "conf", "examples", "monitor.yaml"))
	script := `
import sys, time, struct, msgpack, requests, numpy as np, xarray as xr
base, uid, n = sys.argv[1], "COMP-1234", 50
uri = base + "/erp5/portal_ingestion_policies/slapos"
common = {"date": "2026-11-21", "reported": "0"}
tables = {
  "user": {"partition": "slappart1", "pid": "%d", "process": "/bin/a b", "cpu_percent": "%d.5", "cpu_time": "10.25", "cpu_num_threads": "3",
    "memory_percent": "1.5", "memory_rss": "1048576", "io_rw_counter": "7", "io_cycles_counter": "8"},
  "system": {"loadavg": "%d.25", "cpu_percent": "12.5", "memory_used": "4194304", "memory_free": "1048576", "net_in_bytes": "%d", "net_in_errors": "0",
    "net_in_dropped": "0", "net_out_bytes": "9", "net_out_errors": "0", "net_out_dropped": "0"},
  "computer": {"cpu_num_core": "2", "cpu_frequency": "2400.%d", "cpu_type": "0", "memory_size": "8388608", "memory_type": "0", "partition_list": "slappart0;slappart1"},
  "disk": {"partition": "/dev/sda1", "used": "%d", "free": "1000000", "mountpoint": "/"},
  "temperature": {"sensor_id": "coretemp-isa-0000", "temperature": "4%d.0", "alarm": "0"},
  "networktest": {"computer_name": uid, "type": "PING", "name_or_ip": "2001:db8::1", "code": "200", "average": "1%d.5", "packet_lost": "0", "extra": "a;b"},
}
words = {"partition", "process", "date", "reported", "cpu_type", "memory_type", "partition_list", "mountpoint", "sensor_id", "alarm", "computer_name", "type", "name_or_ip", "code", "extra"}
def row(table, i):
    r = {k: v.replace("%d", str(i)) for k, v in tables[table].items()}
    return r if table == "networktest" else {**r, **common}
with requests.Session() as s:
    for table in tables:
        tag = "slapos.monitor.networktest.ping.ipv6" if table == "networktest" else "slapos.monitor.usage.%s.%s" % (table, uid)
        for half in range(2):
            body = b"".join(msgpack.packb([msgpack.ExtType(0, struct.pack(">II", 1700000000 + i, 5)), row(table, i)]) for i in range(half * n // 2, (half + 1) * n // 2))
            r = s.post(uri + "_" + table + "/ingest?reference=" + tag, data=body, headers={"Content-Type": "application/octet-stream"})
            assert r.status_code == 204, (table, r.status_code, r.text)
        for _ in range(300):
            r = s.get(base + "/api/arrays/" + tag)
            if r.status_code == 200 and r.json()["arrays"] and r.json()["arrays"][0]["shape"][0] == n:
                break
            time.sleep(0.1)
        else:
            raise SystemExit("%s: %s" % (tag, r.text))
        ds = xr.open_zarr(base + "/arrays/" + tag)
        assert ds.sizes["time"] == n, ds
        assert str(ds.time.values[7]).startswith("2023-11-14T22:13:27.000000005"), ds.time.values[7]
        assert set(ds.data_vars) == set(row(table, 0)), (set(ds.data_vars) ^ set(row(table, 0)))
        for name, var in ds.data_vars.items():
            want = [row(table, i)[name] for i in range(n)]
            if name in words:
                vocabulary = var.attrs["vocabulary"]
                assert var.dtype.kind in "iu" and [vocabulary[c - 1] for c in var.values] == want, (table, name, var.attrs)
            else:
                assert var.dtype == np.float64 and var.values.tolist() == [float(x) for x in want], (table, name, var.values)
    r = s.post(uri + "_syslog/ingest?reference=" + uid + ".system.local0.info", data=msgpack.packb([1700000000, {"message": "hello"}]))
    assert r.status_code == 204, r.text
    assert s.get(base + "/streams/" + uid + ".system.local0.info").text == "hello\n"
    status = s.get(base + "/api/status").json()
    assert not status["refused"], status["refused"]
`
	if out, err := exec.Command(python, "-c", script, w.url("")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
