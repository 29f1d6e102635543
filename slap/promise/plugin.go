package promise

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

//go:embed runner.py
var runner string

// An order is what the runner is told.
type order struct {
	Partition string         `json:"partition"`
	Folder    string         `json:"folder"`
	Promises  []string       `json:"promises"`
	Parallel  int            `json:"parallel"`
	Timeout   float64        `json:"timeout"`
	Anomaly   bool           `json:"anomaly"`
	Config    map[string]any `json:"config"`
}

// An event is a line of the runner's.
type event struct {
	Name  string `json:"name"`
	Event string `json:"event"` // made, result, empty, broken, timeout, end

	Periodicity float64 `json:"periodicity"` // minutes
	Tested      bool    `json:"tested"`
	Anomaly     bool    `json:"anomaly"`

	Failed  bool    `json:"failed"`
	Message *string `json:"message"`
	Kind    string  `json:"kind"`
	Date    string  `json:"date"`
	Bang    string  `json:"bang"`
	Seconds float64 `json:"seconds"`
}

// plugins runs Python promises in the software's Python, which is started
// once for all of them.
func (o Options) plugins(ctx context.Context, list []check) []*Result {
	results := make([]*Result, len(list))
	index := map[string]int{}
	names := make([]string, len(list))
	for i, c := range list {
		index[c.name], names[i] = i, c.name
	}
	events, complaint := o.python(ctx, names)
	made := map[string]event{}
	for _, e := range events {
		i, ok := index[e.Name]
		if !ok {
			continue
		}
		r := results[i]
		if r == nil {
			r = o.blank(list[i])
			results[i] = r
		}
		switch e.Event {
		case "made":
			made[e.Name] = e
		case "empty":
			r.empty = true
		case "result":
			r.settle(e)
		case "broken":
			o.unclear(r, noOutput+": "+text(e.Message))
		case "timeout":
			o.unclear(r, o.timedOut())
		case "end":
			r.Duration = time.Duration(e.Seconds * float64(time.Second))
		}
	}
	for i, c := range list {
		r := results[i]
		if r == nil {
			r = o.blank(c)
			results[i] = r
		}
		if r.Message == "" && !r.settled && !r.empty {
			o.unclear(r, strings.TrimSpace(noOutput+"\n"+complaint))
		}
		if e, ok := made[c.name]; ok {
			o.remember(c, cache{Tested: e.Tested, Anomaly: e.Anomaly, Periodicity: e.Periodicity}, !r.empty)
		}
		if r.empty {
			results[i] = nil
		}
	}
	return results
}

// noOutput begins the message of a promise that said nothing.
const noOutput = "Error: No output returned by the promise"

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (o Options) timedOut() string {
	return fmt.Sprintf("Error: Promise timed out after %v seconds", o.Timeout.Seconds())
}

// settle takes over what a promise said itself.
func (r *Result) settle(e event) {
	r.Failed, r.Message, r.Bang, r.settled = e.Failed, shorten(text(e.Message)), e.Bang, true
	r.anomaly = e.Kind == anomalyType
	if t, err := time.Parse(dateFormat, e.Date); err == nil {
		r.Date = t.UTC()
	}
}

// unclear is a promise that did not answer. In anomaly mode that is a failure
// only if its last result was one, too.
func (o Options) unclear(r *Result, message string) {
	r.Failed, r.Message, r.settled = true, shorten(message), true
	if r.anomaly = o.Anomaly; o.Anomaly {
		last, ok := o.last(check{name: r.Name, path: r.Path, plugin: r.Plugin})
		r.Failed = ok && (last.Failed || strings.Contains(strings.ToLower(last.Message), "error:"))
	}
}

// python runs the runner, and gives its events and what it complained about.
func (o Options) python(ctx context.Context, names []string) ([]event, string) {
	if o.Python == "" {
		return nil, "the software has no Python of its own to run it with"
	}
	input, err := json.Marshal(order{
		Partition: o.Partition, Folder: filepath.Join(o.Partition, "etc/plugin"), Promises: names,
		Parallel: o.Parallel, Timeout: o.Timeout.Seconds(), Anomaly: o.Anomaly,
		Config: map[string]any{
			"log-folder": filepath.Join(o.Partition, logFolder), "partition-folder": o.Partition, "debug": false,
			"promise-timeout": o.Timeout.Seconds(), "master-url": orNil(o.Master), "partition-cert": orNil(o.Cert),
			"partition-key": orNil(o.Key), "partition-id": orNil(o.ID), "computer-id": orNil(o.Computer),
		},
	})
	if err != nil {
		return nil, err.Error()
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err.Error()
	}
	defer r.Close()
	// Every promise has its time, and the start of Python has some.
	rounds := time.Duration((len(names) + o.Parallel - 1) / o.Parallel)
	ctx, cancel := context.WithTimeout(ctx, rounds*(o.Timeout+7*time.Second)+10*time.Second)
	defer cancel()
	found := make(chan []event, 1)
	go func() {
		var list []event
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 64<<10), 2<<20)
		for lines.Scan() {
			var e event
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				list = append(list, e)
			}
		}
		found <- list
	}()
	said, err := o.execute(ctx, job{
		command: []string{o.Python, "-c", runner}, input: bytes.NewReader(input), extra: w,
	})
	w.Close()
	// A process that keeps the pipe open does not keep us.
	r.SetReadDeadline(time.Now().Add(time.Second))
	list := <-found
	if err != nil {
		said = fmt.Sprintf("%v\n%s", err, said)
	}
	return list, said
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}
