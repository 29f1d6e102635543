package promise

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Where SlapOS's tools look, below the partition's folder.
const (
	resultFolder = ".slapgrid/promise/result"
	logFolder    = ".slapgrid/promise/log"
	cacheFolder  = ".slapgrid/promise/cache"

	dateFormat  = "2006-01-02T15:04:05-0700"
	testType    = "Test Result"
	anomalyType = "Anomaly Result"

	maxFile = 1 << 20 // of results and caches, and of a log
	keepLog = 256 << 10
)

// A resultFile is the form of TITLE.status.json.
type resultFile struct {
	Title    string  `json:"title"`
	Name     string  `json:"name"`
	Path     string  `json:"path"`
	Duration float64 `json:"execution-time"`
	Result   struct {
		Type    string `json:"type"`
		Failed  bool   `json:"failed"`
		Date    string `json:"date"`
		Message string `json:"message"`
	} `json:"result"`
}

// A cache is what is known of a promise before it is run.
type cache struct {
	Tested      bool    `json:"is_tested"`
	Anomaly     bool    `json:"is_anomaly_detected"`
	Periodicity float64 `json:"periodicity"` // minutes
	Next        float64 `json:"next_run_after"`
	Time        float64 `json:"timestamp"`
	Module      string  `json:"module_file"`
	Modified    float64 `json:"module_file_mtime"`
}

// prepare makes the folders, owned by the partition's user.
func (o Options) prepare() error {
	root, err := os.OpenRoot(o.Partition)
	if err != nil {
		return fmt.Errorf("promise: %s: %w", o.ID, err)
	}
	defer root.Close()
	for _, d := range []string{".slapgrid", ".slapgrid/promise", resultFolder, logFolder, cacheFolder} {
		err := root.Mkdir(d, 0o755)
		if err == nil && os.Geteuid() == 0 {
			err = root.Lchown(d, int(o.UID), int(o.GID))
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("promise: %s: %w", o.ID, err)
		}
	}
	return nil
}

// read gives a file below the partition's folder; the folder is the
// partition's, so what is there may be anything.
func (o Options) read(name string) ([]byte, error) {
	f, err := o.open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// open opens a plain file with one name, below the partition's folder.
func (o Options) open(name string, flags int) (*os.File, error) {
	root, err := os.OpenRoot(o.Partition)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(name, flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		st := info.Sys().(*syscall.Stat_t)
		switch {
		case !info.Mode().IsRegular():
			err = fmt.Errorf("%s is no plain file", name)
		case st.Nlink > 1:
			err = fmt.Errorf("%s has a second name (hard link)", name)
		case st.Size == 0 && os.Geteuid() == 0 && st.Uid != o.UID:
			err = f.Chown(int(o.UID), int(o.GID))
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// replace writes a file anew. That it cannot is told, and is no failure of the
// promise.
func (o Options) replace(name string, b []byte) {
	err := func() error {
		root, err := os.OpenRoot(o.Partition)
		if err != nil {
			return err
		}
		defer root.Close()
		temporary := name + ".tmp"
		if err := root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = f.Write(b)
		if err == nil && os.Geteuid() == 0 {
			err = f.Chown(int(o.UID), int(o.GID))
		}
		if err = errors.Join(err, f.Close()); err == nil {
			err = root.Rename(temporary, name)
		}
		if err != nil {
			_ = root.Remove(temporary)
		}
		return err
	}()
	if err != nil {
		o.Log.Error("promise: a file was not written", "partition", o.ID, "file", name, "error", err)
	}
}

// save keeps a result.
func (o Options) save(r Result) {
	f := resultFile{Title: r.Title, Name: r.Name, Path: r.Path, Duration: r.Duration.Seconds()}
	f.Result.Type = testType
	if r.anomaly {
		f.Result.Type = anomalyType
	}
	f.Result.Failed, f.Result.Message, f.Result.Date = r.Failed, r.Message, r.Date.Format(dateFormat)
	b, err := json.Marshal(f)
	if err != nil {
		o.Log.Error("promise: a result was not written", "partition", o.ID, "promise", r.Name, "error", err)
		return
	}
	o.replace(path.Join(resultFolder, r.Title+".status.json"), b)
}

// last gives the last result of a promise.
func (o Options) last(c check) (Result, bool) {
	b, err := o.read(path.Join(resultFolder, c.title()+".status.json"))
	var f resultFile
	if err != nil || json.Unmarshal(b, &f) != nil || f.Result.Type != testType && f.Result.Type != anomalyType {
		return Result{}, false
	}
	r := *o.blank(c)
	r.Duration = time.Duration(f.Duration * float64(time.Second))
	r.Failed, r.Message, r.anomaly = f.Result.Failed, shorten(f.Result.Message), f.Result.Type == anomalyType
	if r.Date, err = time.Parse(dateFormat, f.Result.Date); err != nil {
		return Result{}, false
	}
	return r, true
}

// remember keeps what is known of a promise. One that the mode leaves out has
// not begun a period.
func (o Options) remember(c check, k cache, ran bool) {
	info, err := os.Stat(c.path)
	if err != nil {
		return
	}
	now := seconds(time.Now())
	k.Time, k.Next, k.Module, k.Modified = now, now, c.path, seconds(info.ModTime())
	if ran {
		k.Next += 60 * k.Periodicity
	}
	b, err := json.Marshal(k)
	if err != nil {
		o.Log.Error("promise: a cache was not written", "partition", o.ID, "promise", c.name, "error", err)
		return
	}
	o.replace(path.Join(cacheFolder, c.title()), b)
}

// known gives what is remembered of a promise, unless it was changed since.
func (o Options) known(c check) (cache, bool) {
	b, err := o.read(path.Join(cacheFolder, c.title()))
	var k cache
	if err != nil || json.Unmarshal(b, &k) != nil {
		return k, false
	}
	info, err := os.Stat(c.path)
	if err != nil || c.plugin && filepath.Clean(k.Module) != c.path {
		return k, false
	}
	changed := k.Module == c.path && (seconds(info.ModTime())-k.Modified > 1e-3 || k.Modified-seconds(info.ModTime()) > 1e-3)
	return k, !changed
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// note adds a line to an executable's log, in the form that the library gives
// to those of plugins.
func (o Options) note(c check, failed bool, message string) {
	level := "INFO"
	if failed {
		level = "ERROR"
	}
	now := time.Now()
	line := fmt.Sprintf("%s - %s - %d-%d - %s\n", now.Format(time.DateTime), level, now.Unix(), 100+rand.IntN(900), message)
	name := path.Join(logFolder, c.title()+".log")
	f, err := o.open(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE)
	if err == nil {
		_, err = f.WriteString(line)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		o.Log.Error("promise: a log was not written", "partition", o.ID, "file", name, "error", err)
	}
}

// trim keeps logs within bounds: their last part, from a line on.
func (o Options) trim(c check) {
	name := path.Join(logFolder, c.title()+".log")
	f, err := o.open(name, os.O_RDONLY)
	if err != nil {
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() <= maxFile {
		return
	}
	b, err := io.ReadAll(io.NewSectionReader(f, info.Size()-keepLog, keepLog))
	if err != nil {
		return
	}
	o.replace(name, b[bytes.IndexByte(b, '\n')+1:])
}

// logLine is made when it is needed first: most runs of a node do not need it.
var logLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(\d{4}-\d{2}-\d{2}\s+\d{2}:\d{2}:\d{2})\s+-?\s*(\w+)\s+-?\s+(\d+-\d{3})\s+-?\s*(.*)`)
})

// failedRuns counts how many of the last three runs in the log failed, from
// the last one on.
func (o Options) failedRuns(c check) int {
	b, err := o.read(path.Join(logFolder, c.title()+".log"))
	if err != nil {
		return 0
	}
	runs := map[string]bool{} // by id: whether it failed
	var order []string
	for line := range strings.Lines(string(b)) {
		m := logLine().FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		if _, known := runs[m[3]]; !known {
			order = append(order, m[3])
		}
		runs[m[3]] = runs[m[3]] || m[2] == "ERROR" || m[2] == "CRITICAL"
	}
	failed := 0
	for i := len(order) - 1; i >= 0 && i >= len(order)-3; i-- {
		if runs[order[i]] {
			failed++
		}
	}
	return failed
}
