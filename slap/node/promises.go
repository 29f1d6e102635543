package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weir/slap"
	"weir/slap/promise"
	"weir/slap/requested"
)

// promises runs the partition's promises after it was processed. The error of
// one that failed is a *promise.Error.
func (t *task) promises(ctx context.Context) error {
	o := t.promiseOptions()
	o.Force = true
	s, err := promise.Run(ctx, o)
	t.note(s)
	if err != nil {
		return err
	}
	return s.Err()
}

func (t *task) promiseOptions() promise.Options {
	c := t.n.c
	o := promise.Options{
		Partition: t.f.path, ID: t.name, Computer: c.Computer, Master: c.Master, Cert: c.Cert, Key: c.Key,
		UID: uint32(t.f.uid), GID: uint32(t.f.gid), Python: t.python(),
		Env:     environment("HOME="+t.f.path, "SLAPGRID_INSTANCE_ROOT="+c.Instances),
		Timeout: c.PromiseTimeout, Log: t.log,
		Processes: c.Processes,
		Parallel:  1, // promises of one instance may count on being alone
	}
	if c.Certificates != "" {
		o.Key, o.Cert = filepath.Join(c.Certificates, t.name+".key"), filepath.Join(c.Certificates, t.name+".crt")
	}
	return o
}

// python is the release's interpreter, that of its buildout.
func (t *task) python() string {
	list, err := interpreter(filepath.Join(t.release, "bin", "buildout"))
	if err == nil && len(list) > 0 && strings.HasPrefix(filepath.Base(list[0]), "python") {
		return list[0]
	}
	return t.n.c.Python
}

// note writes what promises said to the partition's log.
func (t *task) note(s promise.Summary) {
	if !slices.ContainsFunc(s.Results, func(r promise.Result) bool { return !r.Former }) {
		return
	}
	file, err := t.f.appendTo(logName, maxLog)
	if err != nil {
		t.log.Warn("log", "error", err)
		return
	}
	defer file.Close()
	for _, r := range s.Results {
		if r.Former {
			continue
		}
		level := "INFO"
		if r.Failed {
			level = "ERROR"
		}
		fmt.Fprintf(file, "%s - %s - promise %s: %s\n", t.n.now().UTC().Format("2006-01-02 15:04:05"), level, r.Name, r.Message)
	}
}

// watch looks after a partition that is up to date: what runs in it, and
// whether it keeps its promises.
func (t *task) watch(ctx context.Context, s *snapshot) result {
	if t.p.State != slap.Started {
		return result{}
	}
	runs, limit := t.runs(s)
	if !runs || requested.Pending(t.place(), t.n.now()) {
		t.log.Info("starting and stopping what is not as it should be", "title", t.p.Title)
		if err := t.startProcesses(ctx); err != nil {
			return result{err: errors.Join(err, t.failed(ctx, err)), worked: true}
		}
		if err := t.plan.Done(); err != nil {
			t.log.Warn("requested process state", "error", err)
		}
	}
	kept, err := t.anomalies(ctx)
	if ctx.Err() != nil {
		return result{err: ctx.Err()}
	}
	if bang := kept.Bang(); bang != "" {
		t.log.Warn("a promise bangs", "message", bang)
		if e := t.tell(ctx, slap.ReportBang, bang); e != nil {
			return result{err: e}
		}
	}
	var broken *promise.Error
	kind := errors.As(err, &broken) || err == nil && limit != ""
	err = errors.Join(err, limitError(limit))
	return result{err: errors.Join(err, t.news(ctx, err)), promise: kind}
}

// anomalies checks what is promised, where anything is.
func (t *task) anomalies(ctx context.Context) (promise.Summary, error) {
	if !t.f.exists("etc/plugin") && !t.f.exists("etc/promise") {
		return promise.Summary{}, nil
	}
	o := t.promiseOptions()
	o.Anomaly = true
	s, err := promise.Run(ctx, o)
	t.note(s)
	if err == nil {
		err = s.Err()
	}
	return s, err
}

// newsEvery is how often a state that has not changed is told to a master
// that does not say which state it knows.
const newsEvery = time.Hour

// news tells the master how a partition is, when it does not know.
func (t *task) news(ctx context.Context, problem error) error {
	report, text := slap.ReportStarted, ""
	if problem != nil {
		report, text = slap.ReportError, problem.Error()
	}
	switch {
	case strings.HasPrefix(t.p.Status, "#access") && problem == nil:
		return nil
	case strings.HasPrefix(t.p.Status, "#error") && problem != nil:
		return nil
	case t.p.Status == "" && t.told(string(report)+" "+text):
		return nil
	}
	if err := t.tell(ctx, report, text); err != nil {
		return err
	}
	return t.noteTold(string(report) + " " + text)
}

// told tells whether the master was told the same a short while ago.
func (t *task) told(what string) bool {
	info, err := os.Stat(t.toldFile())
	if err != nil || t.n.now().Sub(info.ModTime()) >= newsEvery {
		return false
	}
	b, err := os.ReadFile(t.toldFile())
	return err == nil && string(b) == what
}

func (t *task) toldFile() string { return t.n.state("told", t.name) }

func (t *task) noteTold(what string) error {
	return os.WriteFile(t.toldFile(), []byte(what), 0o600)
}
