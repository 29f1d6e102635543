package supervise

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of output.
const (
	chunk       = 64 << 10 // read at once
	maxRate     = 16 << 20 // bytes a second of one program; a faster one waits
	defaultLog  = 100_000  // bytes
	maxTail     = 8 << 20
	followQueue = 64 // chunks that a follower may lag behind
)

// An output reads what a program writes, and keeps it in a log.
type output struct {
	log  logfile
	pipe *os.File

	mu        sync.Mutex
	lost      int64
	err       string
	followers map[chan []byte]bool
}

// chunks lends buffers: a reader needs one only while there is something.
type chunks struct{ pool sync.Pool }

func (c *chunks) get() []byte {
	if b, ok := c.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, chunk)
}

func (c *chunks) put(b []byte) { c.pool.Put(&b) }

// openOutput begins to read a pipe.
func openOutput(pipe string, log logfile, lend *chunks) (*output, error) {
	fd, err := unix.Open(pipe, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("supervise: pipe %s: %w", pipe, err)
	}
	o := &output{log: log, pipe: os.NewFile(uintptr(fd), pipe), followers: map[chan []byte]bool{}}
	raw, err := o.pipe.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("supervise: pipe %s: %w", pipe, err)
	}
	go o.read(raw, lend)
	return o, nil
}

// read takes output until the pipe is closed.
func (o *output) read(raw syscall.RawConn, lend *chunks) {
	began, taken := time.Now(), 0
	for {
		var b []byte
		var n int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			if b == nil {
				b = lend.get()
			}
			n, failed = unix.Read(int(fd), b)
			if errors.Is(failed, unix.EAGAIN) {
				lend.put(b)
				b = nil
				return false
			}
			return true
		})
		if err != nil || failed != nil && !errors.Is(failed, unix.EINTR) {
			return
		}
		if n > 0 {
			o.take(b[:n])
		}
		lend.put(b)
		if now := time.Now(); now.Sub(began) > time.Second {
			began, taken = now, 0
		} else if taken += n; taken > maxRate {
			time.Sleep(time.Until(began.Add(time.Second)))
		}
	}
}

// take keeps a piece of output.
func (o *output) take(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = ""
	n, err := o.log.append(b)
	if err != nil {
		o.lost += int64(len(b) - n)
		o.err = err.Error()
	}
	for f := range o.followers {
		select {
		case f <- append([]byte(nil), b...):
		default: // it lags behind, and finds a gap
		}
	}
}

// begin makes the log, so that it is there as soon as the program is, as with
// supervisord.
func (o *output) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = ""
	dir, err := o.log.folder()
	if err == nil {
		var fd int
		if fd, _, err = o.log.open(dir, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT); err == nil {
			unix.Close(fd)
		} else {
			err = fmt.Errorf("log %s: %w", o.log.path, err)
		}
		unix.Close(dir)
	}
	if err != nil {
		o.err = err.Error()
	}
}

// state tells how many bytes were lost, and why the last were.
func (o *output) state() (int64, string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lost, o.err
}

// settle waits until what was written is in the log, for a second at most.
func (o *output) settle() {
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		var waiting int
		raw, err := o.pipe.SyscallConn()
		if err != nil || raw.Control(func(fd uintptr) { waiting, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }) != nil || err != nil {
			return
		}
		if waiting == 0 {
			_, _ = o.state() // what was read before is in the log when nobody takes
			return
		}
	}
}

// follow gives what is in the log, up to so many bytes, and a channel of what
// comes; leave ends it.
func (o *output) follow(bytes int64) (tail []byte, more chan []byte, leave func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	tail, err = o.log.tail(bytes)
	more = make(chan []byte, followQueue)
	o.followers[more] = true
	return tail, more, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.followers, more)
	}, err
}

func (o *output) close() { o.pipe.Close() }

// A logfile is a log that may lie in a folder of somebody who is not trusted:
// it is opened anew for each piece, and only ever as a plain file of the
// user's with one name.
type logfile struct {
	path    string
	bytes   int64 // of one file
	backups int
	user    *User
}

// append adds to the log, and tells how much of it was.
func (l logfile) append(b []byte) (n int, err error) {
	if l.path == "" {
		return len(b), nil
	}
	dir, err := l.folder()
	if err != nil {
		return 0, err
	}
	defer unix.Close(dir)
	for len(b) > 0 {
		piece := b[:min(int64(len(b)), l.bytes)]
		m, err := l.piece(dir, piece)
		n += m
		if err != nil {
			return n, fmt.Errorf("log %s: %w", l.path, err)
		}
		b = b[len(piece):]
	}
	return n, nil
}

func (l logfile) folder() (int, error) {
	dir, err := unix.Open(filepath.Dir(l.path), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("log %s: its folder: %w", l.path, err)
	}
	return dir, nil
}

func (l logfile) piece(dir int, b []byte) (int, error) {
	fd, size, err := l.open(dir, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT)
	if err != nil {
		return 0, err
	}
	if size > 0 && size+int64(len(b)) > l.bytes {
		moved := l.rotate(dir)
		if !moved {
			if err := unix.Ftruncate(fd, 0); err != nil {
				unix.Close(fd)
				return 0, err
			}
		} else {
			unix.Close(fd)
			if fd, _, err = l.open(dir, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT); err != nil {
				return 0, err
			}
		}
	}
	defer unix.Close(fd)
	n, err := unix.Write(fd, b)
	if err == nil && n < len(b) {
		err = unix.ENOSPC
	}
	return max(n, 0), err
}

// open opens the log, and refuses what is none.
func (l logfile) open(dir, flags int) (fd int, size int64, err error) {
	name := filepath.Base(l.path)
	fd, err = unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return -1, 0, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, 0, err
	}
	own := uint32(os.Geteuid())
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = errors.New("it is no plain file")
	case st.Nlink > 1:
		err = errors.New("it has a second name (hard link)")
	case st.Uid != own && (l.user == nil || st.Uid != l.user.UID):
		err = fmt.Errorf("it belongs to the user %d", st.Uid)
	}
	if err != nil {
		unix.Close(fd)
		return -1, 0, err
	}
	if st.Size == 0 && own == 0 && l.user != nil && st.Uid != l.user.UID {
		if err := unix.Fchown(fd, int(l.user.UID), int(l.user.GID)); err != nil {
			unix.Close(fd)
			return -1, 0, err
		}
	}
	return fd, st.Size, nil
}

// rotate renames the log, and tells whether it could.
func (l logfile) rotate(dir int) bool {
	if l.backups <= 0 {
		return false
	}
	name := filepath.Base(l.path)
	for i := l.backups; i > 1; i-- {
		_ = unix.Renameat(dir, fmt.Sprintf("%s.%d", name, i-1), dir, fmt.Sprintf("%s.%d", name, i))
	}
	return unix.Renameat(dir, name, dir, name+".1") == nil
}

// tail gives the last bytes of the log and, where they are not enough, of the
// one before.
func (l logfile) tail(most int64) ([]byte, error) {
	if l.path == "" {
		return nil, nil
	}
	dir, err := l.folder()
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	most = min(most, maxTail)
	b, err := l.end(dir, most)
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	if before := l; err == nil && int64(len(b)) < most && l.backups > 0 {
		before.path += ".1"
		if older, err := before.end(dir, most-int64(len(b))); err == nil {
			b = append(older, b...)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("log %s: %w", l.path, err)
	}
	return b, nil
}

func (l logfile) end(dir int, most int64) ([]byte, error) {
	fd, size, err := l.open(dir, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b := make([]byte, min(size, most))
	n := 0
	for n < len(b) {
		m, err := unix.Pread(fd, b[n:], max(size-most, 0)+int64(n))
		if err != nil || m == 0 {
			return b[:n], err
		}
		n += m
	}
	return b, nil
}
