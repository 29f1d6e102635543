package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// mixTime is how long the mix of engines runs: WEIR_MIX, such as 1h.
func mixTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("WEIR_MIX")
	if text == "" {
		return 2 * time.Minute
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("WEIR_MIX: %v", err)
	}
	return d
}

// TestMixOfEngines: executors in Go and in Python with kazoo share a queue on
// three members of ZooKeeper while executors, members and the gateway are
// killed, and executors are paused until their session has expired. No job is
// lost, none runs at two places at a time, and none runs again unless
// something was done to who ran it.
func TestMixOfEngines(t *testing.T) {
	t.Parallel()
	m := startMix(t)
	end := time.Now().Add(mixTime(t))
	var all sync.WaitGroup
	all.Go(func() { m.make(end) })
	for n := 0; time.Now().Before(end); n++ {
		m.harm(n)
	}
	all.Wait()
	m.drain()
	m.judge()
}

// A mix is the processes that share a queue.
type mix struct {
	t       *testing.T
	zk      *ensemble
	w       *weir
	trace   string // file of what ran when
	engines []*mixEngine
	harms   map[string]int

	mu     sync.Mutex
	made   []string // ids of the jobs that were answered
	harmed []harm
}

// A harm is what was done to an engine's process, and when by /proc/uptime.
type harm struct {
	from, to float64
}

// A mixEngine is an executor that is started again when it ends.
type mixEngine struct {
	start func() *exec.Cmd
	kazoo bool
	log   *os.File
	cmd   *exec.Cmd
	ended chan error
}

func startMix(t *testing.T) *mix {
	t.Helper()
	python := registryPeer(t, "WEIR_PYTHON", "Python")
	m := &mix{t: t, zk: startEnsemble(t, 3), trace: filepath.Join(t.TempDir(), "trace"), harms: map[string]int{}}
	hosts := strings.Join(m.zk.hosts, ",")
	m.w = configured(t, "jobs: {zookeeper: ["+hosts+"]}\n")
	dir := actions(t, map[string]string{"work": `
note() { read -r up rest </proc/uptime; echo "$up $WEIR_JOB_ID $WEIR_JOB_ATTEMPT $$ $1" >>` + m.trace + `; }
for i in 1 2 3 4; do note tick; sleep 0.1; done
echo '{"progress":90}'
note done`})
	for i := range 4 {
		e := &mixEngine{kazoo: i%2 == 1}
		var err error
		if e.log, err = os.Create(filepath.Join(t.TempDir(), "log")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.log.Close() })
		e.start = func() *exec.Cmd {
			if e.kazoo {
				return exec.Command(python, filepath.Join(root, "internal", "e2e", "testdata", "kazoo_executor.py"), hosts, "http://"+m.w.HTTP, m.trace, "2")
			}
			return exec.Command(program, "job", "executor", "--ss-url=http://"+m.w.HTTP, "--zk-hosts="+hosts, "--zk-timeout=10s", "--threads=2", "--grace=5s", "--actions", dir)
		}
		m.engines = append(m.engines, e)
		m.up(e)
	}
	t.Cleanup(func() {
		for _, e := range m.engines {
			m.kill(e)
		}
	})
	return m
}

func (m *mix) up(e *mixEngine) {
	e.cmd, e.ended = e.start(), make(chan error, 1)
	e.cmd.Stdout, e.cmd.Stderr = e.log, e.log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := e.cmd.Start(); err != nil {
		m.t.Error(err)
	}
	cmd, ended := e.cmd, e.ended
	go func() { ended <- cmd.Wait() }()
}

func (m *mix) kill(e *mixEngine) {
	e.cmd.Process.Kill()
	err := <-e.ended
	e.ended <- err
}

// make adds jobs until the end, whatever the gateway answers.
func (m *mix) make(end time.Time) {
	for time.Now().Before(end) {
		a, err := ask("POST", m.w.url("/api/job"), strings.NewReader(`{"action":"work","priority":`+fmt.Sprint(rand.IntN(3)*100)+`}`), "Content-Type", asJSON)
		var answer struct {
			ID string `json:"resource-id"`
		}
		if err == nil && a.Status == 201 && json.Unmarshal(a.Body, &answer) == nil {
			m.mu.Lock()
			m.made = append(m.made, answer.ID)
			m.mu.Unlock()
		}
		time.Sleep(120 * time.Millisecond)
	}
}

// uptime is the clock of the trace, in seconds.
func (m *mix) uptime() float64 {
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		m.t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(b), " ")
	at, err := strconv.ParseFloat(text, 64)
	if err != nil {
		m.t.Fatal(err)
	}
	return at
}

// harm does one of the things that go wrong, and lets the rest recover.
func (m *mix) harm(n int) {
	from := m.uptime()
	e := m.engines[rand.IntN(len(m.engines))]
	what := ""
	switch n % 6 {
	case 0:
		what = "executor killed"
		m.kill(e)
		time.Sleep(time.Second)
		m.up(e)
	case 1:
		what = "member killed"
		i := rand.IntN(len(m.zk.hosts))
		m.zk.kill(i)
		time.Sleep(3 * time.Second)
		m.zk.start(i)
	case 2:
		what = "session expired"
		e = m.engines[2*rand.IntN(2)] // one of ours: kazoo's runs on beside who takes its place
		m.pause(e, 20*time.Second)
	case 3:
		what = "executor stopped"
		e.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-e.ended:
			if e.kazoo && err != nil { // which can wait in vain for ever; it is not what is tried
				what = "kazoo's executor that did not stop"
				text, _ := os.ReadFile(e.log.Name())
				m.t.Logf("%v: %v\n%s", what, err, text[max(0, len(text)-8<<10):])
			}
		case <-time.After(patience):
			m.t.Errorf("%v does not end after SIGTERM", e.cmd.Args)
			m.kill(e)
		}
		m.up(e)
	case 4:
		what = "leader killed"
		for i, h := range m.zk.hosts {
			if memberMode(h) == "leader" {
				m.zk.kill(i)
				time.Sleep(3 * time.Second)
				m.zk.start(i)
				break
			}
		}
	case 5:
		what = "gateway killed"
		m.w.kill()
		time.Sleep(time.Second)
		m.w.up()
	}
	m.harms[what]++
	time.Sleep(3 * time.Second)
	m.harmed = append(m.harmed, harm{from, m.uptime()})
	if !m.t.Failed() {
		m.t.Logf("%8.2f %s", from, what)
	}
}

// pause stops a process and its actions, as a machine that is paused does.
func (m *mix) pause(e *mixEngine, d time.Duration) {
	family := descendants(e.cmd.Process.Pid)
	for _, p := range family {
		syscall.Kill(p, syscall.SIGSTOP)
	}
	time.Sleep(d)
	for _, p := range family {
		syscall.Kill(p, syscall.SIGCONT)
	}
}

// descendants are a process and those that it started.
func descendants(pid int) []int {
	all := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		b, _ := os.ReadFile(t)
		for _, f := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(f); err == nil {
				all = append(all, descendants(child)...)
			}
		}
	}
	return all
}

// drain waits until no job is left to run. kazoo's executors are stopped
// first: what they keep from the others without knowing it is free then.
func (m *mix) drain() {
	m.t.Helper()
	for _, e := range m.engines {
		if e.kazoo {
			e.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	awaitFor(m.t, 5*time.Minute, "all jobs of the mix have ended", func() bool {
		return m.count("state=['QUEUED','RUNNING']") == 0
	})
}

func (m *mix) count(filter string) int {
	m.t.Helper()
	a := m.w.do("PUT", "/api/job", []byte("%24last=0&%24filter="+url.QueryEscape("action='work' and "+filter)), "Content-Type", "application/x-www-form-urlencoded")
	var c struct{ Count int }
	if err := json.Unmarshal(a.Body, &c); err != nil || a.Status != 200 {
		m.t.Fatalf("count %s: %d %s", filter, a.Status, a.Body)
	}
	return c.Count
}

// An attempt is one at a job, as the trace has it.
type attempt struct {
	pid, number string
	from, to    float64
	done        bool
}

// judge reads the trace: every job ran, no two runs of one overlap, and a job
// that ran again did so beside something that went wrong.
func (m *mix) judge() {
	m.t.Helper()
	runs := m.runs()
	for _, id := range m.made {
		if len(runs[id]) == 0 {
			m.t.Errorf("%s never ran", id)
		}
	}
	if n := m.count("state!='SUCCESS'"); n > 0 {
		m.t.Errorf("%d jobs did not succeed", n)
	}
	again, twice := 0, 0
	for id, list := range runs {
		done := 0
		for i, r := range list {
			if r.done {
				done++
			}
			if i == 0 {
				continue
			}
			again++
			before := list[i-1]
			if r.from < before.to && !m.resumed(before) {
				m.t.Errorf("%s ran at two places at a time: %+v and %+v", id, before, r)
			}
			if !m.beside(before.from, r.from) {
				m.t.Errorf("%s ran again for no reason: %+v and %+v", id, before, r)
			}
		}
		if done == 0 {
			m.t.Errorf("%s succeeded and never came to its end: %+v", id, list)
		}
		if done > 1 {
			twice++
		}
	}
	var kazoo bytes.Buffer
	for _, e := range m.engines {
		b, _ := os.ReadFile(e.log.Name())
		if e.kazoo {
			kazoo.Write(b)
		}
	}
	byKazoo := m.count("statusMessage='by kazoo'")
	m.t.Logf("%v: %d jobs, %d by kazoo; %v; %d attempts were interrupted and followed by another, %d of them after the work was done and before that was stored; kazoo's workers began anew %d times",
		mixTime(m.t), len(runs), byKazoo, m.harms, again, twice, bytes.Count(kazoo.Bytes(), []byte("begins anew")))
	if byKazoo == 0 || byKazoo == len(runs) {
		m.t.Errorf("kazoo's executors ran %d of %d jobs", byKazoo, len(runs))
	}
}

// resumed tells whether a run was paused beyond its lease: its process may
// write once more when it wakes, before it learns that the job is another's.
func (m *mix) resumed(r attempt) bool {
	const longest = 5.0 // between two lines of the trace
	return r.to-r.from > longest
}

// beside tells whether something went wrong in a time.
func (m *mix) beside(from, to float64) bool {
	for _, h := range m.harmed {
		if from <= h.to && to >= h.from {
			return true
		}
	}
	return false
}

// runs reads the trace.
func (m *mix) runs() map[string][]attempt {
	m.t.Helper()
	f, err := os.Open(m.trace)
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	runs := map[string][]attempt{}
	for in := bufio.NewReader(f); ; {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			return runs
		}
		w := strings.Fields(line)
		if err != nil || len(w) != 5 {
			m.t.Fatalf("the trace has %q, %v", line, err)
		}
		at, _ := strconv.ParseFloat(w[0], 64)
		list := runs[w[1]]
		i := len(list) - 1
		for i >= 0 && (list[i].number != w[2] || list[i].pid != w[3]) {
			i--
		}
		if i < 0 {
			list = append(list, attempt{pid: w[3], number: w[2], from: at})
			i = len(list) - 1
		}
		list[i].to, list[i].done = at, w[4] == "done"
		runs[w[1]] = list
	}
}
