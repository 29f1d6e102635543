package node

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"weir/slap"
)

// Exit codes of the commands, as slapos has them.
const (
	ExitFailed  = 1  // something failed
	ExitPromise = 2  // only promises failed; of Format: the master was not reached
	ExitOffline = 3  // the master was not reached: what should run was started
	ExitRunning = 10 // the command runs already
)

// Options of a Node.
type Options struct {
	Config *Config
	Log    *slog.Logger // default discards
	// Supervisor is the command that starts the supervisor where none runs.
	Supervisor []string
}

// A Node is the agent of one computer.
type Node struct {
	c       *Config
	o       Options
	log     *slog.Logger
	client  *slap.Client
	started sync.Once // directories of the agent
	locks   locks
}

// New makes an agent; nothing is touched yet.
func New(o Options) (*Node, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	client, err := slap.NewClient(slap.ClientOptions{URL: o.Config.Master, Key: o.Config.Key, Cert: o.Config.Cert, CA: o.Config.CA, Token: o.Config.Token})
	if err != nil {
		return nil, err
	}
	return &Node{c: o.Config, o: o, log: o.Log, client: client, locks: locks{held: map[string]bool{}}}, nil
}

// A Problem is what went wrong with a partition or a release.
type Problem struct {
	Name  string // the partition's, or the release's URL
	Title string // the instance's, "" for a release
	Text  string
}

// An Outcome tells what a run came to.
type Outcome struct {
	Failed   []Problem
	Promises []Problem // partitions whose promises failed, and nothing else
	Offline  bool
	Done     int // partitions or releases that were worked on
}

// Exit gives the exit code.
func (o Outcome) Exit() int {
	switch {
	case o.Offline:
		return ExitOffline
	case len(o.Failed) > 0:
		return ExitFailed
	case len(o.Promises) > 0:
		return ExitPromise
	}
	return 0
}

// state gives a path of the agent's own folder, which no partition can write.
func (n *Node) state(parts ...string) string {
	return filepath.Join(append([]string{n.c.Instances, "var", "weir"}, parts...)...)
}

// prepare makes the agent's folders below the roots, which have to be there.
func (n *Node) prepare() (err error) {
	for _, root := range []string{n.c.Software, n.c.Instances} {
		if info, err := os.Stat(root); err != nil || !info.IsDir() {
			return errors.Join(err, fmt.Errorf("node: %s is no directory: weir node format makes it", root))
		}
	}
	n.started.Do(func() {
		for _, d := range []struct {
			path string
			perm fs.FileMode
		}{{"var", 0o755}, {"var/log", 0o755}, {"var/run", 0o755}, {"etc", 0o755}, {"var/weir", 0o750}, {"var/weir/lock", 0o750}, {"var/weir/run", 0o750}, {"var/weir/told", 0o750}, {"var/weir/destroy", 0o750}} {
			err = errors.Join(err, makeDir(filepath.Join(n.c.Instances, d.path), d.perm))
		}
	})
	return err
}

// makeDir makes a directory with its permissions, whatever the umask.
func makeDir(path string, perm fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(path, perm); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return os.Chmod(path, perm)
}

// releasePath gives the folder of a release.
func (n *Node) releasePath(url string) string {
	sum := md5.Sum([]byte(url)) // the name, not a protection
	return filepath.Join(n.c.Software, hex.EncodeToString(sum[:]))
}

// freeSpace tells whether a file system has as much space as is wanted.
func freeSpace(path string, want int64) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return fmt.Errorf("free space of %s: %w", path, err)
	}
	if free := int64(s.Bavail) * s.Bsize; free < want {
		return fmt.Errorf("%s has %d MB free, and %d MB are to be left: make room, or lower the limit in slapos.cfg", path, free>>20, want>>20)
	}
	return nil
}

// unknown names what was asked for and is not there.
func unknown(what string, asked, there []string) error {
	var missing []string
	for _, a := range asked {
		if !slices.Contains(there, a) {
			missing = append(missing, a)
		}
	}
	switch len(missing) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("unknown %s: %s", what, missing[0])
	}
	slices.Sort(missing)
	return fmt.Errorf("unknown %ss: %s", what, strings.Join(missing, ", "))
}

// timestampName and the like are files of a partition that slapos knows.
const (
	timestampName = ".timestamp"
	oldStateName  = ".requested_state" // of an older slapos; "stopped" is not started without the master
	delayName     = ".slapos-retention-lock-delay"
	dateName      = ".slapos-retention-lock-date"
	waitName      = ".slapos-report-wait-service-list"
	logName       = ".slapgrid/log/instance.log"
	maxLog        = 20 << 20
)

// errorLogName is the file with a partition's last error.
func errorLogName(partition string) string { return ".slapgrid-" + partition + "-error.log" }

// requestsName is where slapos's library notes what a partition asks for.
func requestsName(partition string) string { return ".slapos-request-transaction-" + partition }

// now is the clock; whole seconds are what files of the partitions have.
func (n *Node) now() time.Time { return time.Now() }
