package supervise

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/proc"
)

// spawn makes the process of a program. It waits at its gate until it has been
// written down: a supervisor that dies before that takes it along.
func (k *keeper) spawn() {
	k.srv.spawns <- struct{}{}
	defer func() { <-k.srv.spawns }()
	if err := k.makeOutput(); err != nil {
		k.failed(err)
		return
	}
	if k.out != nil {
		k.out.begin()
	}
	b, err := k.fork()
	if err != nil {
		k.failed(err)
		return
	}
	defer b.gate.Close()
	k.handle = b.handle
	if err := k.release(b); err != nil {
		// It ends without having done anything, as the gate is closed.
		k.rec.Error = err.Error()
	}
	k.watch(b.handle, b.report)
}

// A birth is a process that waits at its gate.
type birth struct {
	handle       *proc.Handle
	gate, report *os.File // to write the order to, and to read errors from
}

// fork makes a process that waits.
func (k *keeper) fork() (birth, error) {
	var none birth
	gateR, gateW, err := os.Pipe()
	if err != nil {
		return none, fmt.Errorf("pipe: %w", err)
	}
	defer gateR.Close()
	reportR, reportW, err := os.Pipe()
	if err != nil {
		gateW.Close()
		return none, fmt.Errorf("pipe: %w", err)
	}
	defer reportW.Close()
	id, handle, err := k.forkExec(gateR, reportW)
	if err != nil {
		gateW.Close()
		reportR.Close()
		return none, err
	}
	k.rec.Process = &process{ID: id, Run: rand.Text(), Started: time.Now()}
	k.rec.Exit = nil
	return birth{handle, gateW, reportR}, nil
}

func (k *keeper) forkExec(gate, report *os.File) (proc.ID, *proc.Handle, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return proc.ID{}, nil, err
	}
	defer null.Close()
	to := null
	if k.out != nil {
		// For reading, too: a write finds a reader while no supervisor runs.
		if to, err = os.OpenFile(k.out.pipe.Name(), os.O_RDWR, 0); err != nil {
			return proc.ID{}, nil, fmt.Errorf("pipe: %w", err)
		}
		defer to.Close()
		if err := unix.SetNonblock(int(to.Fd()), false); err != nil {
			return proc.ID{}, nil, fmt.Errorf("pipe: %w", err)
		}
	}
	fd := -1
	pid, err := syscall.ForkExec(k.srv.o.Exec[0], k.srv.o.Exec, &syscall.ProcAttr{
		Dir: "/", Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "GOMAXPROCS=1", "GOGC=off"},
		Files: []uintptr{null.Fd(), to.Fd(), to.Fd(), gate.Fd(), report.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: &fd},
	})
	if err != nil {
		return proc.ID{}, nil, fmt.Errorf("making a process: %w", err)
	}
	s, err := proc.Read("/", pid) // it is not waited for yet, so it is ours
	if err == nil && fd < 0 {
		err = errors.New("this kernel has no pidfd; Linux 5.4 or newer is needed")
	}
	if err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL) // its gate is open still, so it would wait
		_, _ = syscall.Wait4(pid, nil, 0, nil)
		return proc.ID{}, nil, err
	}
	handle, err := proc.Hold(s.ID, fd)
	return s.ID, handle, err
}

// release confines the process, writes it down, and lets it become the
// program.
func (k *keeper) release(b birth) error {
	p := k.rec.Process
	limits, share := k.spec.Limits, k.srv.share(k.group)
	limits.Processes = roomy(limits.Processes)
	folders, by, err := k.srv.cgroups.place(k.group, k.slot, p.PID, limits, share)
	p.Folders = folders
	if err != nil {
		k.srv.log.Warn("supervise: rlimits hold a program, as it cannot be put into a cgroup", "group", k.group, "program", k.name, "error", err)
	}
	k.rec.Program, k.rec.Boot = fingerprint(k.spec), k.srv.boot
	k.rec.State, k.rec.Since = Starting, time.Now()
	if err := k.srv.store.save(k.rec); err != nil {
		return err
	}
	k.publish()
	dir, umask := k.spec.Dir, k.spec.Umask
	if dir == "" {
		dir = "/"
	}
	if umask == 0 {
		umask = 0o022
	}
	order, err := json.Marshal(order{
		Command: k.spec.Command, Env: k.env(*p), Dir: dir, User: k.spec.User, Umask: umask, Limits: share.within(limits), ByCgroup: by.processes, MemoryByCgroup: by.memory,
	})
	if err != nil {
		return err
	}
	if _, err := b.gate.Write(order); err != nil {
		return fmt.Errorf("making a process: %w", err)
	}
	return nil
}

// env is the environment with supervisord's variables.
func (k *keeper) env(p process) []string {
	return append(k.spec.Env[:len(k.spec.Env):len(k.spec.Env)],
		"SUPERVISOR_ENABLED=1", "SUPERVISOR_GROUP_NAME="+k.group, "SUPERVISOR_PROCESS_NAME="+k.name, marker(p.Run))
}

// watch waits for a process: first, if it is new, until it has executed the
// program, then until it ends.
func (k *keeper) watch(h *proc.Handle, report *os.File) {
	in := func(do func()) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.handle == h {
			do()
		}
	}
	go func() {
		if report != nil {
			text, _ := io.ReadAll(io.LimitReader(report, 4096))
			report.Close()
			in(func() {
				if len(text) > 0 {
					k.rec.Error = string(text)
				} else if k.rec.Error == "" {
					k.executed()
				}
			})
		}
		ws, known, err := h.Wait()
		if err != nil {
			return // it was let go
		}
		e := Exit{Known: known}
		if known && ws.Signaled() {
			e.Signal = ws.Signal()
		} else if known {
			e.Code = ws.ExitStatus()
		}
		in(func() { k.exited(e) })
	}()
}

// makeOutput opens the program's pipe, once.
func (k *keeper) makeOutput() error {
	if k.out != nil || k.spec.Log == "" {
		return nil
	}
	pipe, err := k.srv.store.pipe(k.slot, k.spec.User)
	if err != nil {
		return err
	}
	log := logfile{path: k.spec.Log, bytes: k.spec.LogBytes, backups: k.spec.LogBackups, user: k.spec.User}
	if log.bytes == 0 {
		log.bytes = defaultLog
	}
	if log.backups == 0 {
		log.backups = 1
	}
	k.out, err = openOutput(pipe, log, &k.srv.lend)
	return err
}
