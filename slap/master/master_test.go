package master

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"weir/slap"
)

// TestRefusals: bad input gets the status that the library maps to the right
// exception and a text that names the thing, and changes nothing.
func TestRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{MaxBody: 1 << 20})
	b.formatNode(theNode, 2)
	b.ask(b.Client, slap.Request{Reference: "root"})
	none, empty, no := "<marshal><none/></marshal>", `<marshal><dictionary id="i2"/></marshal>`, "<marshal><bool>0</bool></marshal>"
	request := func(changes ...string) []string {
		form := []string{"software_release", sr, "software_type", "default", "partition_reference", "x", "partition_parameter_xml", empty, "filter_xml", empty, "shared_xml", no, "state", none}
		return append(form, changes...)
	}
	before := b.dump()
	for _, c := range []struct {
		path   string
		form   []string
		status int
		names  string
	}{
		{"/requestComputerPartition", request("partition_reference", ""), 400, "partition_reference"},
		{"/requestComputerPartition", request("state", "<marshal><string>sleeping</string></marshal>"), 400, "sleeping"},
		{"/requestComputerPartition", request("state", "sleeping"), 400, "state"},
		{"/requestComputerPartition", request("filter_xml", "<marshal><list id='i2'/></marshal>"), 400, "filter_xml"},
		{"/requestComputerPartition", request("partition_parameter_xml", `<!DOCTYPE x [<!ENTITY a "b">]><marshal><string>&a;</string></marshal>`), 400, "document type"},
		{"/requestComputerPartition", request("partition_parameter_xml", `<marshal><object id="i2" module="os" class="system"><tuple/><dictionary id="i3"/></object></marshal>`), 400, "system"},
		{"/requestComputerPartition", request("partition_parameter_xml", "<marshal><string>"+strings.Repeat("x", 2<<20)+"</string></marshal>"), 413, "1048576"},
		{"/requestComputerPartition", request("partition_reference", "a\x00b"), 400, "partition_reference"},
		{"/requestComputerPartition", request("partition_reference", strings.Repeat("x", 2000)), 400, "title"},
		{"/requestComputerPartition", request("computer_id", theNode, "computer_partition_id", "nowhere"), 400, "nowhere"},
		{"/requestComputerPartition", request("filter_xml", `<marshal><dictionary id="i2"><string>computer_guid</string><string>stranger</string></dictionary></marshal>`), 404, "x"},
		{"/supplySupply", []string{"url", sr, "computer_id", theNode, "state", "wrong"}, 400, "wrong"},
		{"/supplySupply", []string{"url", sr, "computer_id", theNode}, 400, "state"},
		{"/startedComputerPartition", []string{"computer_id", theNode, "computer_partition_id", "nowhere"}, 404, "nowhere"},
		{"/setComputerPartitionConnectionXml", []string{"computer_id", theNode, "computer_partition_id", "nowhere", "connection_xml", empty}, 404, "nowhere"},
		{"/setComputerPartitionConnectionXml", []string{"computer_id", theNode, "computer_partition_id", partitionID(1), "connection_xml", empty}, 404, "free"},
		{"/setComputerPartitionConnectionXml", []string{"computer_id", theNode, "computer_partition_id", partitionID(0), "connection_xml", empty, "slave_reference", "_none"}, 404, "_none"},
		{"/setComputerPartitionConnectionXml", []string{"computer_id", theNode, "computer_partition_id", partitionID(0), "connection_xml", none + none}, 400, "connection_xml"},
		{"/softwareInstanceRename", []string{"computer_id", theNode, "computer_partition_id", "nowhere", "new_name", "y"}, 404, "nowhere"},
		{"/destroyedComputerPartition", []string{"computer_id", "stranger", "computer_partition_id", "slappart0"}, 404, "stranger"},
		{"/softwareInstanceBang", nil, 400, "computer_id"},
		{"/computerBang", []string{"computer_id", "stranger"}, 404, "stranger"},
		{"/loadComputerConfigurationFromXML", []string{"xml", empty}, 400, "reference"},
		{"/loadComputerConfigurationFromXML", []string{"xml", none}, 400, "reference"},
		{"/useComputer", []string{"computer_id", theNode, "use_string", "<journal>"}, 400, theNode},
		{"/useComputer", []string{"computer_id", theNode, "use_string", "<!DOCTYPE x><journal/>"}, 400, "document type"},
		{"/getRunId", nil, 405, "GET"},
		{"/nothing", nil, 404, ""},
	} {
		status, body := b.post(c.path, c.form...)
		if status != c.status || !strings.Contains(body, c.names) {
			t.Errorf("%s %.200q: %d %s; want %d and a text with %q", c.path, c.form, status, body, c.status, c.names)
		}
	}
	if after := b.dump(); after != before {
		t.Errorf("refused requests changed something:\nbefore %s\nafter  %s", before, after)
	}
}

func TestFormatRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	one := func(changes map[string]any) map[string]any {
		p := map[string]any{"reference": "p", "tap": map[string]any{"name": "t"}, "address_list": []any{map[string]any{"addr": "::1"}}}
		for k, v := range changes {
			p[k] = v
		}
		return p
	}
	for name, list := range map[string]any{
		"no list": "x", "no partition": []any{"x"}, "no reference": []any{one(map[string]any{"reference": ""})}, "no addresses": []any{one(map[string]any{"address_list": nil})},
		"an address without addr": []any{one(map[string]any{"address_list": []any{nil}})}, "the same twice": []any{one(nil), one(nil)},
	} {
		err := b.Format(context.Background(), map[string]any{"reference": theNode, "partition_list": list})
		var status *slap.StatusError
		if !errors.As(err, &status) || status.Status != http.StatusBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTree: states and stamps go through a tree as they do in slapproxy.
func TestTree(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := newBench(t, Options{})
	b.formatNode(theNode, 4)
	root := b.ask(b.Client, slap.Request{Reference: "root"})
	ask := slap.Request{Reference: "child", Filter: map[string]any{"retention_delay": int64(3), "other": "x"}}
	child := b.ask(b.On(root.Place), ask)
	grandchild := b.ask(b.On(child.Place), slap.Request{Reference: "grandchild"})
	stamp := func(i *slap.Instance) string { return b.partition(i.Place).Timestamp }

	if f := b.partition(child.Place).Filter; len(f) != 1 || f["retention_delay"] != "3" {
		t.Errorf("the node is given the filter %v", f)
	}
	r0, c0 := stamp(root), stamp(child)
	b.must(b.Publish(ctx, grandchild.Place, map[string]any{"a": "b"}, ""))
	if stamp(child) <= c0 || stamp(root) != r0 {
		t.Errorf("publishing moved the child from %s to %s, the root from %s to %s", c0, stamp(child), r0, stamp(root))
	}
	if _, err := b.Report(ctx, grandchild.Place, slap.ReportBang, "help"); err != nil {
		t.Error(err)
	}
	if stamp(root) != stamp(child) || stamp(root) <= r0 {
		t.Errorf("a bang left the root at %s, the child at %s", stamp(root), stamp(child))
	}

	b.ask(b.Client, slap.Request{Reference: "root", State: slap.Stopped})
	if i := b.ask(b.On(root.Place), ask); i.State != slap.Stopped {
		t.Errorf("the child of a stopped root is %s", i.State)
	}
	if i := b.ask(b.Client, slap.Request{Reference: "root"}); i.State != slap.Stopped {
		t.Errorf("a request without a state made the root %s", i.State)
	}
	b.ask(b.Client, slap.Request{Reference: "root", State: slap.Started})
	if i := b.ask(b.On(root.Place), ask); i.State != slap.Started {
		t.Errorf("the child of a started root is %s", i.State)
	}

	b.ask(b.Client, slap.Request{Reference: "root", State: slap.Destroyed})
	text, err := b.Report(ctx, root.Place, slap.ReportDestroyed, "")
	if err != nil || !strings.Contains(text, "child, grandchild") {
		t.Errorf("the end of a root with children: %q, %v", text, err)
	}
	if p := b.partition(grandchild.Place); p.State != slap.Destroyed || !p.Busy {
		t.Errorf("a grandchild of a root that ends: %+v", p)
	}
	for _, i := range []*slap.Instance{grandchild, child, root} {
		if text, err := b.Report(ctx, i.Place, slap.ReportDestroyed, ""); err != nil || text != "OK" {
			t.Errorf("the end of %v: %q, %v", i.Place, text, err)
		}
		if p := b.partition(i.Place); p.Busy {
			t.Errorf("%v is not free: %+v", i.Place, p)
		}
	}
}

// TestStamps: a stamp is whole seconds, greater with each change, in the past.
func TestStamps(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.formatNode(theNode, 1)
	last := ""
	for k := range 8 {
		i := b.ask(b.Client, slap.Request{Reference: "root", Parameters: map[string]any{"k": int64(k)}})
		stamp := slap.Text(i.Parameters, "timestamp")
		if !stamps.MatchString(stamp) || stamp <= last || stamp > "1800000000" {
			t.Errorf("stamp %q after %q", stamp, last)
		}
		last = stamp
	}
	b.clock = b.clock.Add(-time.Hour)
	i := b.ask(b.Client, slap.Request{Reference: "root", Parameters: map[string]any{"k": "back"}})
	if s := slap.Text(i.Parameters, "timestamp"); s <= last {
		t.Errorf("a clock that goes back gives %q after %q", s, last)
	}
}

// TestAllocation: the default computer first, then those that have the release.
func TestAllocation(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := newBench(t, Options{})
	b.formatNode(theNode, 1)
	b.formatNode("second", 1)
	b.formatNode("third", 2)
	b.must(b.Supply(ctx, sr, "third", slap.Available))
	if i := b.ask(b.Client, slap.Request{Reference: "a"}); i.Computer != theNode {
		t.Errorf("the first is on %s", i.Computer)
	}
	if i := b.ask(b.Client, slap.Request{Reference: "b"}); i.Computer != "third" {
		t.Errorf("the second is on %s", i.Computer)
	}
	if i := b.ask(b.Client, slap.Request{Reference: "c", Filter: map[string]any{"computer_guid": "second"}}); i.Computer != "second" {
		t.Errorf("the one for the second is on %s", i.Computer)
	}
	b.must(b.Supply(ctx, sr, "third", slap.Destroyed))
	if i, err := b.Request(ctx, slap.Request{Reference: "d", Software: sr}); !errors.Is(err, slap.ErrNotFound) {
		t.Errorf("without room: %v, %v", i, err)
	}
}

// TestAsync: the first answer is "please wait", the second the instance.
func TestAsync(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{Async: true})
	b.formatNode(theNode, 1)
	ask := slap.Request{Reference: "root", Software: sr}
	if i, err := b.Request(context.Background(), ask); !errors.Is(err, slap.ErrNotReady) {
		t.Fatalf("first: %v, %v", i, err)
	}
	if i := b.ask(b.Client, ask); i.Place != at(0) {
		t.Errorf("second: %+v", i)
	}
	var status *slap.StatusError
	err := b.Call(context.Background(), "post.v0.software_instance", map[string]any{"title": "x", "software_release_uri": sr, "software_type": "t"}, nil)
	if !errors.As(err, &status) || status.Status != http.StatusForbidden {
		t.Errorf("without room, by JSON: %v", err)
	}
}

// TestReports: what a node tells is kept, and repeating it writes nothing.
func TestReports(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := newBench(t, Options{})
	b.formatNode(theNode, 1)
	b.must(b.Supply(ctx, sr, theNode, slap.Available))
	b.ask(b.Client, slap.Request{Reference: "root"})
	status := func() string {
		var v struct {
			Text string `json:"access_status_message"`
		}
		b.must(b.Call(ctx, "get.v0.software_instance", map[string]any{"instance_guid": "root______0"}, &v))
		return v.Text
	}
	for _, c := range []struct {
		report slap.Report
		text   string
		want   string
	}{
		{slap.ReportStarted, "", "#access Instance correctly started"},
		{slap.ReportError, strings.Repeat("x", 5000) + "the end \x01", "the end ?"},
		{slap.ReportStopped, "", "#access Instance correctly stopped"},
	} {
		for range 2 {
			if _, err := b.Report(ctx, at(0), c.report, c.text); err != nil {
				t.Error(err)
			}
		}
		if got := status(); !strings.HasSuffix(got, c.want) || len(got) > errorTail+100 {
			t.Errorf("after %s: %.100q", c.report, got)
		}
		before := b.master.state.stream.State().Length
		if _, err := b.Report(ctx, at(0), c.report, c.text); err != nil || b.master.state.stream.State().Length != before {
			t.Errorf("%s again wrote a record: %v", c.report, err)
		}
	}
	b.must(b.ReportRelease(ctx, sr, theNode, slap.ReleaseError, "no compiler"))
	if s, body := b.raw(http.MethodGet, "/getSoftwareInstallationStatus?computer_id="+theNode+"&url="+sr, "", nil); s != 200 || !strings.Contains(body, "no compiler") {
		t.Errorf("status of a release: %d %s", s, body)
	}
	b.must(b.ReportRelease(ctx, other, theNode, slap.ReleaseAvailable, "")) // not supplied: ignored
	stamp := b.partition(at(0)).Timestamp
	b.must(b.BangComputer(ctx, theNode, "all"))
	if b.partition(at(0)).Timestamp <= stamp {
		t.Error("a bang of the computer changed no stamp")
	}
}

// TestProduct: an alias that nobody looked up is the product's release.
func TestProduct(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := newBench(t, Options{Products: map[string]string{"demo": sr}})
	b.formatNode(theNode, 1)
	b.must(b.Supply(ctx, sr, theNode, slap.Available))
	b.must(b.Supply(ctx, "product.demo", theNode, slap.Destroyed))
	b.must(b.Supply(ctx, "product.none", theNode, slap.Available))
	c, err := b.Computer(ctx, theNode)
	if b.must(err); len(c.Releases) != 2 || c.Releases[0].State != slap.Destroyed || c.Releases[1].URL != "product.none" {
		t.Errorf("%+v", c.Releases)
	}
}

// TestCapabilities: a partition with capabilities is for requests that want one.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := newBench(t, Options{Attributes: map[string]map[string]string{theNode: {"capability": "plain"}}})
	part := func(name string, more ...any) map[string]any {
		return map[string]any{"reference": name, "address_list": []any{}, "capability_list": more}
	}
	b.must(b.Format(ctx, map[string]any{"reference": theNode, "partition_list": []any{part("gpu", "gpu", "fast"), part("p1"), part("p2")}}))
	for k, c := range []struct{ want, on string }{{"", "p1"}, {"gpu", "gpu"}, {"fast", ""}, {"other", ""}, {"plain", "p2"}, {"", ""}} {
		r := slap.Request{Reference: fmt.Sprint(k), Software: sr}
		if c.want != "" {
			r.Filter = map[string]any{"capability": c.want}
		}
		i, err := b.Request(ctx, r)
		if c.on == "" && !errors.Is(err, slap.ErrNotFound) || c.on != "" && (err != nil || i.Partition != c.on) {
			t.Errorf("capability %q: %+v, %v; want %q", c.want, i, err, c.on)
		}
	}
	b.restart()
	if c := b.master.state.m.partitions[place{theNode, "gpu"}].Capabilities; len(c) != 2 {
		t.Errorf("after a restart: %v", c)
	}
}

// TestStatuses: what was reported last is asked for by the client.
func TestStatuses(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := newBench(t, Options{})
	b.formatNode(theNode, 2)
	b.must(b.Supply(ctx, sr, theNode, slap.Available))
	host := b.ask(b.Client, slap.Request{Reference: "host"})
	b.ask(b.Client, slap.Request{Reference: "front", Shared: true})
	if s, err := b.PartitionStatus(ctx, host.Place); err != nil || !s.None || s.Text != "" || !s.At.IsZero() {
		t.Errorf("before a report: %+v, %v", s, err)
	}
	if _, err := b.Report(ctx, host.Place, slap.ReportError, "no room"); err != nil {
		t.Fatal(err)
	}
	if s, err := b.PartitionStatus(ctx, host.Place); err != nil || s.None || s.State != "error" || !strings.Contains(s.Text, "no room") || s.At.Unix() != b.clock.Unix() {
		t.Errorf("after it: %+v, %v", s, err)
	}
	if i := b.ask(b.Client, slap.Request{Reference: "host"}); !strings.Contains(i.Status, "no room") || b.partition(host.Place).Status != i.Status {
		t.Errorf("the requester is told %q, the computer %q", i.Status, b.partition(host.Place).Status)
	}
	b.must(b.ReportShared(ctx, host.Place, "_front", "no site"))
	if s := b.master.state.m.shareds[name{Title: "front"}]; s.Status.Message != "no site" {
		t.Errorf("the shared instance: %+v", s.Status)
	}
	b.must(b.ReportRelease(ctx, sr, theNode, slap.ReleaseBuilding, ""))
	if s, err := b.ReleaseStatus(ctx, sr, theNode); err != nil || s.State != "building" {
		t.Errorf("the release: %+v, %v", s, err)
	}
	if s, err := b.ComputerStatus(ctx, theNode); err != nil || !strings.HasPrefix(s.Text, "#access") {
		t.Errorf("the computer: %+v, %v", s, err)
	}
	if a, err := b.TreeAddresses(ctx, host.Place); err != nil || len(a) != 1 || a[0] != [2]string{"tap" + partitionID(0), "10.0.0.1"} {
		t.Errorf("addresses: %v, %v", a, err)
	}
	if list, err := b.Computers(ctx); err != nil || len(list) != 1 || list[0].Reference != theNode {
		t.Errorf("computers: %v, %v", list, err)
	}
	if at, err := b.HateoasURL(ctx); err != nil || at != b.http.URL+"/hateoas/" {
		t.Errorf("hypertext at %q, %v", at, err)
	}
	for name, err := range map[string]error{
		"partition": func() error { _, err := b.PartitionStatus(ctx, at(9)); return err }(),
		"computer":  func() error { _, err := b.ComputerStatus(ctx, "x"); return err }(),
		"release":   func() error { _, err := b.ReleaseStatus(ctx, other, theNode); return err }(),
		"addresses": func() error { _, err := b.TreeAddresses(ctx, at(9)); return err }(),
		"shared":    b.ReportShared(ctx, host.Place, "_none", ""),
	} {
		if !errors.Is(err, slap.ErrNotFound) {
			t.Errorf("an unknown %s: %v", name, err)
		}
	}
}

// TestShared: a shared instance lives in its host's list.
func TestShared(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := newBench(t, Options{})
	b.formatNode(theNode, 3)
	host := b.ask(b.Client, slap.Request{Reference: "host"})
	asking := b.ask(b.Client, slap.Request{Reference: "asking", Software: other})
	front := slap.Request{Reference: "front", Shared: true, Parameters: map[string]any{"n": int64(1), "slave_reference": "forged"}}
	if i := b.ask(b.On(asking.Place), front); i.Place != host.Place {
		t.Fatalf("it is in %v", i.Place)
	}
	list := b.partition(host.Place).Shared
	if len(list) != 1 || list[0]["slave_reference"] != "asking_front" || list[0]["n"] != int64(1) {
		t.Fatalf("the host's list: %v", list)
	}
	stamp := b.partition(asking.Place).Timestamp
	b.must(b.Publish(ctx, host.Place, map[string]any{"site": "x"}, "asking_front"))
	if b.partition(asking.Place).Timestamp <= stamp {
		t.Error("publishing did not move the requester")
	}
	if i := b.ask(b.On(asking.Place), front); i.Connection["site"] != "x" {
		t.Errorf("the requester is told %v", i.Connection)
	}
	b.must(b.Rename(ctx, asking.Place, "renamed"))
	if i := b.ask(b.On(asking.Place), front); i.Connection["site"] != "x" || len(b.partition(host.Place).Shared) != 1 {
		t.Errorf("after the root was renamed: %+v", i)
	}
	front.State = slap.Destroyed
	b.ask(b.On(asking.Place), front)
	if list := b.partition(host.Place).Shared; len(list) != 0 {
		t.Errorf("a destroyed one is still listed: %v", list)
	}
	if i := b.ask(b.On(asking.Place), front); i.Computer != "" {
		t.Errorf("destroyed again: %+v", i)
	}
	front.State = slap.Started
	if i := b.ask(b.On(asking.Place), front); len(i.Connection) != 0 {
		t.Errorf("a new one knows what the old one was told: %v", i.Connection)
	}
	if _, err := b.Report(ctx, host.Place, slap.ReportDestroyed, ""); err != nil {
		t.Fatal(err)
	}
	if i, err := b.On(asking.Place).Request(ctx, slap.Request{Reference: "front", Software: sr, Shared: true}); !errors.Is(err, slap.ErrNotFound) {
		t.Errorf("without a host: %+v, %v", i, err)
	}
	b.must(b.master.state.m.check())
}

// TestSharedTwins: what a host publishes for a shared instance goes to no other
// one, though tree and title read the same when they are joined.
func TestSharedTwins(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := newBench(t, Options{})
	b.formatNode(theNode, 3)
	host := b.ask(b.Client, slap.Request{Reference: "host"})
	one, two := b.ask(b.Client, slap.Request{Reference: "a", Software: other}), b.ask(b.Client, slap.Request{Reference: "a_b", Software: other})
	first, second := slap.Request{Reference: "b_c", Shared: true}, slap.Request{Reference: "c", Shared: true}
	b.ask(b.On(one.Place), first)
	b.ask(b.On(two.Place), second)
	list := b.partition(host.Place).Shared
	if len(list) != 2 || list[0]["slave_reference"] != "a_b_c" || list[1]["slave_reference"] == "a_b_c" {
		t.Fatalf("the host's list: %v", list)
	}
	for k, s := range list {
		b.must(b.Publish(ctx, host.Place, map[string]any{"secret": k}, slap.Text(s, "slave_reference")))
	}
	if i := b.ask(b.On(one.Place), first); i.Connection["secret"] != "0" {
		t.Errorf("the first is told %v", i.Connection)
	}
	if i := b.ask(b.On(two.Place), second); i.Connection["secret"] != "1" {
		t.Errorf("the second is told %v", i.Connection)
	}
}

// TestFilters: a filter is compared with what a computer is said to have.
func TestFilters(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{Attributes: map[string]map[string]string{
		"a": {"region": "eu", "network_guid": "n1"}, "b": {"region": "asia", "network_guid": "n1"}, "c": {"network_guid": "n2"},
	}})
	for _, id := range []string{"a", "b", "c"} {
		b.formatNode(id, 3)
		b.must(b.Supply(context.Background(), sr, id, slap.Available))
	}
	for k, c := range []struct {
		filter map[string]any
		on     string // "" for nowhere
	}{
		{map[string]any{"region": "asia"}, "b"},
		{map[string]any{"network_guid": "n2"}, "c"},
		{map[string]any{"region": "asia", "network_guid": "n2"}, ""},
		{map[string]any{"computer_guid": "a", "region": "asia"}, ""},
		{map[string]any{"group": "x"}, ""},
		{map[string]any{"capability": "x"}, ""},
		{map[string]any{"mode": "other"}, ""},
		{map[string]any{"mode": "unique_by_network"}, "a"},
		{map[string]any{"no_such_filter": "x"}, "a"},
	} {
		i, err := b.Request(context.Background(), slap.Request{Reference: fmt.Sprint("i", k), Software: sr, Filter: c.filter})
		switch {
		case c.on == "" && !errors.Is(err, slap.ErrNotFound):
			t.Errorf("%v: %+v, %v", c.filter, i, err)
		case c.on != "" && (err != nil || i.Computer != c.on):
			t.Errorf("%v: %+v, %v; want it on %s", c.filter, i, err, c.on)
		}
	}
	root := b.ask(b.Client, slap.Request{Reference: "tree", Filter: map[string]any{"region": "asia"}})
	unique := map[string]any{"mode": "unique_by_network"}
	if i := b.ask(b.On(root.Place), slap.Request{Reference: "one", Filter: unique}); i.Computer != "c" {
		t.Errorf("beside an instance in n1: on %s", i.Computer)
	}
	if i, err := b.On(root.Place).Request(context.Background(), slap.Request{Reference: "two", Software: sr, Filter: unique}); !errors.Is(err, slap.ErrNotFound) {
		t.Errorf("with both networks taken: %+v, %v", i, err)
	}
}

// TestUsage: a journal is durable when it is answered, and kept once.
func TestUsage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := newBench(t, Options{})
	b.formatNode(theNode, 1)
	journal := "<?xml version='1.0'?><journal><transaction type=\"Sale Packing List\"/></journal>"
	for range 2 {
		b.must(b.ReportUsage(ctx, theNode, journal))
	}
	b.must(b.ReportUsage(ctx, theNode, "<journal/>"))
	if err := b.ReportUsage(ctx, "stranger", journal); !errors.Is(err, slap.ErrNotFound) {
		t.Errorf("usage of a stranger: %v", err)
	}
	b.restart()
	stream, ok := b.store.Stream(UsageStream)
	if !ok {
		t.Fatal("there is no stream of usage")
	}
	at := stream.State()
	text := make([]byte, at.Length)
	if _, err := stream.ReadAt(at.Generation, text, 0); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	var first usage
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || first != (usage{theNode, b.clock.Unix(), journal}) || len(lines) != 2 {
		t.Errorf("kept: %s, %v", text, err)
	}
}

// TestForward: what another master holds is known once, until it is destroyed.
func TestForward(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	far := httptest.NewServer(http.HandlerFunc(otherMaster))
	t.Cleanup(far.Close)
	b := newBench(t, Options{Forward: []Forward{{URL: far.URL, Releases: []string{other}}}})
	b.formatNode(theNode, 1)
	ask := slap.Request{Reference: "away", Software: other}
	for range 2 {
		if i := b.ask(b.On(at(0)), ask); i.Computer != "COMP-1" || i.Software != other || i.Connection["url"] != "http://far.example" {
			t.Errorf("the answer is %+v", i)
		}
	}
	if f := b.master.state.m.forwards; len(f) != 1 || f[partitionID(0)+"_away"] == nil {
		t.Errorf("known: %v", f)
	}
	b.restart()
	if len(b.master.state.m.forwards) != 1 || b.partition(at(0)).Busy {
		t.Error("after a restart it is not known, or something is allocated here")
	}
	b.formatNode("node-1", 1)
	twin := slap.Place{Computer: "node-1", Partition: partitionID(0)}
	if i, err := b.On(twin).Request(ctx, ask); !strings.Contains(fmt.Sprint(err), "another partition asked for") {
		t.Errorf("what another computer's partition asked for: %+v, %v", i, err)
	}
	ask.State = slap.Destroyed
	b.ask(b.On(at(0)), ask)
	if f := b.master.state.m.forwards; len(f) != 0 {
		t.Errorf("destroyed, and known: %v", f)
	}
	self := slap.Request{Reference: "home", Software: sr, Filter: map[string]any{"master_url": b.http.URL}}
	if i := b.ask(b.Client, self); i.Place != at(0) {
		t.Errorf("asked from this master by its address: %+v", i)
	}
	if i, err := b.On(slap.Place{Computer: theNode, Partition: "none"}).Request(ctx, ask); err == nil {
		t.Errorf("for a partition that does not exist: %+v", i)
	}
}
