package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"weir/slap"
	"weir/slap/promise"
	"weir/slap/requested"
)

// A task is the work on one partition, which it holds a lock of.
type task struct {
	n       *Node
	p       slap.Partition
	f       *folder
	name    string
	release string // folder of its software release
	lock    *Lock
	plan    requested.Plan // of the last start
	log     *slog.Logger
}

func (t *task) close() {
	t.f.close()
	t.lock.Release()
}

// runFile holds the mark of the run that goes on.
func (t *task) runFile() string { return t.n.state("run", t.name) }

// leave takes away what the agent keeps in a partition without instance.
func (t *task) leave() error {
	var err error
	for _, name := range []string{".slapgrid", timestampName} {
		err = errors.Join(err, t.f.remove(name))
	}
	return err
}

// upToDate: the master has changed nothing since the last success, and that
// is not too long ago.
func (t *task) upToDate() bool {
	if t.p.Timestamp == "" || t.f.text(timestampName) != t.p.Timestamp {
		return false
	}
	age := t.periodicity()
	info, err := t.f.root.Lstat(timestampName)
	return err == nil && age != 0 && (age < 0 || !t.n.now().After(info.ModTime().Add(age)))
}

// periodicity is that of the release, else of the configuration.
func (t *task) periodicity() time.Duration {
	b, err := os.ReadFile(filepath.Join(t.release, "periodicity"))
	if err == nil {
		if s, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64); err == nil && s < 1e9 {
			return time.Duration(s * float64(time.Second))
		}
	}
	return t.n.c.Periodicity
}

// bring processes a partition that is not up to date. The timestamp goes
// first and comes last, so that whatever fails or is cut short in between is
// done again.
func (t *task) bring(ctx context.Context, r Run) result {
	t.log.Info("processing", "title", t.p.Title, "software", t.p.Software, "state", t.p.State)
	os.Remove(t.toldFile())
	err := errors.Join(t.f.remove(timestampName), t.f.remove(oldStateName), t.f.remove(requestsName(t.name)), t.f.remove(errorLogName(t.name)), t.f.mkdir(".slapgrid/log", 0o755))
	if err == nil {
		err = t.certificate(ctx)
	}
	if err == nil {
		err = t.reach(ctx, r)
	}
	var broken *promise.Error
	switch {
	case isOffline(err) || ctx.Err() != nil:
		return result{err: err, worked: true}
	case errors.As(err, &broken):
		t.log.Error("promise failed", "error", err)
		return result{err: errors.Join(err, t.tell(ctx, slap.ReportError, err.Error())), promise: true, worked: true}
	case err != nil:
		return result{err: errors.Join(err, t.failed(ctx, err)), worked: true}
	case r.ForceStop:
		return result{worked: true}
	}
	return result{err: t.done(), worked: true}
}

// done notes that the processing has succeeded, as a whole.
func (t *task) done() error {
	if t.p.State == slap.Started {
		if err := errors.Join(t.plan.Done(), t.noteTold(string(slap.ReportStarted)+" ")); err != nil {
			return err
		}
	}
	if t.p.Timestamp == "" {
		return nil
	}
	return t.f.write(timestampName, []byte(t.p.Timestamp), 0o644)
}

// failed notes an error where its readers look for it: in the partition, and
// at the master. Promises run all the same, for what they write down.
func (t *task) failed(ctx context.Context, err error) error {
	t.log.Error("processing failed", "error", err)
	if e := t.f.write(errorLogName(t.name), []byte(err.Error()+"\n"), 0o644); e != nil {
		t.log.Warn("error log", "error", e)
	}
	if t.p.State == slap.Started {
		if e := t.promises(ctx); e != nil {
			t.log.Warn("promises of a partition that failed", "error", e)
		}
	}
	return t.tell(ctx, slap.ReportError, err.Error())
}

// tell reports to the master. That it is lost is an error; that it does not
// want the report is logged.
func (t *task) tell(ctx context.Context, r slap.Report, text string) error {
	_, err := t.n.client.Report(ctx, t.n.place(t.p), r, text)
	if err != nil && !isOffline(err) {
		t.log.Warn("the master refuses a report", "error", err)
		return nil
	}
	return err
}

// reach does what the state asks for.
func (t *task) reach(ctx context.Context, r Run) error {
	switch t.p.State {
	case slap.Started:
		if err := t.install(ctx, r.Debug); err != nil {
			return err
		}
		if r.ForceStop {
			return t.stop(ctx)
		}
		return t.start(ctx)
	case slap.Stopped:
		// It is stopped even when its profile fails; and the profile runs, so
		// that what it asked for is asked to stop, too.
		err := errors.Join(t.install(ctx, r.Debug), t.stop(ctx))
		if err != nil || r.ForceStop {
			return err
		}
		if err := t.tell(ctx, slap.ReportStopped, ""); err != nil {
			return err
		}
		return t.related(ctx)
	case slap.Destroyed:
		if err := t.stop(ctx); err != nil || r.ForceStop {
			return err
		}
		return t.tell(ctx, slap.ReportStopped, "")
	}
	return fmt.Errorf("partition %s: the master asks for the state %.40q, which there is not", t.name, t.p.State)
}

// start starts what the profile left to run.
func (t *task) start(ctx context.Context) error {
	if err := t.startProcesses(ctx); err != nil {
		return err
	}
	if err := t.promises(ctx); err != nil {
		return err
	}
	if err := t.tell(ctx, slap.ReportStarted, ""); err != nil {
		return err
	}
	return t.related(ctx)
}

// related tells the titles that the partition's profile has just asked for,
// when it has asked for any by slapos's library.
func (t *task) related(ctx context.Context) error {
	b, err := t.f.read(requestsName(t.name))
	if err != nil {
		return nil
	}
	titles := []string{}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" {
			titles = append(titles, strings.ToValidUTF8(line, "?"))
		}
	}
	err = t.n.client.Related(ctx, t.n.place(t.p), titles)
	if err != nil && !isOffline(err) {
		t.log.Debug("the master does not take the list of requested instances", "error", err)
		return nil
	}
	return err
}

// certificate keeps the partition's own certificate, where that is configured.
func (t *task) certificate(ctx context.Context) error {
	dir := t.n.c.Certificates
	if dir == "" {
		return nil
	}
	c, err := t.n.client.PartitionCertificate(ctx, t.n.place(t.p))
	if errors.Is(err, slap.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	for name, text := range map[string]string{t.name + ".crt": c.Certificate, t.name + ".key": c.Key} {
		if err := keep(filepath.Join(dir, name), text, t.f); err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
	}
	return nil
}

// keep puts a secret file in place, readable by the partition alone.
func keep(path, text string, f *folder) error {
	if old, err := os.ReadFile(path); text == "" || err == nil && string(old) == text {
		return nil
	}
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !os.IsNotExist(err) {
		return err
	}
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	if err = errors.Join(err, f.own(file), file.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// newMark is a text that no other run has.
func newMark() string { return rand.Text() }
