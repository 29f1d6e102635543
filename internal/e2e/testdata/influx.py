"""Writes points with InfluxDB's own client: influx.py URL."""
import sys

from influxdb_client import InfluxDBClient, Point, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

begin = 1_700_000_000
with InfluxDBClient(url=sys.argv[1], token="a token", org="weir") as client:
    assert client.ping(), "no answer to ping"
    with client.write_api(write_options=SYNCHRONOUS) as api:
        points = [
            Point("room, one").tag("host=", "a b,c").field("temperature", i / 4).field("count", i)
            .field("note", f'"{i}" \\').field("on", i % 2 == 0).time(begin + i, WritePrecision.S)
            for i in range(100)
        ]
        api.write(bucket="lab", record=points, write_precision=WritePrecision.S)
        api.write(bucket="lab", record=points, write_precision=WritePrecision.S)  # as after a lost answer
        try:
            api.write(bucket="lab", record="room v=1 1700000000000000000\nroom v=\nroom v=2 1700000001000000000")
            raise SystemExit("a bad line is taken")
        except ApiException as e:
            assert e.status == 400 and "2 points written, 1 refused; line 2" in str(e.body), (e.status, e.body)
print("done")
