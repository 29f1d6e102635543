package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// frozen is how long the server does not run in TestFreeze: 130 s in Wendelin's
// own test of its clients, which WEIR_FREEZE=130s asks for.
func frozen(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("WEIR_FREEZE")
	if text == "" {
		return 6 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A poster sends as @type wendelin does: one connection that is kept, and the
// same chunk again after anything but a 2xx.
type poster struct {
	client *http.Client
	give   time.Duration // up on an answer, and try again
}

func (s poster) post(url string, body []byte, key string) error {
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), s.give)
		req, err := http.NewRequestWithContext(ctx, "POST", url, bytes.NewReader(body))
		if err != nil {
			cancel()
			return err
		}
		if key != "" {
			req.Header.Set("Idempotency-Key", key)
		}
		resp, err := s.client.Do(req)
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		cancel()
		if err == nil && resp.StatusCode/100 == 2 {
			return nil
		}
	}
	return fmt.Errorf("POST %s was not taken", url)
}

// TestFreeze: the server does not run for a while in which four senders give
// up and try again. All messages arrive, and once where they have a key.
func TestFreeze(t *testing.T) {
	t.Parallel()
	w := start(t)
	long := frozen(t)
	target := func(tag string) string {
		return w.url("/erp5/portal_ingestion_policies/default/ingest?reference=" + tag)
	}
	message := func(i int) []byte { return encode(entry{1_700_000_000, uint32(i), fmt.Sprint("message ", i)}) }
	tags := []string{"frozen.keyed", "frozen.plain"}
	senders := make([]poster, 4)
	for i := range senders { // each has its connection before the freeze
		senders[i] = poster{&http.Client{Transport: &http.Transport{}}, long / 3}
		if err := senders[i].post(target("frozen.first"), message(9), ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i, s := range senders {
		all.Go(func() {
			for _, tag := range tags {
				key := ""
				if tag == tags[0] {
					key = fmt.Sprint("chunk ", i)
				}
				if err := s.post(target(tag), message(i), key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	time.Sleep(long)
	if err := w.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	keyed, plain := w.stream(tags[0]), w.stream(tags[1])
	for i := range senders {
		if n := bytes.Count(keyed, message(i)); n != 1 {
			t.Errorf("message %d with a key came %d times", i, n)
		}
		if n := bytes.Count(plain, message(i)); n < 1 {
			t.Errorf("message %d without a key came %d times", i, n)
		}
	}
	if len(keyed) != 4*len(message(0)) {
		t.Errorf("the stream of messages with keys has %d bytes", len(keyed))
	}
}
