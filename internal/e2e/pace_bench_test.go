package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"
)

const (
	paceConns = 4
	paceID    = 20 // length of a chunk id
	// paceBurst is how much is written at once of frames that are due.
	paceBurst = 128 << 10
)

// A pace is a kind of load for BenchmarkPace.
type pace struct {
	name   string
	frame  func(entries [][]byte) []byte // with an id of paceID zeros
	shape  int                           // bytes of a record's text
	each   int                           // records a frame
	window int                           // frames outstanding where the rate is not held
}

var zeros = strings.Repeat("0", paceID)

var paces = []pace{
	{"packed-150B", func(e [][]byte) []byte { return packed("bench.pace", bytes.Join(e, nil), zeros) }, 120, 1000, 8},
	{"forward-150B", forwardFrame, 120, 100, 8},
	{"message-150B", messageFrame, 120, 1, 64},
	{"gzip-150B", func(e [][]byte) []byte { return compressed("bench.pace", bytes.Join(e, nil), zeros) }, 120, 1000, 8},
	{"packed-1KiB", func(e [][]byte) []byte { return packed("bench.pace", bytes.Join(e, nil), zeros) }, 1000, 1000, 8},
}

func forwardFrame(entries [][]byte) []byte {
	b := msgp.AppendString(msgp.AppendArrayHeader(nil, 3), "bench.pace")
	b = msgp.AppendArrayHeader(b, uint32(len(entries)))
	return appendOption(append(b, bytes.Join(entries, nil)...), "chunk", zeros)
}

func messageFrame(entries [][]byte) []byte {
	b := msgp.AppendString(msgp.AppendArrayHeader(nil, 4), "bench.pace")
	return appendOption(append(b, entries[0][1:]...), "chunk", zeros)
}

// pool makes frames to send again and again, with other ids.
func (p pace) pool(seed uint64) [][]byte {
	r := rand.New(rand.NewPCG(seed, 7))
	words := strings.Fields("GET POST /index.html /api/v1/items 200 404 500 connection upstream timed out while reading response header client server")
	count := max(4, min(512, 4<<20/(p.each*(p.shape+30))))
	frames := make([][]byte, count)
	for i := range frames {
		entries := make([][]byte, p.each)
		for j := range entries {
			var text strings.Builder
			for text.Len() < p.shape {
				fmt.Fprintf(&text, "%s %x ", words[r.IntN(len(words))], r.Uint32()>>(r.IntN(5)*8))
			}
			entries[j] = entry{1_700_000_000, uint32(j), map[string]any{"message": text.String()[:p.shape]}}.encode(nil)
		}
		frames[i] = p.frame(entries)
	}
	return frames
}

// idPlace finds the chunk id of a frame.
func idPlace(frame []byte) int { return bytes.LastIndex(frame, []byte("chunk")) + 6 }

// A runner is one connection of a load.
type runner struct {
	net.Conn
	frames [][]byte
	ids    []int  // where the chunk id is in each
	prefix string // of the chunk ids
	began  time.Time
	every  time.Duration // between frames; 0 is as fast as the window allows
	window int64
	acked  atomic.Int64
	wake   chan struct{} // acks came
	mu     sync.Mutex
	due    []time.Time // by frame: the moment from which its latency counts
	lat    []time.Duration
	total  atomic.Int64 // frames that were sent, at the end; 0 before
}

// send writes frames until the end, those that are due together at once.
func (r *runner) send(end time.Time) error {
	var burst []byte
	n := int64(0)
	for now := time.Now(); now.Before(end); now = time.Now() {
		room := r.window - (n - r.acked.Load())
		if r.every > 0 {
			room = int64(now.Sub(r.began)/r.every) + 1 - n
		}
		if room <= 0 && r.every == 0 {
			<-r.wake
			continue
		}
		if room <= 0 {
			time.Sleep(max(r.began.Add(time.Duration(n)*r.every).Sub(now), 100*time.Microsecond))
			continue
		}
		burst = burst[:0]
		r.mu.Lock()
		for ; room > 0 && len(burst) < paceBurst; room-- {
			if r.every > 0 {
				now = r.began.Add(time.Duration(n) * r.every)
			}
			r.due = append(r.due, now)
			i := int(n) % len(r.frames)
			copy(r.frames[i][r.ids[i]:], r.id(n))
			burst = append(burst, r.frames[i]...)
			n++
		}
		r.mu.Unlock()
		if _, err := r.Write(burst); err != nil {
			return err
		}
	}
	r.total.Store(n)
	return r.CloseWrite()
}

// CloseWrite says that no more frames follow.
func (r *runner) CloseWrite() error { return r.Conn.(*net.TCPConn).CloseWrite() }

func (r *runner) id(n int64) string { return fmt.Sprintf("%s%0*d", r.prefix, paceID-len(r.prefix), n) }

// receive reads the acks, which come in order, until the server closes.
func (r *runner) receive() error {
	defer close(r.wake)
	in := bufio.NewReaderSize(r, 64<<10)
	ack := make([]byte, len(ackOf(zeros)))
	for n := int64(0); ; n++ {
		r.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(in, ack); err != nil {
			if total := r.total.Load(); err == io.EOF && n == total {
				return nil
			}
			return fmt.Errorf("ack %d: %w", n, err)
		}
		if !bytes.HasSuffix(ack, []byte(r.id(n))) {
			return fmt.Errorf("ack %d is %q", n, ack)
		}
		r.mu.Lock()
		due := r.due[n]
		r.mu.Unlock()
		r.lat = append(r.lat, time.Since(due))
		r.acked.Store(n + 1)
		if in.Buffered() == 0 {
			select {
			case r.wake <- struct{}{}:
			default:
			}
		}
	}
}

// A held is what a load came to.
type held struct {
	records float64 // a second
	lat     []time.Duration
}

func (h held) at(share float64) float64 {
	return h.lat[min(len(h.lat)-1, int(share*float64(len(h.lat))))].Seconds() * 1000
}

// load sends for a while: at so many records a second, or as fast as acks come.
func (p pace) load(b *testing.B, addr string, pools [][][]byte, rate float64, d time.Duration) held {
	b.Helper()
	var wg sync.WaitGroup
	began := time.Now()
	runners := make([]*runner, paceConns)
	for i := range runners {
		c := mustDial(b, addr)
		r := &runner{Conn: c.Conn, frames: pools[i], window: int64(p.window), wake: make(chan struct{}, 1),
			began: began, prefix: fmt.Sprintf("%d-%x-", i, rand.Uint32()>>8)}
		for _, f := range r.frames {
			r.ids = append(r.ids, idPlace(f))
		}
		if rate > 0 {
			r.every = time.Duration(float64(paceConns*p.each) / rate * 1e9)
			r.began = began.Add(r.every * time.Duration(i) / paceConns)
		}
		runners[i] = r
		wg.Go(func() {
			if err := r.send(began.Add(d)); err != nil {
				b.Error(err)
			}
		})
		wg.Go(func() {
			if err := r.receive(); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	var h held
	for _, r := range runners {
		r.Close()
		h.lat = append(h.lat, r.lat...)
	}
	slices.Sort(h.lat)
	h.records = float64(len(h.lat)*p.each) / took.Seconds()
	if len(h.lat) == 0 {
		b.Fatal("nothing was acknowledged")
	}
	return h
}

// BenchmarkPace finds how many records a second a server takes from four
// connections, and then the latency of acks at 80 % of that: frames are sent
// when they are due, whatever the acks do, and a latency counts from that
// moment. The server has one core, the load another. Servers are weir and, in
// the same run, forwardload's own, which only walks the msgpack, writes and
// shares an fdatasync. Last comes the disk alone.
func BenchmarkPace(b *testing.B) {
	program := forwardload(b)
	onCore(b, os.Getpid(), 1)
	for _, p := range paces {
		pools := make([][][]byte, paceConns)
		for i := range pools {
			pools[i] = p.pool(uint64(i))
		}
		b.Run(p.name+"/reference", func(b *testing.B) {
			for range b.N {
				addr := "127.0.0.1:24298"
				p.hold(b, addr, pools, pinned(b, program, "serve", "--addr", addr, "--do", "skip", "--store", filepath.Join(b.TempDir(), "frames"), "--sync", "group"))
			}
		})
		b.Run(p.name+"/weir", func(b *testing.B) {
			for range b.N {
				w := startPinned(b, strings.Fields(os.Getenv("WEIR_BENCH_ARGS"))...)
				p.hold(b, w.Forward, pools, w.cmd.Process.Pid)
				w.stop()
			}
		})
	}
	for _, rate := range []int{100, 300, 500} {
		b.Run(fmt.Sprintf("disk-%dMiB", rate), func(b *testing.B) {
			for range b.N {
				paceDisk(b, rate)
			}
		})
	}
}

// paceDisk is what a load costs on the disk alone: so many MiB a second for as
// long, one after the other in new files past the page cache, each synced. What it
// waits for, every ack waits for.
func paceDisk(b *testing.B, rate int) {
	b.Helper()
	const size, perFile = 1 << 20, 64
	dir := b.TempDir()
	piece, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		b.Fatal(err)
	}
	defer syscall.Munmap(piece)
	copy(piece, noise(5, size))
	var h held
	var file *os.File
	began := time.Now()
	for n := range 10 * rate {
		due := began.Add(time.Second / time.Duration(rate) * time.Duration(n))
		time.Sleep(time.Until(due))
		if n%perFile == 0 {
			if file, err = os.OpenFile(filepath.Join(dir, strconv.Itoa(n)), os.O_CREATE|os.O_RDWR|syscall.O_DIRECT, 0o600); err != nil {
				b.Skipf("writes past the page cache: %v", err)
			}
			defer file.Close()
		}
		if _, err = file.WriteAt(piece, int64(n%perFile)*size); err == nil {
			err = syscall.Fdatasync(int(file.Fd()))
		}
		if err != nil {
			b.Fatal(err)
		}
		h.lat = append(h.lat, time.Since(due))
	}
	slices.Sort(h.lat)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(h.at(0.5), "p50-ms")
	b.ReportMetric(h.at(0.99), "p99-ms")
	b.ReportMetric(h.at(1), "max-ms")
}

// hold measures a server: the most it takes, and the acks at 80 % of that.
func (p pace) hold(b *testing.B, addr string, pools [][][]byte, pid int) {
	b.Helper()
	p.load(b, addr, pools, 0, time.Second) // makes the segments of the log
	most := p.load(b, addr, pools, 0, 4*time.Second)
	h := p.load(b, addr, pools, 0.8*most.records, 10*time.Second)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(most.records, "most-records/s")
	b.ReportMetric(h.records, "records/s")
	b.ReportMetric(h.at(0.5), "p50-ms")
	b.ReportMetric(h.at(0.99), "p99-ms")
	b.ReportMetric(h.at(1), "max-ms")
	b.ReportMetric(peakMemory(b, pid), "peak-MB")
}

// onCore binds a process to a core until the benchmark ends.
func onCore(b *testing.B, pid, core int) {
	b.Helper()
	set := func(cores string) error {
		return exec.Command("taskset", "-a", "-c", "-p", cores, strconv.Itoa(pid)).Run()
	}
	if err := set(strconv.Itoa(core)); err != nil {
		b.Skipf("taskset: %v", err)
	}
	b.Cleanup(func() { set("0-1023") })
}

// BenchmarkLone is one sender that waits for each ack before it sends on, and
// in the same run, alternately, the disk alone: a write of as many bytes and a
// fdatasync, within a file that was laid down before.
func BenchmarkLone(b *testing.B) {
	for _, p := range []pace{
		{"message-150B", messageFrame, 120, 1, 1},
		{"packed-150KB", paces[0].frame, 120, 1000, 1},
	} {
		b.Run(p.name, func(b *testing.B) {
			w := start(b)
			c := mustDial(b, w.Forward)
			frame := p.pool(1)[0]
			at := idPlace(frame)
			disk := newBareDisk(b, len(frame))
			ack := make([]byte, len(ackOf(zeros)))
			var acks, syncs []time.Duration
			for n := range max(500, b.N) {
				began := time.Now()
				disk.write(b, n)
				syncs = append(syncs, time.Since(began))
				copy(frame[at:], fmt.Sprintf("%0*d", paceID, n))
				began = time.Now()
				c.write(b, frame)
				if _, err := io.ReadFull(c.r, ack); err != nil {
					b.Fatal(err)
				}
				acks = append(acks, time.Since(began))
			}
			slices.Sort(acks)
			slices.Sort(syncs)
			a, s := held{lat: acks}, held{lat: syncs}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(a.at(0.5)*1000, "p50-ack-us")
			b.ReportMetric(s.at(0.5)*1000, "p50-disk-us")
			b.ReportMetric(a.at(0.5)/s.at(0.5), "of-disk")
			b.ReportMetric(a.at(0.99)*1000, "p99-ack-us")
			b.ReportMetric(s.at(0.99)*1000, "p99-disk-us")
		})
	}
}

// A bareDisk writes within a file and syncs it.
type bareDisk struct {
	file *os.File
	data []byte
	step int64
}

const bareBytes = 64 << 20

func newBareDisk(b *testing.B, n int) *bareDisk {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "bare"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	piece := make([]byte, 1<<20)
	for at := int64(0); at < bareBytes; at += int64(len(piece)) {
		if _, err := f.WriteAt(piece, at); err != nil {
			b.Fatal(err)
		}
	}
	if err := syscall.Fdatasync(int(f.Fd())); err != nil {
		b.Fatal(err)
	}
	return &bareDisk{f, noise(3, n), int64(n+511) &^ 511}
}

func (d *bareDisk) write(b *testing.B, n int) {
	at := int64(n) * d.step % (bareBytes - d.step)
	if _, err := d.file.WriteAt(d.data, at&^511); err != nil {
		b.Fatal(err)
	}
	if err := syscall.Fdatasync(int(d.file.Fd())); err != nil {
		b.Fatal(err)
	}
}
