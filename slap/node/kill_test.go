package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/slap/supervise"
)

// agent is the test binary as the command weir node instance.
func agent(config string) int {
	c, err := LoadConfig(config, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	n, err := New(Options{Config: c, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Supervisor: []string{os.Args[0], "test-supervisor", filepath.Join(c.Instances, "var", "weir", "supervisor")}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	lock, err := n.Lock("instance", "")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return ExitRunning
	}
	defer lock.Release()
	o, err := n.Instance(context.Background(), Run{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return o.Exit()
}

// processes are those of the house, by the words of their command lines and
// the folders that they are in.
func (h *house) processes() map[int]string {
	found := map[int]string{}
	list, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range list {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		line, err := os.ReadFile(dir + "/cmdline")
		cwd, _ := os.Readlink(dir + "/cwd")
		text := strings.ReplaceAll(string(line), "\x00", " ")
		if err == nil && pid != os.Getpid() && text != "" && (strings.Contains(text, h.dir+"/") || strings.HasPrefix(cwd+"/", h.dir+"/")) {
			found[pid] = text
		}
	}
	return found
}

// TestKill: the agent, and now and then the supervisor, are killed at random
// moments. What comes after finds its way: no profile runs twice at a time, no
// service is doubled, nothing is left over.
func TestKill(t *testing.T) {
	t.Parallel()
	const partitions, cuts = 4, 80
	h := newHouse(t, partitions, `
if [ -s pid ] && [ "$(cat pid)" != $$ ] && [ "$(readlink /proc/$(cat pid)/cwd)" = "$PWD" ]; then
  read stat < /proc/$(cat pid)/stat && case "$stat" in *") Z "*) ;; *) echo "twice: $stat" >> twice;; esac
fi
echo $$ > pid
rm -f child
setsid sh -c 'echo $$ > child; exec sleep 1.7' &
until [ -s child ]; do sleep 0.01; done
sleep 0.03
kill $(cat child)
: > pid
echo x >> runs`)
	for k := range partitions {
		h.put(fmt.Sprintf("part%d", k), "etc/service/a", "#!/bin/sh\nexec sleep 7777\n", 0o755)
	}
	config := filepath.Join(h.dir, "slapos.cfg")
	text := fmt.Sprintf("[slapos]\ncomputer_id = local\nmaster_url = %s\nsoftware_root = %s\ninstance_root = %s\ninstance_min_free_space = 1M\n[weir]\nparallel = 3\n", h.fake.URL, h.c.Software, h.c.Instances)
	h.must(os.WriteFile(config, []byte(text), 0o644))
	// The seed is told, so that a failure can be seen again.
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	var cut, round int
	span := 350 * time.Millisecond // so long at most a run may go on; most are cut, on any machine
	for ; cut < cuts; round++ {
		h.fake.set(func() {
			for _, p := range h.fake.partitions {
				p.Timestamp = strconv.Itoa(round + 2)
			}
		})
		c := exec.Command(os.Args[0], "test-agent", config)
		h.must(c.Start())
		time.Sleep(time.Duration(random.Int64N(int64(span))))
		if round%10 == 9 {
			h.killSupervisor()
		}
		c.Process.Kill()
		if c.Wait(); c.ProcessState.ExitCode() != 0 {
			cut++
			span = min(span*21/20, 350*time.Millisecond)
		} else {
			span = max(span*9/10, time.Millisecond)
		}
	}
	t.Logf("%d of %d runs were cut short", cut, round)
	h.converges(config, partitions)
}

// killSupervisor kills it, and waits until nobody answers any more: one that
// was sent the signal may still take a question, and not live to answer it.
func (h *house) killSupervisor() {
	h.t.Helper()
	c, err := supervise.Dial(h.t.Context(), h.SupervisorDir())
	if err != nil {
		return
	}
	if info, err := c.Info(h.t.Context()); err == nil {
		syscall.Kill(info.PID, syscall.SIGKILL)
	}
	h.within("the supervisor is gone", func() bool {
		_, err := supervise.Dial(h.t.Context(), h.SupervisorDir())
		return errors.Is(err, supervise.ErrAbsent)
	})
}

// converges wants two runs to succeed, the second without work, and then one
// process a service, and no other but the supervisor's.
func (h *house) converges(config string, partitions int) {
	h.t.Helper()
	for range 2 {
		if out, err := exec.Command(os.Args[0], "test-agent", config).CombinedOutput(); err != nil {
			h.t.Fatalf("the run after the kills: %v\n%s", err, out)
		}
	}
	h.fake.told()
	if out, err := exec.Command(os.Args[0], "test-agent", config).CombinedOutput(); err != nil || strings.Contains(string(out), "processing") {
		h.t.Errorf("a run with nothing to do: %v\n%s", err, out)
	}
	h.toldAre()
	for k := range partitions {
		if got := h.text(fmt.Sprintf("part%d", k), "twice"); got != "" {
			h.t.Errorf("part%d: two profiles ran at a time: %s", k, got)
		}
	}
	var wrong string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if wrong = h.leftOver(partitions); wrong == "" {
			return
		}
	}
	h.t.Error(wrong)
}

// leftOver tells what runs that should not, or does not and should.
func (h *house) leftOver(services int) string {
	var wrong []string
	for _, text := range h.processes() {
		switch {
		case strings.Contains(text, "sleep 7777"):
			services--
		case strings.Contains(text, "test-supervisor"):
		default:
			wrong = append(wrong, "left over: "+text)
		}
	}
	if services != 0 {
		wrong = append(wrong, fmt.Sprintf("%d processes too few of services", services))
	}
	return strings.Join(wrong, "\n")
}
