package conf

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/arrays"
	"weir/policies"
	"weir/streams"
)

func TestDefault(t *testing.T) {
	t.Parallel()
	c, ds := Parse("default.yaml", DefaultYAML(), Source{})
	if ds != nil {
		t.Fatal(ds)
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("got %+v, want %+v", c, Default())
	}
	if c.HTTP.Listen != "127.0.0.1:8880" || !slices.Equal(c.Forward.Listen, []string{"127.0.0.1:24224"}) {
		t.Errorf("listens on %v and %v", c.HTTP.Listen, c.Forward.Listen)
	}
	p := policies.Default()
	p.Dedupe = policies.DedupeChunk
	if got := c.Router(); len(got) != 1 || !reflect.DeepEqual(got[0], p) {
		t.Errorf("got %+v, want %+v", got, p)
	}
	b := DefaultYAML()
	b[0] = 'x'
	if DefaultYAML()[0] != '#' {
		t.Error("a caller changed the defaults")
	}
}

// Every key of the configuration is in default.yaml, with a value or, for
// sections that are not there by default, in its comments.
func TestDefaultDocumentsEveryKey(t *testing.T) {
	t.Parallel()
	c := Default()
	text := string(DefaultYAML())
	var walk func(typ reflect.Type, path string, commented bool)
	walk = func(typ reflect.Type, path string, commented bool) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			commented, typ = true, typ.Elem()
		}
		if typ.Kind() != reflect.Struct || typ == reflect.TypeFor[Secret]() {
			return
		}
		for i := range typ.NumField() {
			key := typ.Field(i).Tag.Get("yaml")
			if key == "" {
				continue
			}
			at := join(path, key)
			described := commented || typ.Field(i).Type.Kind() == reflect.Pointer
			if _, ok := c.places[at]; !ok && (!described || !strings.Contains(text, " "+key+":") && !strings.Contains(text, "{"+key+":")) {
				t.Errorf("default.yaml does not have %s", at)
			}
			walk(typ.Field(i).Type, at, commented)
		}
	}
	walk(reflect.TypeFor[Config](), "", false)
}

// The options' own defaults are those that default.yaml writes down.
func TestDefaultsAgree(t *testing.T) {
	t.Parallel()
	c := Default()
	if o := c.Forward.Options(); o.MaxMessage != 64<<20 || o.MaxInflated != 256<<20 || o.MaxConnections != 8192 ||
		o.HandshakeTimeout != 10*time.Second || o.Linger != time.Second || o.RefuseInvalid || o.Security != nil {
		t.Errorf("got %+v", o)
	}
	want := streams.Options{SegmentBytes: 64 << 20, LiveSegments: 3, LargeBytes: 1 << 20, ChunkBytes: 64 << 20,
		Keys: 1 << 20, KeyAge: 24 * time.Hour, MinFree: 64 << 20}
	if o := c.Streams.Options(); !reflect.DeepEqual(o, want) {
		t.Errorf("got %+v", o)
	}
	if o := c.Arrays.Options(); o.ChunkBytes != 1<<20 || o.SyncEvery != 5*time.Second || o.CacheBytes != 32<<20 {
		t.Errorf("got %+v", o)
	}
}

func load(t *testing.T, name string) *Config {
	t.Helper()
	c, ds := Load(name, testSource())
	if ds != nil {
		t.Fatal(ds)
	}
	return c
}

func TestValues(t *testing.T) {
	t.Parallel()
	c := load(t, "testdata/environment.good.yaml")
	if c.Data != "/srv/weir/data/${kept}/$5" || c.HTTP.Listen != "127.0.0.1:9000" || c.HTTP.MaxBody != 8<<20 {
		t.Errorf("got %q, %q, %v", c.Data, c.HTTP.Listen, c.HTTP.MaxBody)
	}
	s := c.Forward.Options().Security
	if s == nil || s.Hostname != "h" || s.SharedKey != "from file" || s.Users[0].Password != "from env" || s.DenyAnonymous {
		t.Errorf("got %+v", s)
	}
	if !slices.Equal(c.Forward.Listen, []string{"127.0.0.1:9000"}) {
		t.Errorf("got %v", c.Forward.Listen)
	}
	c = load(t, "testdata/sizes.good.yaml")
	if o := c.Streams.Options(); o.SegmentBytes != 128<<20 || o.ChunkBytes != 3<<29 || o.MinFree != 1e8 || o.KeyAge != 36*time.Hour {
		t.Errorf("got %+v", o)
	}
	c = load(t, "testdata/aliases.good.yaml")
	if got := c.Router(); len(got) != 2 || !reflect.DeepEqual(got[1].Array, &arrays.Spec{Kind: "metrics"}) {
		t.Errorf("got %+v", got)
	}
	for _, name := range []string{"empty", "comment", "nulls"} {
		c = load(t, "testdata/"+name+".good.yaml")
		if !reflect.DeepEqual(c.HTTP, Default().HTTP) || len(c.Policies) != 1 || c.Data != Default().Data {
			t.Errorf("%s: got %+v", name, c)
		}
	}
}

func TestExamples(t *testing.T) {
	t.Parallel()
	source := Source{
		Getenv: func(name string) (string, bool) { return "value of " + name, true },
		ReadFile: func(name string) ([]byte, error) {
			if filepath.Base(name) == "shared_key" {
				return []byte("secret\n"), nil
			}
			return os.ReadFile(name)
		},
	}
	files, _ := filepath.Glob("examples/*.yaml")
	if len(files) < 4 {
		t.Fatalf("only %d files", len(files))
	}
	for _, name := range files {
		c, ds := Load(name, source)
		if ds != nil {
			t.Error(ds)
			continue
		}
		if _, err := policies.New(policies.Options{Policies: c.Router()}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The names of acceptance.yaml are a contract with those who try the product.
func TestAcceptance(t *testing.T) {
	t.Parallel()
	c := load(t, "examples/acceptance.yaml")
	r, err := policies.New(policies.Options{Policies: c.Router()})
	if err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]policies.Policy{
		"raw.a":       {Name: "raw", Keep: policies.Verbatim},
		"numbers":     {Name: "numbers", Keep: policies.Text, Array: &arrays.Spec{Kind: "numbers"}},
		"wavs.a.b":    {Name: "wavs", Keep: policies.Bytes, Array: &arrays.Spec{Kind: "wav"}},
		"metrics.cpu": {Name: "metrics", Keep: policies.Verbatim, Array: &arrays.Spec{Kind: "metrics"}},
	} {
		want.Match, want.Dedupe = want.Name+".**", policies.DedupeChunk
		if got, _ := r.Route(tag); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", tag, got, want)
		}
	}
	if p, ok := r.Route("other"); ok {
		t.Errorf("other goes to %s", p.Name)
	}
}

func TestOffline(t *testing.T) {
	t.Parallel()
	text := "forward: {security: {self_hostname: a, shared_key: 'file:none', users: [{username: u, password: 'env:NONE'}]}}\n" +
		"slap: {listen: '127.0.0.1:0', authority: true, client_ca_file: ca, token: 'env:NONE'}"
	source := Source{Getenv: func(string) (string, bool) { return "", false }}
	if _, ds := Parse("f.yaml", []byte(text), source); len(ds) < 3 {
		t.Errorf("got %v, want three secrets that cannot be read", ds)
	}
	source.Offline = true
	if _, ds := Parse("f.yaml", []byte(text), source); ds != nil {
		t.Errorf("offline: %v", ds)
	}
}

func TestMissingFile(t *testing.T) {
	t.Parallel()
	c, ds := Load("no/such/file.yaml", Source{})
	if c != nil || len(ds) != 1 || !strings.HasPrefix(ds[0].String(), "no/such/file.yaml:0:0: cannot be read") {
		t.Errorf("got %v, %v", c, ds)
	}
	_, ds = Load("f", Source{ReadFile: func(string) ([]byte, error) { return nil, fs.ErrPermission }})
	if !strings.Contains(ds.Error(), "permission denied") || ds.Err() == nil {
		t.Errorf("got %v", ds)
	}
	if err := Diagnostics(nil).Err(); err != nil {
		t.Errorf("no mistake is the error %v", err)
	}
	if !errors.As(ds.Err(), new(Diagnostics)) {
		t.Error("the error has no diagnostics")
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	t.Parallel()
	c, ds := Parse("f", []byte("forward: {security: {self_hostname: a, shared_key: hidden-word}}"), Source{})
	if ds != nil {
		t.Fatal(ds)
	}
	s := c.Forward.Security.SharedKey
	if s.Value() != "hidden-word" {
		t.Errorf("got %q", s.Value())
	}
	for _, text := range []string{s.String(), s.GoString()} {
		if strings.Contains(text, "hidden") {
			t.Errorf("prints %q", text)
		}
	}
	if (Secret{}).String() != "" || (Secret{Source: "env:A", value: "b"}).String() != "env:A" {
		t.Error("an empty secret or a source is not printed as it is")
	}
}
