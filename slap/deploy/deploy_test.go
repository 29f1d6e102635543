package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/slap"
)

// A fake master answers by path and notes what it was asked.
type fake struct {
	mu      sync.Mutex
	asked   []string // path and the fields that matter
	answers map[string]func(r *http.Request) (int, any)
}

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	line := r.URL.Path
	for _, k := range []string{"url", "computer_id", "software_release", "partition_reference", "state", "software_product_reference"} {
		if v := r.Form.Get(k); v != "" {
			line += " " + strings.NewReplacer("<marshal><string>", "", "</string></marshal>", "").Replace(v)
		}
	}
	f.asked = append(f.asked, line)
	answer := f.answers[r.URL.Path]
	if answer == nil {
		return nil, errors.New("nobody listens")
	}
	status, v := answer(r)
	var b []byte
	var err error
	if raw, ok := v.(rawJSON); ok {
		b = []byte(raw)
	} else {
		b, err = slap.Marshal(v)
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(b))), Request: r}, err
}

// rawJSON is an answer as it is.
type rawJSON string

func (f *fake) count(prefix string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.asked {
		if strings.HasPrefix(a, prefix) {
			n++
		}
	}
	return n
}

func always(status int, v any) func(*http.Request) (int, any) {
	return func(*http.Request) (int, any) { return status, v }
}

func instance(state string, connection map[string]any) *slap.Object {
	return &slap.Object{Class: "SoftwareInstance", Attributes: map[string]any{
		"_requested_state": state, "slap_computer_id": "COMP-1", "slap_computer_partition_id": "p", "_connection_dict": connection,
	}}
}

func run(t *testing.T, f *fake, list ...Deployment) (*Deployer, func()) {
	t.Helper()
	c, err := slap.NewClient(slap.ClientOptions{URL: "http://master", HTTP: &http.Client{Transport: f}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(Options{Client: c, Deployments: list})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	return d, func() { cancel(); <-done }
}

const (
	request = "/requestComputerPartition"
	product = "/getSoftwareReleaseListFromSoftwareProduct"
	supply  = "/supplySupply"
)

// TestDeploy: supplied, asked for until it is there, then once a minute.
func TestDeploy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ready := false
		connection := map[string]any{}
		f := &fake{answers: map[string]func(*http.Request) (int, any){
			product: always(200, []any{"http://sr/monitor.cfg"}), supply: always(200, nil),
			request: func(*http.Request) (int, any) {
				if !ready {
					return 408, nil
				}
				return 200, instance("started", connection)
			},
		}}
		d, stop := run(t, f, Deployment{Policy: "sensors", Reference: "r", Release: "product.monitor", State: slap.Started, Filter: map[string]string{"computer_guid": "COMP-1"}, Computers: []string{"COMP-2"}})
		defer stop()
		time.Sleep(20 * time.Second)
		if s := d.Status()[0]; s.Phase != Waiting || s.Attempts < 4 || s.Attempts > 10 || s.Release != "http://sr/monitor.cfg" || s.Error != "" {
			t.Errorf("while the master says please wait: %+v", s)
		}
		if f.count(supply+" http://sr/monitor.cfg COMP-1 available") == 0 || f.count(supply+" http://sr/monitor.cfg COMP-2 available") == 0 {
			t.Errorf("supplies: %v", f.asked)
		}
		f.mu.Lock()
		ready = true
		f.mu.Unlock()
		time.Sleep(time.Minute)
		if s := d.Status()[0]; s.Phase != Allocated || s.State != "started" || s.Computer != "COMP-1" || s.Partition != "p" {
			t.Errorf("when it is there: %+v", s)
		}
		before, since := f.count(request), d.Status()[0].Since
		time.Sleep(10 * time.Minute)
		if n := f.count(request) - before; n < 8 || n > 13 || d.Status()[0].Since != since {
			t.Errorf("%d requests in ten minutes, since %v", n, d.Status()[0].Since)
		}
		f.mu.Lock()
		connection = map[string]any{"url": "x"}
		f.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if s := d.Status()[0]; s.Connection["url"] != "x" || s.Since == since {
			t.Errorf("when it publishes: %+v", s)
		}
	})
}

// TestFailures: each is told, and tried again until it is over.
func TestFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answers: map[string]func(*http.Request) (int, any){}}
		d, stop := run(t, f, Deployment{Policy: "sensors", Reference: "r", Release: "product.monitor", State: slap.Started})
		defer stop()
		for _, c := range []struct {
			path   string
			answer func(*http.Request) (int, any)
			names  string
		}{
			{product, nil, "cannot be reached"},
			{product, always(200, []any{}), "slap.products"},
			{product, always(200, []any{"http://sr"}), "cannot be reached"},
			{request, always(404, nil), "404"},
			{request, always(200, "text"), "not an instance"},
			{request, always(503, nil), "503"},
		} {
			f.mu.Lock()
			f.answers[c.path] = c.answer
			f.mu.Unlock()
			time.Sleep(3 * time.Minute)
			if s := d.Status()[0]; s.Phase != Failed || !strings.Contains(s.Error, c.names) {
				t.Errorf("%s: %+v, want %q", c.path, s, c.names)
			}
		}
		f.mu.Lock()
		f.answers[request] = always(200, instance("started", nil))
		f.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if s := d.Status()[0]; s.Phase != Allocated || s.Error != "" {
			t.Errorf("in the end: %+v", s)
		}
		if f.count(supply) != 0 {
			t.Error("supplied, though no computer is named")
		}
	})
}

// TestDestroyed: an instance that is to go is asked to, and nothing supplied.
func TestDestroyed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answers: map[string]func(*http.Request) (int, any){request: always(200, instance("destroyed", nil))}}
		d, stop := run(t, f, Deployment{Reference: "r", Release: "http://sr", State: slap.Destroyed, Computers: []string{"COMP-1"}})
		time.Sleep(time.Second)
		stop()
		if s := d.Status()[0]; s.Phase != Allocated || s.State != "destroyed" || f.count(supply) != 0 || f.count(request) == 0 {
			t.Errorf("%+v, asked %v", s, f.asked)
		}
	})
}

// TestReport: what the computer reports is told, and is asked for soon while
// the instance does not run.
func TestReport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		report := ""
		f := &fake{answers: map[string]func(*http.Request) (int, any){
			request: func(*http.Request) (int, any) {
				i := instance("started", nil)
				if report != "" {
					i.Attributes["_access_status"] = report
				}
				return 200, i
			},
		}}
		d, stop := run(t, f, Deployment{Policy: "sensors", Reference: "r", Release: "http://sr", State: slap.Started})
		defer stop()
		time.Sleep(20 * time.Second)
		if s := d.Status()[0]; s.Phase != Allocated || s.Running() || s.Broken() || s.Attempts < 4 {
			t.Errorf("before the computer reports: %+v", s)
		}
		for text, running := range map[string]bool{"#error while instanciating: no compiler": false, "#access Instance correctly started": true} {
			f.mu.Lock()
			report = text
			f.mu.Unlock()
			time.Sleep(2 * time.Minute)
			if s := d.Status()[0]; s.Report != text || s.Running() != running || s.Broken() == running {
				t.Errorf("%q: %+v", text, s)
			}
		}
	})
}

// TestEach: one instance on each computer that the master lists, those that
// come later included.
func TestEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		computers := []any{}
		f := &fake{answers: map[string]func(*http.Request) (int, any){
			"/getHateoasUrl": always(404, nil), supply: always(200, nil), request: always(200, instance("started", nil)),
			"/hateoas/": func(r *http.Request) (int, any) {
				if r.URL.Query().Get("mode") == "" {
					return 200, rawJSON(`{"_links": {"raw_search": {"href": "http://master/hateoas/?mode=search&query={query}"}}}`)
				}
				b, err := json.Marshal(computers)
				if err != nil {
					t.Error(err)
				}
				return 200, rawJSON(`{"_embedded": {"contents": ` + string(b) + `}}`)
			},
		}}
		d, stop := run(t, f, Deployment{Policy: "sensors", Reference: "r", Release: "http://sr", State: slap.Started, Each: true})
		defer stop()
		time.Sleep(20 * time.Second)
		if s := d.Status(); len(s) != 1 || s[0].Reference != "r" || s[0].Phase != Failed || !strings.Contains(s[0].Error, "no computer") {
			t.Errorf("without computers: %+v", s)
		}
		for k, c := range []string{"COMP-1", "COMP-2"} {
			f.mu.Lock()
			computers = append(computers, map[string]string{"reference": c})
			f.mu.Unlock()
			time.Sleep(3 * time.Minute)
			s := d.Status()
			if len(s) != k+1 || s[k].Reference != "r-"+c || s[k].Phase != Allocated || f.count(supply+" http://sr "+c+" available") == 0 {
				t.Errorf("with %s: %+v, asked %v", c, s, f.asked)
			}
		}
	})
}

func TestNew(t *testing.T) {
	t.Parallel()
	if _, err := New(Options{}); err == nil {
		t.Error("a deployer without a client")
	}
}
