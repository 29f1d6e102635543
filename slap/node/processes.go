package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"weir/slap/requested"
	"weir/slap/supervise"
)

// places say where a profile leaves programs, and whether their end is bad
// news. slapos's documents say etc/services, its code etc/service.
var places = []struct {
	dir     string
	watched bool
}{{"etc/run", false}, {"etc/service", true}, {"etc/services", true}}

// SupervisorDir is the supervisor's folder.
func (n *Node) SupervisorDir() string { return n.state("supervisor") }

// supervisor gives a client. Unless it is needed, there may be none: no
// supervisor runs and none has left anything to run.
func (n *Node) supervisor(ctx context.Context, needed bool) (*supervise.Client, error) {
	c, err := supervise.Dial(ctx, n.SupervisorDir())
	if err == nil {
		return c, nil
	}
	if !errors.Is(err, supervise.ErrAbsent) {
		return nil, err
	}
	if _, err := os.Stat(n.SupervisorDir()); err != nil && !needed {
		return nil, nil
	}
	return supervise.Ensure(ctx, n.SupervisorDir(), n.o.Supervisor...)
}

// programs are what the partition has to run, by name.
func (t *task) programs() ([]supervise.Program, error) {
	var list []supervise.Program
	for _, place := range places {
		names, err := t.f.names(place.dir)
		if err != nil {
			return nil, fmt.Errorf("partition %s: %s: %w", t.name, place.dir, err)
		}
		for _, name := range names {
			if info, err := t.f.root.Lstat(place.dir + "/" + name); err != nil || info.IsDir() {
				continue
			}
			if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) || r == utf8.RuneError }) {
				t.log.Error("a program is not run: its name is no plain text", "program", fmt.Sprintf("%s/%q", place.dir, name))
				continue
			}
			p := t.program(t.name, name, filepath.Join(t.f.path, place.dir, name))
			if place.watched {
				p.Name, p.Watch = name+requested.Watched, true
			}
			if !slices.ContainsFunc(list, func(o supervise.Program) bool { return o.Name == p.Name }) {
				list = append(list, p)
			}
		}
	}
	slices.SortFunc(list, func(a, b supervise.Program) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return list, nil
}

// program is a file run as supervisord would run it for slapgrid.
func (t *task) program(group, name, path string) supervise.Program {
	f := t.f
	p := supervise.Program{
		Name: name, Command: []string{path}, Dir: f.path, Umask: 0o027,
		Log: filepath.Join(f.path, "."+group+"_"+name+".log"), LogBytes: t.n.c.LogBytes, LogBackups: 1,
		Env: []string{"HOME=" + f.path, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}
	if u, err := user.LookupId(strconv.Itoa(f.uid)); err == nil {
		p.Env = append(p.Env, "USER="+u.Username, "LOGNAME="+u.Username)
	}
	if os.Geteuid() == 0 {
		p.User = &supervise.User{UID: uint32(f.uid), GID: uint32(f.gid)}
		if c, err := (owner{f.uid, f.gid}).credential(); err == nil {
			p.User.Groups = c.Groups
		}
	}
	return p
}

// place is the partition as requests of process states see it.
func (t *task) place() requested.Place {
	return requested.Place{Root: t.f.root, ID: t.name, UID: uint32(t.f.uid)}
}

// startProcesses makes the supervisor run what the partition has, but for
// what the partition itself wants stopped.
func (t *task) startProcesses(ctx context.Context) error {
	list, err := t.programs()
	if err != nil {
		return err
	}
	if os.Geteuid() == 0 && len(list) > 0 && (t.f.uid == 0 || t.f.gid == 0) {
		return ErrRoot
	}
	names := make([]string, len(list))
	for k, p := range list {
		names[k] = p.Name
	}
	t.plan = requested.Make(t.place(), true, names, t.n.now())
	for _, note := range t.plan.Notes {
		t.log.Warn(note)
	}
	c, err := t.n.supervisor(ctx, len(list) > 0)
	if c == nil || err != nil {
		return err
	}
	if len(list) == 0 {
		return errors.Join(c.Remove(ctx, t.name), t.n.forgetGroup(t.name))
	}
	if err := t.apply(ctx, c, supervise.Group{Name: t.name, Programs: list}); err != nil {
		return err
	}
	return t.startPlanned(ctx, c, names)
}

// apply makes the supervisor know a group.
func (t *task) apply(ctx context.Context, c *supervise.Client, g supervise.Group) error {
	g.Share = supervise.Share{Processes: t.n.c.Processes, Memory: t.n.c.Memory}
	if _, err := c.Apply(ctx, g); err != nil {
		return err
	}
	return t.n.describeGroup(g, owner{t.f.uid, t.f.gid})
}

// startPlanned stops, restarts and starts the partition's programs. That a
// program cannot be started is logged: its promise tells.
func (t *task) startPlanned(ctx context.Context, c *supervise.Client, names []string) error {
	var start, stop, restart []string
	for _, name := range names {
		full := t.name + ":" + name
		switch {
		case slices.Contains(t.plan.Stopped, name):
			stop = append(stop, full)
		case slices.Contains(t.plan.Restarted, name):
			restart = append(restart, full)
		default:
			start = append(start, full)
		}
	}
	for _, step := range []struct {
		names []string
		do    func(context.Context, ...string) ([]supervise.Status, error)
	}{{stop, c.Stop}, {restart, c.Restart}, {start, c.Start}} {
		if len(step.names) == 0 {
			continue
		}
		states, err := step.do(ctx, step.names...)
		if err != nil {
			return err
		}
		for _, s := range states {
			if s.State == supervise.Fatal || s.State == supervise.Backoff {
				t.log.Error("a program does not start", "program", s.FullName(), "error", s.Error)
			}
		}
	}
	return nil
}

// stop ends the partition's processes and forgets them.
func (t *task) stop(ctx context.Context) error {
	c, err := t.n.supervisor(ctx, false)
	if c == nil || err != nil {
		return err
	}
	return errors.Join(c.Remove(ctx, t.name), t.n.forgetGroup(t.name))
}

// A snapshot is which groups the supervisor has, asked once in a run, while
// the master is asked.
type snapshot struct {
	taken  chan struct{}
	groups map[string]bool   // none where the supervisor does not tell
	limits map[string]string // what groups are at, and who brought them there
}

func (n *Node) snapshot(ctx context.Context) *snapshot {
	s := &snapshot{taken: make(chan struct{}), groups: map[string]bool{}}
	go func() {
		defer close(s.taken)
		c, err := n.supervisor(ctx, false)
		if c == nil || err != nil {
			return
		}
		info, err := c.Info(ctx)
		if err != nil {
			return
		}
		s.limits = info.Limited
		for _, g := range info.Groups {
			s.groups[g] = true
		}
	}()
	return s
}

// runs tells whether the supervisor knows the partition, if there is anything
// to know, and which limit it is at.
func (t *task) runs(s *snapshot) (there bool, limit string) {
	<-s.taken
	if s.groups[t.name] {
		return true, s.limits[t.name]
	}
	for _, place := range places {
		if names, err := t.f.names(place.dir); err == nil && len(names) > 0 {
			return false, ""
		}
	}
	return true, ""
}
