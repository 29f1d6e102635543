// Remotewrite sends samples to URL with Prometheus' own remote write client,
// in the messages of version 1 and of version 2, twice, and prints what the
// server said to have written; then a series that must be refused.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
	"github.com/prometheus/prometheus/prompb"
)

// begin is the time of the first sample, in milliseconds since 1970.
const begin = 1_700_000_000_000

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: remotewrite URL")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "remotewrite:", err)
		os.Exit(1)
	}
}

func run(url string) error {
	api, err := remote.NewAPI(url, remote.WithAPIPath("api/v1/write"),
		remote.WithAPIBackoff(remote.BackoffConfig{Min: 10 * time.Millisecond, Max: time.Second, MaxRetries: 3}))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for range 2 { // the second time as after an answer that was lost
		if _, err := api.Write(ctx, remote.WriteV1MessageType, version1()); err != nil { // whose answer tells no numbers
			return fmt.Errorf("version 1: %w", err)
		}
		fmt.Println("version 1 written")
		stats, err := api.Write(ctx, remote.WriteV2MessageType, version2())
		if err != nil {
			return fmt.Errorf("version 2: %w", err)
		}
		fmt.Println("version 2 written:", stats.Samples)
	}
	_, err = api.Write(ctx, remote.WriteV1MessageType, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels: []prompb.Label{{Name: "job", Value: "nameless"}}, Samples: []prompb.Sample{{Value: 1, Timestamp: begin}}}}})
	fmt.Println("nameless:", err)
	return nil
}

// version1 has 2 metrics of 3 instances, 10 samples each.
func version1() *prompb.WriteRequest {
	var req prompb.WriteRequest
	for i := range 6 {
		one := prompb.TimeSeries{Labels: []prompb.Label{
			{Name: "__name__", Value: fmt.Sprint("one_", i%2)}, {Name: "instance", Value: fmt.Sprint("node-", i/2)}, {Name: "job", Value: "node"}}}
		for k := range 10 {
			one.Samples = append(one.Samples, prompb.Sample{Value: float64(i*100 + k), Timestamp: begin + int64(k)*15_000})
		}
		req.Timeseries = append(req.Timeseries, one)
	}
	return &req
}

// version2 is the same as version1, of other names.
func version2() *writev2.Request {
	symbols := writev2.NewSymbolTable()
	var req writev2.Request
	for i := range 6 {
		one := &writev2.TimeSeries{LabelsRefs: symbols.SymbolizeLabels([]string{
			"__name__", fmt.Sprint("two_", i%2), "instance", fmt.Sprint("node-", i/2), "job", "node"}, nil)}
		for k := range 10 {
			one.Samples = append(one.Samples, &writev2.Sample{Value: float64(i*100 + k), Timestamp: begin + int64(k)*15_000})
		}
		req.Timeseries = append(req.Timeseries, one)
	}
	req.Symbols = symbols.Symbols()
	return &req
}
