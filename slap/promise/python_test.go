package promise

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// python gives a Python with slapos.core, which internal/e2e/peers.sh installs.
func python(t *testing.T) string {
	t.Helper()
	p := os.Getenv("WEIR_PYTHON_SLAPOS")
	if p == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("WEIR_PYTHON_SLAPOS is not set; internal/e2e/peers.sh sets it")
		}
		t.Skip("WEIR_PYTHON_SLAPOS is not set; internal/e2e/peers.sh sets it")
	}
	return p
}

// plugin writes a Python promise with a body of its class.
func (b *bench) plugin(name, extra, body string) {
	b.t.Helper()
	b.write("etc/plugin/"+name, `import sys
sys.path[0:0] = ['`+b.path("eggs")+`']
from zope.interface import implementer
from slapos.grid.promise import interface
from slapos.grid.promise.generic import GenericPromise, TestResult, AnomalyResult
import os, time
`+extra+`
@implementer(interface.IPromise)
class RunPromise(GenericPromise):
`+body, 0o644)
}

// fill makes promises of every kind that does not take long.
func (b *bench) fill() {
	b.plugin("good.py", "", "  def sense(self): self.logger.info('fine')\n")
	b.plugin("bad.py", "", "  def sense(self): self.logger.error('broken\\nin two lines')\n")
	b.plugin("raises.py", "", "  def sense(self): raise ValueError('no idea')\n")
	b.plugin("config.py", "extra_config_dict = {'limit': '3', 'bang-on-failure': 'False'}\n",
		"  def sense(self): self.logger.error('%s %s %s' % (self.getConfig('limit'), self.getConfig('partition-id'), self.getConfig('promise-timeout')))\n")
	b.plugin("dies.py", "", "  def sense(self): os._exit(4)\n")
	b.plugin("prints.py", "", "  def sense(self):\n    print('noise')\n    self.logger.info('quiet')\n")
	b.plugin("testless.py", "", "  def __init__(self, config):\n    GenericPromise.__init__(self, config)\n    self.setTestLess()\n    self.setPeriodicity(minute=5)\n  def sense(self): self.logger.error('only anomaly')\n")
	b.plugin("anomalyless.py", "", "  def __init__(self, config):\n    GenericPromise.__init__(self, config)\n    self.setAnomalyLess()\n  def sense(self): self.logger.error('only test')\n")
	b.plugin("own.py", "", "  def sense(self): pass\n  def test(self): return TestResult(problem=True, message='t')\n  def anomaly(self): return AnomalyResult(problem=True, message='a')\n")
	b.write("etc/plugin/syntax.py", "import sys\nsys.path[0:0] = []\nclass RunPromise(:\n", 0o644)
	b.write("etc/plugin/classless.py", "import sys\nsys.path[0:0] = []\n", 0o644)
	b.write("etc/plugin/__init__.py", "", 0o644)
	b.write("etc/plugin/notes.txt", "", 0o644)
	b.sh("sh-good", "echo fine")
	b.sh("sh-bad.sh", "echo 'two\nlines'; exit 1")
}

// launcher runs the promises as slapos.core itself does, without its command
// line.
const launcher = `
import json, logging, sys
from slapos.grid.promise import PromiseLauncher, PromiseError
config = json.loads(sys.argv[1])
try:
  PromiseLauncher(config=config, logger=logging.getLogger('x')).run()
except PromiseError as e:
  print(str(e).splitlines()[0])
`

// tried is what the library logs when there is nobody to bang at.
var tried = regexp.MustCompile(`(?ms)^ - WARNING -  - Traceback.*?\n\n`)

var epoch = regexp.MustCompile(`(?m)^\S+ \S+( - [A-Z]+ - )\d+-\d{3}`)

// state reads what is in result, log and cache files, without times.
func (b *bench) state() map[string]string {
	found := map[string]string{}
	for _, folder := range []string{resultFolder, logFolder, cacheFolder} {
		entries, err := os.ReadDir(b.path(folder))
		if err != nil {
			b.t.Fatal(err)
		}
		for _, e := range entries {
			name := folder + "/" + e.Name()
			text := b.read(name)
			var f resultFile
			var k cache
			switch {
			case folder == resultFolder && json.Unmarshal([]byte(text), &f) == nil:
				text = fmt.Sprintf("%s %s %v %s %v", f.Title, f.Name, f.Result.Failed, f.Result.Type, strings.SplitN(f.Result.Message, ":", 2)[0])
			case folder == cacheFolder && json.Unmarshal([]byte(text), &k) == nil:
				text = fmt.Sprintf("%v %v %v", k.Tested, k.Anomaly, k.Periodicity)
			case folder == logFolder:
				text = tried.ReplaceAllString(epoch.ReplaceAllString(text, "$1"), "")
			}
			found[name] = strings.ReplaceAll(text, b.o.Partition, "PARTITION")
		}
	}
	return found
}

// TestAsTheLibrary compares files with those that slapos.core's own runner
// leaves: in test mode, and three times in anomaly mode.
func TestAsTheLibrary(t *testing.T) {
	t.Parallel()
	interpreter := python(t)
	for _, anomaly := range []bool{false, true} {
		t.Run(fmt.Sprintf("anomaly %v", anomaly), func(t *testing.T) {
			t.Parallel()
			ours, theirs := open(t), open(t)
			ours.fill()
			theirs.fill()
			ours.o.Python, ours.o.Anomaly, ours.o.Timeout = interpreter, anomaly, time.Minute
			config, err := json.Marshal(map[string]any{
				"promise-folder": theirs.path("etc/plugin"), "legacy-promise-folder": theirs.path("etc/promise"),
				"log-folder": theirs.path(logFolder), "partition-folder": theirs.o.Partition, "promise-timeout": 60,
				"check-anomaly": anomaly, "force": true, "partition-id": "slappart0", "computer-id": "computer", "debug": false,
			})
			if err != nil {
				t.Fatal(err)
			}
			runs := 1
			if anomaly {
				runs = 3
			}
			for i := range runs {
				s := ours.run()
				c := exec.Command(interpreter, "-c", launcher, string(config))
				said, err := c.Output()
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					t.Fatalf("%v\n%s", err, exit.Stderr)
				}
				if !strings.Contains(string(said), "Promise '") || s.Err() == nil {
					t.Errorf("the library says %q, we %v", said, s.Err())
				}
				got, want := ours.state(), theirs.state()
				for name, w := range want {
					if g, ok := got[name]; !ok || comparable(g) != comparable(w) {
						t.Errorf("run %d: %s:\nours   %q\ntheirs %q", i+1, name, g, w)
					}
				}
				for name, g := range got {
					if _, ok := want[name]; !ok {
						t.Errorf("run %d: %s is ours only: %q", i+1, name, g)
					}
				}
			}
		})
	}
}

// comparable leaves out numbers that Python writes otherwise.
func comparable(s string) string { return strings.ReplaceAll(s, "60.0", "60") }

// TestPlugins: what the results say, and who bangs.
func TestPlugins(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.fill()
	b.o.Python, b.o.Anomaly, b.o.Master, b.o.Timeout = python(t), true, "http://127.0.0.1:9/", time.Minute
	s := b.run()
	if r, f := b.result(s, "bad.py"); !r.Failed || r.Bang != "Promise bad is failing" || f.Result.Type != anomalyType || r.Message != "broken\nin two lines" {
		t.Errorf("%+v", r)
	}
	if r, _ := b.result(s, "good.py"); r.Failed || r.Bang != "" || !r.Plugin {
		t.Errorf("%+v", r)
	}
	if r, _ := b.result(s, "raises.py"); !r.Failed || r.Message != "no idea" {
		t.Errorf("%+v", r)
	}
	if s.Bang() != "Promise bad is failing" {
		t.Errorf("bang %q", s.Bang())
	}
	for name, want := range map[string]string{"syntax.py": "SyntaxError", "classless.py": "Class RunPromise not found", "dies.py": noOutput} {
		if r, _ := b.result(s, name); !strings.Contains(r.Message, want) || r.Failed {
			t.Errorf("%s: %+v", name, r) // in anomaly mode the first time is none
		}
	}
	b.o.Anomaly = false
	s = b.run()
	for _, name := range []string{"syntax.py", "classless.py", "dies.py"} {
		if r, _ := b.result(s, name); !r.Failed {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if s.Bang() != "" {
		t.Errorf("test mode bangs: %q", s.Bang())
	}
}

// TestPluginTimeout: plugins that hang are ended, each in its time, with all
// that they have started.
func TestPluginTimeout(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.o.Python, b.o.Timeout, b.o.Parallel = python(t), 8*time.Second, 2
	hang := "  def sense(self):\n    import signal, subprocess\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    subprocess.Popen(['sleep', '1000'])\n    time.sleep(1000)\n"
	for i := range 3 {
		b.plugin(fmt.Sprintf("hang%d.py", i), "", hang)
	}
	b.plugin("fine.py", "", "  def sense(self): self.logger.info('fine')\n")
	s := b.run()
	if r, _ := b.result(s, "fine.py"); r.Failed {
		t.Errorf("%+v", r)
	}
	for i := range 3 {
		if r, _ := b.result(s, fmt.Sprintf("hang%d.py", i)); !r.Failed || r.Message != "Error: Promise timed out after 8 seconds" {
			t.Errorf("%+v", r)
		}
	}
}

// TestNoLibrary: a Python that has no slapos.core, and none at all.
func TestNoLibrary(t *testing.T) {
	t.Parallel()
	plain, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 here")
	}
	for interpreter, want := range map[string]string{plain: "No module named", "": "no Python of its own", filepath.Join(t.TempDir(), "none"): "no such file"} {
		b := open(t)
		b.o.Python = interpreter
		b.plugin("p.py", "", "  def sense(self): pass\n")
		b.sh("q", "exit 0")
		s := b.run()
		if r, _ := b.result(s, "p.py"); !r.Failed || !strings.HasPrefix(r.Message, noOutput) || !strings.Contains(r.Message, want) {
			t.Errorf("%q: %+v", interpreter, r)
		}
		if r, _ := b.result(s, "q"); r.Failed {
			t.Errorf("%q: %+v", interpreter, r)
		}
	}
}
