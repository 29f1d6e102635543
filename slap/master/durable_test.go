package master

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/vfs"
	"weir/slap"
	"weir/streams"
)

// TestRestart: all that was answered is there after a restart.
func TestRestart(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.formatNode(theNode, 3)
	b.must(b.Supply(context.Background(), sr, theNode, slap.Available))
	root := b.ask(b.Client, slap.Request{Reference: "root", Parameters: map[string]any{"a": "é<&>"}})
	child := b.ask(b.On(root.Place), slap.Request{Reference: "child"})
	b.ask(b.Client, slap.Request{Reference: "front", Shared: true, Parameters: map[string]any{"n": int64(1)}})
	b.must(b.Publish(context.Background(), child.Place, map[string]any{"url": "x"}, ""))
	before := b.dump()
	b.restart()
	if after := b.dump(); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
	again := b.ask(b.On(root.Place), slap.Request{Reference: "child"})
	if again.Place != child.Place || again.Connection["url"] != "x" {
		t.Errorf("the child is %+v, was %+v", again, child)
	}
}

// step does one of the changes that a master knows, perhaps a senseless one.
func (b *bench) step(r *rand.Rand) {
	ctx := context.Background()
	p := at(r.IntN(4))
	title := fmt.Sprintf("i%d", r.IntN(5))
	c := b.Client
	if r.IntN(2) == 0 {
		c = c.On(p)
	}
	states := []string{"", slap.Started, slap.Stopped, slap.Destroyed}
	switch r.IntN(9) {
	case 0:
		b.formatNode(theNode, 2+r.IntN(3))
	case 1:
		b.Supply(ctx, sr, theNode, []string{slap.Available, slap.Destroyed}[r.IntN(2)])
	case 2, 3:
		c.Request(ctx, slap.Request{Reference: title, Software: sr, State: states[r.IntN(4)], Parameters: map[string]any{"n": int64(r.IntN(3))}})
	case 4:
		c.Request(ctx, slap.Request{Reference: title, Software: sr, Shared: true, State: states[r.IntN(4)]})
	case 5:
		b.Report(ctx, p, slap.ReportDestroyed, "")
	case 6:
		b.Publish(ctx, p, map[string]any{"n": int64(r.IntN(3))}, "")
	case 7:
		b.Rename(ctx, p, title)
	case 8:
		b.Report(ctx, p, slap.ReportBang, title)
	}
}

// check holds what is true of every state: an instance has one partition, its
// name one instance, and nobody refers to what is not there.
func (m *model) check() error {
	instances := 0
	for p, row := range m.partitions {
		if row.place != p {
			return fmt.Errorf("partition %v is kept as %v", row.place, p)
		}
		if row.Instance == nil {
			continue
		}
		instances++
		if m.instances[row.Instance.name] != p {
			return fmt.Errorf("instance %v of %v is found in %v", row.Instance.name, p, m.instances[row.Instance.name])
		}
		if r := row.Instance.Requester; r != nil && m.partitions[*r] == nil {
			return fmt.Errorf("instance %v has the requester %v, which does not exist", row.Instance.name, *r)
		}
	}
	if instances != len(m.instances) {
		return fmt.Errorf("%d instances, %d names", instances, len(m.instances))
	}
	listed := 0
	for id, n := range m.nodes {
		for _, p := range n.Partitions {
			if listed++; m.partitions[place{id, p}] == nil {
				return fmt.Errorf("node %s lists %s, which does not exist", id, p)
			}
		}
	}
	if listed != len(m.partitions) {
		return fmt.Errorf("%d partitions, %d listed", len(m.partitions), listed)
	}
	for n, s := range m.shareds {
		if p := m.partitions[s.Host]; s.name != n || p == nil || p.Instance == nil {
			return fmt.Errorf("shared instance %v has no host %v", n, s.Host)
		}
	}
	return nil
}

// loaded gives the state that a master finds on a disk.
func loaded(t *testing.T, disk *vfs.Mem) (string, *model) {
	t.Helper()
	store, err := streams.Open("data", streams.Options{FS: disk, SegmentBytes: 1 << 20, MinFree: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	m, err := New(Options{Streams: store, Computer: theNode})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.state.m.check(); err != nil {
		t.Fatal(err)
	}
	rec, err := m.state.record(m.state.m.all(), true)
	if err != nil {
		t.Fatal(err)
	}
	return string(rec.Data), m.state.m
}

// TestCrash cuts the power in the middle of random changes: a start finds the
// state before the change that was under way, or the one after it.
func TestCrash(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := newBench(t, Options{})
		b.formatNode(theNode, 4)
		for range 25 {
			before := b.dump()
			done := make(chan struct{})
			go func() {
				defer close(done)
				b.step(r)
			}()
			cuts := rand.New(rand.NewPCG(seed, 2))
			var disks []*vfs.Mem
			for range 2 {
				disks = append(disks, b.disk.CrashClone(cuts))
			}
			<-done
			after := b.dump()
			for _, d := range disks {
				if found, _ := loaded(t, d); found != before && found != after {
					t.Fatalf("seed %d: neither before nor after:\nfound  %s\nbefore %s\nafter  %s", seed, found, before, after)
				}
			}
			if found, _ := loaded(t, b.disk.CrashClone(cuts)); found != after {
				t.Fatalf("seed %d: answered, and not found:\nfound %s\nwant  %s", seed, found, after)
			}
			if err := b.master.state.m.check(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
}

// TestSnapshot: the stream is replaced by a snapshot once it has grown, and
// holds the same.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.formatNode(theNode, 2)
	big := strings.Repeat("x", 100<<10)
	for k := range 30 {
		b.ask(b.Client, slap.Request{Reference: "root", Parameters: map[string]any{"big": big + fmt.Sprint(k)}})
	}
	at := b.master.state.stream.State()
	if at.Generation < 2 || at.Length > 2*compactFrom {
		t.Errorf("generation %d with %d bytes after 3 MB of changes", at.Generation, at.Length)
	}
	before := b.dump()
	b.restart()
	if b.dump() != before {
		t.Error("the snapshot is not the state")
	}
}

// A frail disk fails on command.
type frail struct {
	vfs.FS
	broken *atomic.Bool
	writes bool // still work when it is broken
}

type frailFile struct {
	vfs.File
	broken *atomic.Bool
	writes bool
}

var errDisk = errors.New("the disk is broken")

func (f frail) wrap(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return frailFile{file, f.broken, f.writes}, nil
}

func (f frail) OpenFile(name string) (vfs.File, error) { return f.wrap(f.FS.OpenFile(name)) }
func (f frail) Create(name string) (vfs.File, error) {
	if f.broken.Load() {
		return nil, errDisk
	}
	return f.wrap(f.FS.Create(name))
}

func (f frailFile) WriteAt(p []byte, off int64) (int, error) {
	if f.broken.Load() && !f.writes {
		return 0, errDisk
	}
	return f.File.WriteAt(p, off)
}

func (f frailFile) Datasync() error {
	if f.broken.Load() {
		return errDisk
	}
	return f.File.Datasync()
}

// TestBrokenDisk: a change that cannot be kept is answered with an error, is
// not seen, and whatever came of it is settled before the next one.
func TestBrokenDisk(t *testing.T) {
	t.Parallel()
	for name, writes := range map[string]bool{"no writes": false, "no sync": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testBrokenDisk(t, writes)
		})
	}
}

func testBrokenDisk(t *testing.T, writes bool) {
	var broken atomic.Bool
	disk := vfs.NewMem(1 << 30)
	store, err := streams.Open("data", streams.Options{FS: frail{disk, &broken, writes}, SegmentBytes: 1 << 20, MinFree: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	m, err := New(Options{Streams: store, Computer: theNode})
	if err != nil {
		t.Fatal(err)
	}
	b := serveBench(t, m)
	b.formatNode(theNode, 2)
	broken.Store(true)
	if status, body := b.post("/supplySupply", "url", sr, "computer_id", theNode, "state", "available"); status < 500 {
		t.Fatalf("a supply on a broken disk: %d %s", status, body)
	}
	c, err := b.Computer(context.Background(), theNode)
	if err != nil || len(c.Releases) != 0 {
		t.Errorf("a supply that failed is seen: %v, %v", c.Releases, err)
	}
	broken.Store(false)
	status := 0
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) { // the store pauses before it tries again
		if status, _ = b.post("/supplySupply", "url", other, "computer_id", theNode, "state", "available"); status == http.StatusOK {
			break
		}
	}
	if status != http.StatusOK {
		t.Fatalf("a supply on the mended disk: %d", status)
	}
	rec, err := m.state.record(m.state.m.all(), true)
	b.must(err)
	if found, _ := loaded(t, disk.CrashClone(rand.New(rand.NewPCG(1, 1)))); found != string(rec.Data) {
		t.Errorf("on disk   %s\nin memory %s", found, rec.Data)
	}
}

func TestStateRefused(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"later format":  `{"format":2}` + "\n",
		"no format":     `{"nodes":[{"id":"a"}]}` + "\n",
		"unknown field": `{"format":1,"planets":[]}` + "\n",
		"broken off":    `{"format":1}` + "\n" + `{"nodes":[`,
		"no JSON":       "x\n",
	} {
		store, err := streams.Open("data", streams.Options{FS: vfs.NewMem(1 << 30), SegmentBytes: 1 << 20, MinFree: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		stream, err := store.Create(StateStream, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Append(context.Background(), []streams.Record{{Stream: stream, Data: []byte(data)}}, make([]streams.Result, 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Options{Streams: store}); err == nil || !strings.Contains(err.Error(), "record") {
			t.Errorf("%s: %v", name, err)
		}
		store.Close()
	}
}

// TestPending: a change whose outcome the store could not tell is settled
// before the next one, and is in the model as it is in the stream.
func TestPending(t *testing.T) {
	t.Parallel()
	for name, kept := range map[string]bool{"it was kept": true, "it was not": false} {
		b := newBench(t, Options{})
		b.formatNode(theNode, 1)
		s := b.master.state
		c := &change{Nodes: []*node{{ID: "late"}}}
		rec, err := s.record(c, false)
		b.must(err)
		if kept {
			b.must(s.append(t.Context(), rec, make([]streams.Result, 1)))
		}
		s.pending = &pending{rec, c}
		b.must(b.Supply(t.Context(), sr, theNode, slap.Available))
		if s.m.nodes["late"] == nil || s.pending != nil {
			t.Errorf("%s: it is not settled", name)
		}
		before := b.dump()
		b.restart()
		if after := b.dump(); after != before {
			t.Errorf("%s: before %s\nafter %s", name, before, after)
		}
	}
}
