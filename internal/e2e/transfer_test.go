package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// transferBytes is the size of the file that benchmarks move.
const transferBytes = 1 << 30

// BenchmarkUpload sends a file of 1 GiB with curl -T: to weir, which answers
// when it is durable, and to nginx, whose file is synced afterwards.
func BenchmarkUpload(b *testing.B) {
	curl, file := command(b, "curl"), transferFile(b)
	put := func(b *testing.B, to string) {
		b.Helper()
		if out, err := exec.Command(curl, "-sS", "--fail-with-body", "-o", os.DevNull, "-T", file, to).CombinedOutput(); err != nil {
			b.Fatalf("curl: %v\n%s", err, out)
		}
	}
	b.Run("weir", func(b *testing.B) {
		w := start(b)
		b.SetBytes(transferBytes)
		for i := 0; b.Loop(); i++ {
			put(b, w.url(fmt.Sprintf("/streams/up.%d", i)))
		}
		b.ReportMetric(peakMemory(b, w.cmd.Process.Pid), "peak-MB")
	})
	b.Run("nginx", func(b *testing.B) {
		n := startNginx(b)
		b.SetBytes(transferBytes)
		for i := 0; b.Loop(); i++ {
			name := fmt.Sprintf("up.%d", i)
			put(b, n.url+name)
			f, err := os.Open(filepath.Join(n.root, name))
			if err == nil {
				err = errors.Join(f.Sync(), f.Close())
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkDownload reads ranges of 256 MiB of a file that is in the page
// cache with curl, from weir and from nginx.
func BenchmarkDownload(b *testing.B) {
	const part = 256 << 20
	curl, file := command(b, "curl"), transferFile(b)
	get := func(b *testing.B, i int, from string) {
		b.Helper()
		at := i % (transferBytes / part) * part
		out, err := exec.Command(curl, "-sS", "--fail", "-o", os.DevNull, "-r", fmt.Sprintf("%d-%d", at, at+part-1), from).CombinedOutput()
		if err != nil {
			b.Fatalf("curl: %v\n%s", err, out)
		}
	}
	run := func(b *testing.B, to string) {
		b.Helper()
		if out, err := exec.Command(curl, "-sS", "--fail-with-body", "-o", os.DevNull, "-T", file, to).CombinedOutput(); err != nil {
			b.Fatalf("curl: %v\n%s", err, out)
		}
		for i := range transferBytes / part { // into the page cache
			get(b, i, to)
		}
		b.SetBytes(part)
		for i := 0; b.Loop(); i++ {
			get(b, i, to)
		}
	}
	b.Run("weir", func(b *testing.B) { run(b, start(b).url("/streams/up.read")) })
	b.Run("nginx", func(b *testing.B) { run(b, startNginx(b).url+"read") })
}

// transferFile makes the file that is moved.
func transferFile(b *testing.B) string {
	b.Helper()
	file := filepath.Join(b.TempDir(), "file")
	if err := os.WriteFile(file, noise(1, transferBytes), 0o644); err != nil {
		b.Fatal(err)
	}
	return file
}

// An nginx serves a folder, and takes files into it with PUT.
type nginx struct{ url, root string }

const nginxConfig = `
daemon off;
worker_processes 2;
user root;
pid DIR/pid;
error_log DIR/error.log;
events { worker_connections 64; }
http {
  access_log off;
  sendfile on;
  client_max_body_size 0;
  client_body_buffer_size 1m;
  client_body_temp_path DIR/files/.body;
  proxy_temp_path DIR/proxy;
  fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi;
  scgi_temp_path DIR/scgi;
  server {
    listen ADDRESS;
    root DIR/files;
    location / { dav_methods PUT; }
  }
}
`

// startNginx serves a new folder on loopback.
func startNginx(b *testing.B) nginx {
	b.Helper()
	program := registryPeer(b, "WEIR_NGINX", "nginx")
	if os.Getuid() != 0 {
		b.Skip("not root: nginx is started as root here")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	dir := b.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "files"), 0o755); err != nil {
		b.Fatal(err)
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(strings.NewReplacer("DIR", dir, "ADDRESS", addr).Replace(nginxConfig)), 0o644); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(program, "-p", dir, "-c", conf)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	url := "http://" + addr + "/"
	awaitFor(b, patience, "nginx answers", func() bool {
		resp, err := http.Get(url)
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	time.Sleep(100 * time.Millisecond) // its workers have started
	return nginx{url, filepath.Join(dir, "files")}
}
