// Otel runs the OpenTelemetry collector's fluentforward receiver on a free port
// of 127.0.0.1. It prints the address, then a JSON line for each log record,
// and ends when its standard input does.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/fluentforwardreceiver"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	metrics "go.opentelemetry.io/otel/metric/noop"
	traces "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "otel:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx := context.Background()
	sink, err := consumer.NewLogs(show)
	if err != nil {
		return err
	}
	log, err := zap.NewProduction()
	if err != nil {
		return err
	}
	r, address, err := listen(ctx, sink, log)
	if err != nil {
		return err
	}
	fmt.Println(address)
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return r.Shutdown(ctx)
}

// listen starts a receiver. It does not tell which port it was given, so one
// that was free a moment ago is asked for; another process may take it first.
func listen(ctx context.Context, sink consumer.Logs, log *zap.Logger) (r receiver.Logs, address string, err error) {
	factory := fluentforwardreceiver.NewFactory()
	for range 5 {
		if address, err = free(); err != nil {
			return nil, "", err
		}
		set := receiver.Settings{
			ID: component.NewID(factory.Type()),
			TelemetrySettings: component.TelemetrySettings{
				Logger: log, Resource: pcommon.NewResource(),
				TracerProvider: traces.NewTracerProvider(), MeterProvider: metrics.NewMeterProvider(),
			},
		}
		r, err = factory.CreateLogs(ctx, set, &fluentforwardreceiver.Config{ListenAddress: address}, sink)
		if err != nil {
			return nil, "", err
		}
		if err = r.Start(ctx, host{}); err == nil {
			return r, address, nil
		}
	}
	return nil, "", err
}

func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// A host has no extensions.
type host struct{}

// GetExtensions gives none.
func (host) GetExtensions() map[component.ID]component.Component { return nil }

// A record is a log record as it is printed.
type record struct {
	Nanoseconds int64          `json:"ns"`
	Body        any            `json:"body"`
	Attributes  map[string]any `json:"attributes"`
}

// show prints records; the receiver acknowledges them when it returns.
func show(_ context.Context, logs plog.Logs) error {
	out := json.NewEncoder(os.Stdout)
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, l := range scope.LogRecords().All() {
				r := record{int64(l.Timestamp()), l.Body().AsRaw(), l.Attributes().AsRaw()}
				if err := out.Encode(r); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
