package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestTail: weir tail shows each record once and in order, through a stop and
// through a kill of the server; weir get has them all.
func TestTail(t *testing.T) {
	t.Parallel()
	w := start(t)
	send := func(from, to int) {
		var b []byte
		for i := from; i < to; i++ {
			b = append(b, encode(entry{1_700_000_000 + uint32(i), 0, map[string]any{"n": i}})...)
		}
		if a := w.ingest("default", "live.tail", b); a.Status != 204 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	send(0, 1)
	cmd := exec.Command(program, "tail", "live.tail", "--server", w.url(""), "--from", "0", "--count", "30")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var notes bytes.Buffer
	cmd.Stderr = &notes
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	n := 0
	expect := func(to int) {
		t.Helper()
		for ; n < to; n++ {
			if !lines.Scan() || lines.Text() != fmt.Sprintf(`{"time":"2023-11-14T22:13:%02dZ","record":{"n":%d}}`, 20+n, n) {
				t.Fatalf("line %d is %q, %v\n%s", n, lines.Text(), lines.Err(), &notes)
			}
		}
	}
	expect(1)
	send(1, 10)
	expect(10)
	if took := w.stop(); took > patience/2 {
		t.Errorf("with a tail open the stop took %v", took)
	}
	w.up()
	send(10, 20)
	expect(20)
	w.kill()
	w.up()
	send(20, 30)
	expect(30)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &notes)
	}
	file := filepath.Join(t.TempDir(), "records.jsonl")
	if said, err := exec.Command(program, "get", w.url("/streams/live.tail"), "--format", "jsonl", "-o", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if got, err := exec.Command("wc", "-l", file).Output(); err != nil || !bytes.HasPrefix(bytes.TrimSpace(got), []byte("30 ")) {
		t.Errorf("%s, %v", got, err)
	}
}
