package proc

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrGone: the process has ended.
var ErrGone = errors.New("proc: the process has ended")

// A Handle holds on to one process: a descriptor that never comes to mean
// another one.
type Handle struct {
	id  ID
	f   *os.File
	raw syscall.RawConn
}

// Open holds on to a process, or gives ErrGone when its number belongs to
// nothing, to another process, or to one that has ended and was not waited for.
func Open(id ID) (*Handle, error) {
	fd, err := unix.PidfdOpen(id.PID, unix.PIDFD_NONBLOCK)
	if err != nil {
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
			return nil, ErrGone
		}
		return nil, fmt.Errorf("proc: holding %d: %w", id.PID, err)
	}
	// The descriptor is of the process that has the number now; if that one
	// was started when ours was, it is ours.
	s, err := Read("/", id.PID)
	if err != nil || s.Start != id.Start || s.Dead() {
		unix.Close(fd)
		return nil, ErrGone
	}
	return Hold(id, fd)
}

// Hold takes a pidfd of a process.
func Hold(id ID, fd int) (*Handle, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("proc: holding %d: %w", id.PID, err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("proc: holding %d: %w", id.PID, err)
	}
	return &Handle{id, f, raw}, nil
}

// ID of the process.
func (h *Handle) ID() ID { return h.id }

// Close lets go. A Wait that is under way ends with an error.
func (h *Handle) Close() error { return h.f.Close() }

// Signal sends a signal to the process, or ErrGone.
func (h *Handle) Signal(s syscall.Signal) error { return h.send(s, 0) }

// SignalGroup sends a signal to all processes of the group that the process
// leads.
func (h *Handle) SignalGroup(s syscall.Signal) error {
	err := h.send(s, unix.PIDFD_SIGNAL_PROCESS_GROUP)
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	// Before Linux 6.9. While the leader is there, its number is the group's.
	if err := h.send(0, 0); err != nil {
		return err
	}
	return unix.Kill(-h.id.PID, s)
}

func (h *Handle) send(s syscall.Signal, flags int) error {
	var err error
	if e := h.raw.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), s, nil, flags) }); e != nil {
		return ErrGone
	}
	if errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	return err
}

// Wait returns when the process has ended. Of a child it reaps it and gives
// its status. Of another's it gives the status where the kernel keeps it
// (Linux 6.15), else known is false.
func (h *Handle) Wait() (status syscall.WaitStatus, known bool, err error) {
	err = h.raw.Read(func(fd uintptr) bool { return ended(int(fd), unix.POLLIN) })
	if err != nil {
		return 0, false, fmt.Errorf("proc: waiting for %d: %w", h.id.PID, err)
	}
	var ws unix.WaitStatus
	for {
		pid, err := unix.Wait4(h.id.PID, &ws, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && pid == h.id.PID {
			return syscall.WaitStatus(ws), true, nil
		}
		break
	}
	return h.kept()
}

// kept asks the kernel for the status of a process that another one reaps.
func (h *Handle) kept() (syscall.WaitStatus, bool, error) {
	info := unix.PidfdInfo{}
	for range 50 {
		info.Mask = unix.PIDFD_INFO_EXIT
		var errno unix.Errno
		err := h.raw.Control(func(fd uintptr) {
			_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, unix.PIDFD_GET_INFO, uintptr(unsafe.Pointer(&info)))
		})
		if err != nil || errno == unix.ENOTTY || errno == unix.EINVAL {
			return 0, false, nil
		}
		if errno == 0 && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
			return syscall.WaitStatus(info.Exit_code), true, nil
		}
		time.Sleep(10 * time.Millisecond) // until its parent has reaped it
	}
	return 0, false, nil
}

func ended(fd int, events int16) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}
