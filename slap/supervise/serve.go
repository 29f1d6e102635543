package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/proc"
)

// Options of a supervisor.
type Options struct {
	// Dir is a folder of its own, 0700: socket, records, pipes.
	Dir string
	// Exec is the command line that ends in a call of Exec: how a program's
	// process is made. It is run as the supervisor's user.
	Exec []string
	// NoCgroups does without, as where none can be written.
	NoCgroups bool
	Log       *slog.Logger // default discards
}

// A server is a supervisor that runs.
type server struct {
	o       Options
	log     *slog.Logger
	store   store
	cgroups cgroups
	boot    string
	started time.Time
	adopted int
	spawns  chan struct{} // as many starts are under way as it has room
	lend    chunks
	end     context.CancelFunc

	mu     sync.Mutex
	groups map[string]map[string]*keeper
	shares map[string]*share      // by group
	locks  map[string]*sync.Mutex // by group: one change at a time
	seq    uint64
	news   chan struct{} // closed at the next event
}

// Serve runs a supervisor until the context ends or a client asks for
// Shutdown; then it stops all programs. ErrTaken: one runs already. The
// calling process becomes the parent of what programs leave behind.
func Serve(ctx context.Context, o Options) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{
		o: o, log: o.Log, started: time.Now(), end: cancel, store: store{o.Dir},
		spawns: make(chan struct{}, 4*runtime.NumCPU()),
		groups: map[string]map[string]*keeper{}, shares: map[string]*share{}, locks: map[string]*sync.Mutex{}, news: make(chan struct{}),
	}
	if err := s.store.open(); err != nil {
		return err
	}
	lock, err := s.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if s.boot, err = proc.Boot(); err != nil {
		return err
	}
	if !o.NoCgroups {
		s.cgroups = findCgroups(o.Dir, s.log)
		s.cgroups.probe(s)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		s.log.Warn("supervise: orphans go to init", "error", err)
	}
	l, err := s.listen()
	if err != nil {
		return err
	}
	defer l.Close()
	if err := s.load(); err != nil {
		return err
	}
	s.log.Info("supervise: ready", "folder", o.Dir, "adopted", s.adopted, "confined", s.cgroups.v2 != "" || s.cgroups.pids != "")
	go s.reap(ctx)
	go s.measure(ctx)
	go s.accept(ctx, l)
	<-ctx.Done()
	l.Close()
	s.stopAll()
	for _, group := range s.info().Groups { // a change that was begun may go on
		discard(s.cgroups.folders(groupSlot(group)))
	}
	discard(s.cgroups.folders())
	return nil
}

const lockName = "lock"

// lock makes sure that the folder has one supervisor.
func (s *server) lock() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(s.o.Dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("supervise: lock: %w", err)
	}
	// Of the process, unlike flock: a process on its way to become a program
	// does not have it.
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		f.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("%w: %s", ErrTaken, s.o.Dir)
		}
		return nil, fmt.Errorf("supervise: lock: %w", err)
	}
	return f, nil
}

// load takes up where the last supervisor ended.
func (s *server) load() error {
	groups, records, err := s.store.load(s.log)
	if err != nil {
		return err
	}
	known := map[string]record{}
	for _, r := range records {
		known[slot(r.Group, r.Name)] = r
		if r.Event != nil {
			s.seq = max(s.seq, r.Event.Seq)
		}
	}
	for _, g := range groups {
		s.groups[g.Name] = map[string]*keeper{}
		s.setShare(g)
		for _, p := range g.Programs {
			k := s.keeper(g.Name, p)
			s.groups[g.Name][p.Name] = k
			if r, ok := known[k.slot]; ok {
				delete(known, k.slot)
				if k.resume(r) {
					s.adopted++
				}
			}
		}
	}
	for _, r := range known {
		s.log.Warn("supervise: a program that is in no group is ended", "group", r.Group, "program", r.Name)
		if p := r.Process; p != nil && r.Boot == s.boot && !p.family().end(time.Second) {
			return fmt.Errorf("supervise: %s:%s is in no group, and cannot be killed", r.Group, r.Name)
		}
		s.forget(r.Group, r.Name)
	}
	return nil
}

// forget removes what is kept of a program that does not run.
func (s *server) forget(group, name string) {
	s.store.drop(slot(group, name))
	discard(s.cgroups.folders(groupSlot(group), slot(group, name)))
}

// stopAll stops every program, all at once, and removes the cgroups that they
// were in: those that were adopted may be in ones of another place.
func (s *server) stopAll() {
	var all sync.WaitGroup
	var folders []string
	for _, k := range s.keepers() {
		was := append(k.folders(), s.cgroups.folders(groupSlot(k.group), k.slot)...)
		folders = append(folders, was...)
		all.Go(func() {
			k.hold()
			k.down(context.Background())
			k.close()
			discard(was)
		})
	}
	all.Wait()
	discardEmpty(folders)
}

// keepers lists all programs.
func (s *server) keepers() []*keeper {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*keeper
	for _, g := range s.groups {
		for _, k := range g {
			list = append(list, k)
		}
	}
	return list
}

// nextSeq numbers an event: greater than any before, in earlier runs as well.
func (s *server) nextSeq() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq = max(s.seq+1, uint64(time.Now().UnixMicro()))
	return s.seq
}

// announce wakes those who wait for events.
func (s *server) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.news)
	s.news = make(chan struct{})
}

// reap waits for orphans that programs left to this process. Programs' own
// processes have somebody who waits for them, and so may other children of
// this process: an orphan is what was dead the last time, too.
func (s *server) reap(ctx context.Context) {
	dead := map[proc.ID]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		now := map[proc.ID]bool{}
		for _, id := range s.orphans() {
			if dead[id] {
				_, _ = unix.Wait4(id.PID, nil, unix.WNOHANG, nil)
			} else {
				now[id] = true
			}
		}
		dead = now
	}
}

// orphans lists children that have ended and are no program's process.
func (s *server) orphans() []proc.ID {
	ours := map[int]bool{}
	for _, k := range s.keepers() {
		ours[k.status().PID] = true
	}
	all, err := proc.All("/")
	if err != nil {
		return nil
	}
	var list []proc.ID
	for _, p := range all {
		if p.Dead() && p.Parent == os.Getpid() && !ours[p.PID] {
			list = append(list, p.ID)
		}
	}
	return list
}
