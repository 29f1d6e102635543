package node

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
)

// ErrRunning: another process does the same on this computer.
var ErrRunning = errors.New("node: it runs already")

// locks are what this process holds. They are POSIX's: they end with the
// process, and processes that it makes do not have them. Within one process
// they exclude nobody, and end when any descriptor of the file is closed, so
// no file is opened twice.
type locks struct {
	mu   sync.Mutex
	held map[string]bool
}

// A Lock is held by one process at a time, and ends with it.
type Lock struct {
	of   *locks
	file *os.File
	pid  bool // the file tells the process's id
}

// take takes a lock, or gives ErrRunning when it is held.
func (l *locks) take(path string) (*Lock, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[path] {
		return nil, fmt.Errorf("%w: %s is held", ErrRunning, path)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, fmt.Errorf("node: lock: %w", err)
	}
	err = syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		err = fmt.Errorf("%w: %s is held", ErrRunning, path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l.held[path] = true
	return &Lock{of: l, file: f}, nil
}

// takePidfile takes a lock and writes the process's id to its file; ErrRunning
// also when a slapos holds it, which has only written its id.
func (l *locks) takePidfile(path string) (*Lock, error) {
	k, err := l.take(path)
	if err != nil {
		return nil, err
	}
	if pid := k.holder(); pid != "" && pid != fmt.Sprint(os.Getpid()) && isAgent(pid) {
		return nil, errors.Join(fmt.Errorf("%w: process %s, says %s", ErrRunning, pid, path), k.Release())
	}
	k.pid = true
	err = k.file.Truncate(0)
	if err == nil {
		_, err = k.file.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("node: lock: %w", err), k.Release())
	}
	return k, nil
}

// holder gives the process that the file names, "" for none.
func (k *Lock) holder() string {
	b, err := io.ReadAll(io.NewSectionReader(k.file, 0, 20))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// isAgent tells whether a process is a slapos, which takes no locks.
func isAgent(pid string) bool {
	if strings.Trim(pid, "0123456789") != "" {
		return false
	}
	b, err := os.ReadFile("/proc/" + pid + "/cmdline")
	return err == nil && strings.Contains(string(b), "slapos")
}

// Release ends the lock. The file stays; it names nobody.
func (k *Lock) Release() (err error) {
	k.of.mu.Lock()
	defer k.of.mu.Unlock()
	if k.pid {
		err = k.file.Truncate(0)
	}
	delete(k.of.held, k.file.Name())
	return errors.Join(err, k.file.Close())
}

// Lock takes the lock of a command: instance, software or report. A pid file
// that is given goes before that of the configuration.
func (n *Node) Lock(command, pidfile string) (*Lock, error) {
	if pidfile == "" {
		pidfile = n.c.Pidfiles[command]
	}
	if pidfile == "" {
		if err := n.prepare(); err != nil {
			return nil, err
		}
		pidfile = n.state("lock", "command-"+command)
	}
	return n.locks.takePidfile(pidfile)
}
