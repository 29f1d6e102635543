package demo

import (
	"context"
	"crypto/sha256"
	_ "embed" // demo.yaml
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"weir/arrays"
)

// Config is the configuration that the demo's gateway runs with.
//
//go:embed demo.yaml
var Config []byte

// Options of a demo.
type Options struct {
	HTTP, Forward string   // HOST:PORT of a running weir
	Wavs          []string // paths of wav files to send besides those that are made
	Once          bool     // stop after the first samples instead of going on
	Out           io.Writer
}

type demo struct {
	o      Options
	base   string
	client *http.Client
	expect []expectation
	usage  []string // streams of the resource consumption
	run    string   // ends the names of streams that go on, so that each run has its own
}

// An expectation is what a group must come to hold.
type expectation struct {
	stream, array string
	rows          int64
}

// arrival is how long the arrays may take until the demo calls it a failure.
const arrival = 20 * time.Second

// Run sends, waits until all of it is in arrays, checks the streams' bytes and
// the arrays' lengths against what was sent, and prints how to look at them.
// Unless Once it goes on with a sample a second until the context ends.
func Run(ctx context.Context, o Options) error {
	d := &demo{o: o, base: "http://" + o.HTTP, client: &http.Client{Timeout: time.Minute}, run: time.Now().Format("20060102-150405.000")}
	for _, step := range []func(context.Context) error{d.sendWavs, d.sendUsage, d.sendNumbers, d.check} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.invite()
	if o.Once {
		return nil
	}
	return d.goOn(ctx)
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.o.Out, format+"\n", args...) }

// sendWavs uploads each file and sends it by the forward protocol, too.
func (d *demo) sendWavs(ctx context.Context) error {
	d.say("\n1. Wav files, by PUT as curl -T does and by the forward protocol as @type bin does")
	for _, t := range tones {
		if err := d.sendWav(ctx, t.name, t.wav(), int64(t.frames())); err != nil {
			return err
		}
	}
	for _, path := range d.o.Wavs {
		b, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		if err := d.sendWav(ctx, filepath.Base(path), b, -1); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) sendWav(ctx context.Context, name string, wav []byte, frames int64) error {
	uploaded, sent := "wavs.put."+name, "wavs.bin."+name+"."+d.run
	if err := d.put(ctx, uploaded, wav); err != nil {
		return err
	}
	pieces, err := d.forward(sent, wav)
	if err != nil {
		return fmt.Errorf("demo: forward %s: %w", sent, err)
	}
	for _, stream := range []string{uploaded, sent} {
		if err := d.same(ctx, stream, wav); err != nil {
			return err
		}
		d.expect = append(d.expect, expectation{stream, "pcm", frames})
	}
	d.say("   %-12s %8d bytes, kept twice: uploaded, and in %d acknowledged pieces", name, len(wav), pieces)
	return nil
}

// same checks that a stream holds just these bytes.
func (d *demo) same(ctx context.Context, stream string, want []byte) error {
	got, err := d.do(ctx, http.MethodGet, "/streams/"+url.PathEscape(stream), nil)
	if err != nil {
		return err
	}
	if sha256.Sum256(got) != sha256.Sum256(want) {
		return fmt.Errorf("demo: stream %s holds other bytes than were sent: %d bytes, sent %d", stream, len(got), len(want))
	}
	return nil
}

// sendUsage sends two samples of this machine's resource consumption.
func (d *demo) sendUsage(ctx context.Context) error {
	d.say("2. This machine's resource consumption, as the tables of a SlapOS monitor")
	s := &sampler{root: "/"}
	for range 2 {
		if err := d.pushSample(ctx, s); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// pushSample posts one sample, a chunk for each table.
func (d *demo) pushSample(ctx context.Context, s *sampler) error {
	now := time.Now()
	chunks, order := map[string][]byte{}, []string(nil)
	for _, r := range s.sample(now) {
		tag := "slapos.monitor.usage." + r.table + ".demo"
		if chunks[tag] == nil {
			order = append(order, tag)
		}
		chunks[tag] = appendEntry(chunks[tag], now, r.fields)
	}
	for _, tag := range order {
		if err := d.post(ctx, "usage", tag, chunks[tag]); err != nil {
			return err
		}
	}
	if d.usage == nil {
		d.usage = order
		for _, tag := range order {
			d.expect = append(d.expect, expectation{tag, "time", -1})
			d.say("   %s", tag)
		}
	}
	return nil
}

// sendNumbers posts lines of numbers as @type wendelin does.
func (d *demo) sendNumbers(ctx context.Context) error {
	const last = 100000
	d.say("3. Lines of numbers, by POST as @type wendelin does")
	tag := "numbers.demo." + d.run
	text := lines(last)
	if err := d.post(ctx, "numbers", tag, appendText(nil, text)); err != nil {
		return err
	}
	if err := d.same(ctx, tag, []byte(text)); err != nil {
		return err
	}
	d.expect = append(d.expect, expectation{tag, "value", last + 1})
	d.say("   %s %d bytes", tag, len(text))
	return nil
}

// check waits for the arrays and prints them.
func (d *demo) check(ctx context.Context) error {
	d.say("\nWhat arrived (every stream's bytes are equal to what was sent):")
	ctx, cancel := context.WithTimeout(ctx, arrival)
	defer cancel()
	for _, e := range d.expect {
		info, a, err := d.wait(ctx, e)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("   %-46s %-8s %-8s %v", e.stream, a.Name, a.DataType, a.Shape)
		if rate, ok := a.Attributes["sample_rate"]; ok {
			line += fmt.Sprintf("  %v Hz", rate)
		}
		if n := len(info.Arrays); n > 1 {
			line += fmt.Sprintf("  and %d columns", n-1)
		}
		d.say("%s", line)
	}
	return nil
}

// wait asks for a group until it has the rows.
func (d *demo) wait(ctx context.Context, e expectation) (arrays.Info, arrays.ArrayInfo, error) {
	var last error
	for {
		info, a, err := d.info(ctx, e)
		if err == nil {
			return info, a, nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return info, a, fmt.Errorf("demo: the array of %s did not come: %w", e.stream, errors.Join(last, ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (d *demo) info(ctx context.Context, e expectation) (info arrays.Info, a arrays.ArrayInfo, err error) {
	b, err := d.do(ctx, http.MethodGet, "/api/arrays/"+url.PathEscape(e.stream), nil)
	if err != nil {
		return info, a, err
	}
	if err := json.Unmarshal(b, &info); err != nil {
		return info, a, err
	}
	for _, a = range info.Arrays {
		if a.Name != e.array {
			continue
		}
		if len(a.Shape) == 0 || a.Shape[0] == 0 || e.rows >= 0 && a.Shape[0] != e.rows {
			return info, a, fmt.Errorf("array %s has shape %v, want %d rows", a.Name, a.Shape, e.rows)
		}
		return info, a, nil
	}
	return info, a, fmt.Errorf("there is no array %s in it", e.array)
}

// invite tells how to look.
func (d *demo) invite() {
	growing := "slapos.monitor.usage.system.demo"
	d.say(`
Look at it:
   %s/

   curl -r 0-31 %s/streams/wavs.put.stereo16 | xxd

   import xarray as xr                    # pip install xarray zarr aiohttp
   ds = xr.open_zarr("%s/arrays/%s")
   print(ds.cpu_percent.to_series())
`, d.base, d.base, d.base, growing)
}

// goOn sends a sample a second.
func (d *demo) goOn(ctx context.Context) error {
	d.say("The resource consumption goes on growing by a sample a second. Ctrl-C ends it.")
	s, tick := &sampler{root: "/"}, time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := d.pushSample(ctx, s); err != nil && ctx.Err() == nil {
			return err
		}
	}
}
