// Package telemetry reads what collectors of metrics send over HTTP: InfluxDB's
// line protocol, Telegraf's JSON, and Prometheus' remote write 1.0 and 2.0. All
// come out as msgpack entries [time, record], as the forward protocol has them,
// in a batch for each measurement, so that they are kept and turned into arrays
// like any other data.
//
// A record of a point is one map: its tags (labels) and its fields, a tag whose
// name a field has too as NAME_tag. A sample of Prometheus is its labels and
// the field "value"; the label __name__ names the batch.
//
// What cannot be read is refused line by line, the rest is read on.
package telemetry
