package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"weir/access"
	"weir/arrays"
	"weir/policies"
	"weir/streams"
)

// benchServer serves real stores on loopback and gives the address.
func benchServer(b *testing.B, change ...func(*Options)) string {
	b.Helper()
	dir := b.TempDir()
	st, err := streams.Open(dir+"/streams", streams.Options{})
	if err != nil {
		b.Fatal(err)
	}
	ar, err := arrays.Open(dir+"/arrays", arrays.Options{})
	if err != nil {
		b.Fatal(err)
	}
	router, err := policies.New(policies.Options{Policies: []policies.Policy{policies.Default()}, Streams: st, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	o := Options{Streams: st, Policies: router, Arrays: ar}
	for _, c := range change {
		c(&o)
	}
	s, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	addr := benchListen(b, s.Serve)
	b.Cleanup(func() {
		if err := s.Shutdown(b.Context()); err != nil && b.Context().Err() == nil {
			b.Error(err)
		}
		ar.Close()
		st.Close()
	})
	return addr
}

func benchListen(b *testing.B, serve func(net.Listener) error) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go serve(l)
	return l.Addr().String()
}

// A benchClient is a keep-alive connection that costs little itself.
type benchClient struct {
	net.Conn
	r *bufio.Reader
}

func dialBench(b *testing.B, addr string) benchClient {
	b.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	return benchClient{c, bufio.NewReaderSize(c, 64<<10)}
}

// round sends a request and reads an answer without a body.
func (c benchClient) round(request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(line), "HTTP/1.1 204") {
		return fmt.Errorf("the answer is %q", line)
	}
	for len(line) > 2 {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return err
		}
	}
	return nil
}

const benchConns = 64

// benchPosts sends 1 KiB POSTs on 64 keep-alive connections.
func benchPosts(b *testing.B, addr string, headers ...string) {
	b.Helper()
	body := strings.Repeat("x", 1024)
	request := fmt.Appendf(nil, "POST /erp5/portal_ingestion_policies/default/ingest?reference=bench HTTP/1.1\r\nHost: x\r\n"+
		"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n%s\r\n%s", len(body), strings.Join(headers, ""), body)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	errs := make(chan error, benchConns)
	before := cpuTime(b)
	b.ResetTimer()
	for range benchConns {
		c := dialBench(b, addr)
		go func() {
			defer c.Close()
			for left.Add(-1) >= 0 {
				if err := c.round(request); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range benchConns {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-us/request")
}

// cpuTime is the processor's time of this process, the client's part included.
// Where other work goes on it says more than the time that passes.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIngest1KiB is durable: each answer waits for its fdatasync.
func BenchmarkIngest1KiB(b *testing.B) { benchPosts(b, benchServer(b)) }

// BenchmarkIngest1KiBAsAUser is the same for a user whose password is a hash of
// bcrypt.
func BenchmarkIngest1KiBAsAUser(b *testing.B) {
	guard := func(o *Options) {
		var err error
		o.Access, err = access.New(access.Options{Users: []access.User{{Name: "alice", Grant: access.Grant{Rights: access.Ingest},
			Password: "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"}}}) // U*U
		if err != nil {
			b.Fatal(err)
		}
	}
	benchPosts(b, benchServer(b, guard), "Authorization: "+basicHeader("alice", "U*U")+"\r\n")
}

// BenchmarkEcho1KiB is the bound that fasthttp itself sets: the same requests
// to a handler that does nothing.
func BenchmarkEcho1KiB(b *testing.B) {
	s := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(204) }}
	benchPosts(b, benchListen(b, s.Serve))
}

// BenchmarkGetRange reads 16 MiB ranges of a stream in a sealed chunk file.
func BenchmarkGetRange(b *testing.B) {
	addr := benchServer(b)
	const size, part = 128 << 20, 16 << 20
	put, err := http.NewRequest("PUT", "http://"+addr+"/streams/bench", io.LimitReader(zeros{}, size))
	if err != nil {
		b.Fatal(err)
	}
	put.ContentLength = size
	resp, err := http.DefaultClient.Do(put)
	if err != nil {
		b.Fatal(err)
	}
	resp.Body.Close()
	c := dialBench(b, addr)
	defer c.Close()
	b.SetBytes(part)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		from := int64(i%(size/part)) * part
		fmt.Fprintf(c, "GET /streams/bench HTTP/1.1\r\nHost: x\r\nRange: bytes=%d-%d\r\n\r\n", from, from+part-1)
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); n != part || err != nil {
			b.Fatal(resp.Status, n, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// BenchmarkPut keeps 64 MiB uploads, synced.
func BenchmarkPut(b *testing.B) {
	addr := benchServer(b)
	const size = 64 << 20
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		put, err := http.NewRequest("PUT", "http://"+addr+"/streams/bench", io.LimitReader(zeros{}, size))
		if err != nil {
			b.Fatal(err)
		}
		put.ContentLength = size
		resp, err := http.DefaultClient.Do(put)
		if err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode > 201 {
			b.Fatal(resp.Status)
		}
	}
}
