package node

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"weir/slap"
)

// A SoftwareRun says which releases are worked on.
type SoftwareRun struct {
	Force   bool     // also those that are complete
	Only    []string // URLs, or their MD5 sums in hexadecimal; empty is all
	Collect bool     // folders of releases that the master does not know are removed
	Newest  bool     // buildout looks for newer eggs
	Verbose bool     // buildout tells more
	Debug   bool     // buildout stops in Python's debugger, on this terminal
}

// completedName marks a release that is complete.
const completedName = ".completed"

// Software builds the releases that are to be available, and removes those
// that are not.
func (n *Node) Software(ctx context.Context, r SoftwareRun) (Outcome, error) {
	if err := n.prepare(); err != nil {
		return Outcome{}, err
	}
	computer, err := n.client.Computer(ctx, n.c.Computer)
	if err != nil {
		return Outcome{}, err
	}
	releases, err := n.chooseReleases(computer.Releases, r.Only)
	if err != nil {
		return Outcome{}, err
	}
	var o Outcome
	for _, v := range releases {
		worked, err := n.release(ctx, v, r)
		if ctx.Err() != nil {
			return o, ctx.Err()
		}
		if worked {
			o.Done++
		}
		if err != nil {
			o.Failed = append(o.Failed, Problem{Name: v.URL, Text: err.Error()})
		}
	}
	if r.Collect {
		n.collectReleases(computer, &o)
	}
	return o, nil
}

func (n *Node) chooseReleases(all []slap.Release, only []string) ([]slap.Release, error) {
	if len(only) == 0 {
		return all, nil
	}
	var names []string
	for _, v := range all {
		names = append(names, v.URL, filepath.Base(n.releasePath(v.URL)))
	}
	if err := unknown("release", only, names); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(all), func(v slap.Release) bool {
		return !slices.Contains(only, v.URL) && !slices.Contains(only, filepath.Base(n.releasePath(v.URL)))
	}), nil
}

// release brings one release to its state, and tells whether there was
// something to do.
func (n *Node) release(ctx context.Context, v slap.Release, r SoftwareRun) (worked bool, _ error) {
	if v.URL == "" || strings.ContainsAny(v.URL, "\n\r\x00") {
		return false, fmt.Errorf("the master names a release that cannot be one: %.100q", v.URL)
	}
	path := n.releasePath(v.URL)
	lock, err := n.locks.take(n.state("lock", filepath.Base(path)))
	if err != nil {
		return false, err
	}
	defer lock.Release()
	log := n.log.With("software", v.URL)
	switch v.State {
	case slap.Destroyed:
		log.Info("removing")
		if err := removeFolder(n.c.Software, filepath.Base(path)); err != nil {
			log.Error("removal failed", "error", err)
			return true, errors.Join(err, n.client.ReportRelease(ctx, v.URL, n.c.Computer, slap.ReleaseError, err.Error()))
		}
		return true, n.client.ReportRelease(ctx, v.URL, n.c.Computer, slap.ReleaseDestroyed, "")
	case slap.Available, "":
		if _, err := os.Lstat(filepath.Join(path, completedName)); err == nil && !r.Force {
			return false, nil
		}
		return true, n.supply(ctx, v, r, log)
	}
	return false, fmt.Errorf("the master asks for the state %.40q of %s, which there is not", v.State, v.URL)
}

// supply makes a release available and tells the master how that went.
func (n *Node) supply(ctx context.Context, v slap.Release, r SoftwareRun, log *slog.Logger) error {
	log.Info("building", "folder", n.releasePath(v.URL))
	if err := n.client.ReportRelease(ctx, v.URL, n.c.Computer, slap.ReleaseBuilding, ""); err != nil {
		log.Warn("the master was not told that the release is built", "error", err)
	}
	err := freeSpace(n.c.Software, n.c.SoftwareMinFree)
	if err == nil {
		err = n.make(ctx, v.URL, r, log)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		log.Error("building failed", "error", err)
		return errors.Join(err, n.client.ReportRelease(ctx, v.URL, n.c.Computer, slap.ReleaseError, err.Error()))
	}
	log.Info("available")
	return n.client.ReportRelease(ctx, v.URL, n.c.Computer, slap.ReleaseAvailable, "")
}

// make fills the release's folder, and marks it as complete.
func (n *Node) make(ctx context.Context, url string, r SoftwareRun, log *slog.Logger) error {
	path := n.releasePath(url)
	mark := n.state("run", filepath.Base(path))
	if b, err := os.ReadFile(mark); err == nil {
		killMarked(strings.TrimSpace(string(b)))
	}
	defer os.Remove(mark)
	if isArchive(url) {
		if err := n.unpack(ctx, url, path, log); err != nil {
			return err
		}
	} else if err := n.build(ctx, url, path, mark, r, log); err != nil {
		return err
	}
	f, err := openFolder(n.c.Software, filepath.Base(path))
	if err != nil {
		return err
	}
	defer f.close()
	return f.write(completedName, []byte(n.now().UTC().Format("Mon Jan _2 15:04:05 2006")), 0o644)
}

// build runs buildout, as the owner of the release's folder.
func (n *Node) build(ctx context.Context, url, path, mark string, r SoftwareRun, log *slog.Logger) error {
	f, err := n.releaseFolder(path)
	if err != nil {
		return err
	}
	defer f.close()
	if err := errors.Join(f.remove(completedName), n.netrc(f)); err != nil {
		return err
	}
	if !f.exists("buildout.cfg") {
		if err := f.write("buildout.cfg", []byte(n.releaseProfile(url)), 0o644); err != nil {
			return err
		}
	}
	out := &tail{limit: maxErrorLog, lines: func(s string) { log.Info(s) }}
	run := func(args ...string) error {
		p := program{args: args, dir: path, env: environment("HOME=" + path), owner: owner{f.uid, f.gid}, mark: newMark(), output: out, terminal: r.Debug}
		if err := os.WriteFile(mark, []byte(p.mark+"\n"), 0o600); err != nil {
			return err
		}
		err := p.run(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrRoot) {
			return buildoutFailed(path, out.text(), err)
		}
		return err
	}
	script := filepath.Join(path, "bin", "buildout")
	if !f.exists("bin/buildout") {
		if err := n.bootstrap(path, run); err != nil {
			return err
		}
	}
	args, err := buildoutCommand(script, r.Debug)
	if err != nil {
		return fmt.Errorf("bootstrapping gave no buildout: %w", err)
	}
	args = append(args, "-U", "buildout:extends-cache="+filepath.Join(path, "extends-cache"), "buildout:directory="+path)
	if err := f.mkdir("extends-cache", 0o755); err != nil {
		return err
	}
	if !r.Newest {
		args = append(args, "-N")
	}
	if r.Verbose {
		args = append(args, "-v")
	}
	return run(append(args, "-c", filepath.Join(path, "buildout.cfg"))...)
}

// releaseFolder opens the folder of a release, which is made when it is not
// there, and belongs to the owner of the software root.
func (n *Node) releaseFolder(path string) (*folder, error) {
	err := os.Mkdir(path, 0o755)
	if err == nil {
		err = os.Chmod(path, 0o755)
	}
	if info, e := os.Stat(n.c.Software); err == nil && e == nil && os.Geteuid() == 0 {
		o := ownerOf(info)
		err = os.Lchown(path, o.uid, o.gid)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return openFolder(n.c.Software, filepath.Base(path))
}

// releaseProfile extends the release by what the node has for all of them.
func (n *Node) releaseProfile(url string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[buildout]\nextends = %s\n", url)
	for _, l := range []struct {
		name   string
		values []string
	}{{"shared-part-list", n.c.Shared}, {"build-time-part-list", n.c.BuildTime}} {
		// One value stands beside its name, as readers of slapos's file expect.
		fmt.Fprintf(&b, "%s = %s\n", l.name, strings.Join(l.values, "\n  "))
	}
	return b.String()
}

// netrc gives the build the passwords of the folder's owner, for downloads.
func (n *Node) netrc(f *folder) error {
	u, err := user.LookupId(strconv.Itoa(f.uid))
	if err != nil {
		return f.remove(".netrc")
	}
	b, err := os.ReadFile(filepath.Join(u.HomeDir, ".netrc"))
	if err != nil {
		return f.remove(".netrc")
	}
	return f.write(".netrc", b, 0o600)
}

// bootstrap makes the release's own bin/buildout.
func (n *Node) bootstrap(path string, run func(...string) error) error {
	args := []string{"buildout:directory=" + path, "-c", filepath.Join(path, "buildout.cfg"), "bootstrap"}
	program := n.c.Buildout
	if program == "" {
		program, _ = exec.LookPath("buildout")
	}
	if program != "" {
		return run(append([]string{program}, args...)...)
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		return errors.New("there is neither buildout nor python3 to build releases with: install one, or name a buildout in [slapos] buildout")
	}
	venv := filepath.Join(path, ".bootstrap")
	if _, err := os.Stat(filepath.Join(venv, "bin", "buildout")); err != nil {
		if err := run(python, "-m", "venv", venv); err != nil {
			return err
		}
		if err := run(filepath.Join(venv, "bin", "pip"), "install", "--disable-pip-version-check", "setuptools<81", "wheel", "zc.buildout<5"); err != nil {
			return err
		}
	}
	return run(append([]string{filepath.Join(venv, "bin", "buildout")}, args...)...)
}

// isReleaseName tells whether a folder has the name of a release: an MD5 sum.
func isReleaseName(name string) bool {
	return len(name) == 2*md5.Size && strings.Trim(name, "0123456789abcdef") == ""
}

// collectReleases removes the folders of releases that nobody knows.
func (n *Node) collectReleases(c *slap.Computer, o *Outcome) {
	known := map[string]bool{}
	for _, v := range c.Releases {
		known[filepath.Base(n.releasePath(v.URL))] = true
	}
	for _, p := range c.Partitions {
		known[filepath.Base(n.releasePath(p.Software))] = true
	}
	list, err := os.ReadDir(n.c.Software)
	if err != nil {
		o.Failed = append(o.Failed, Problem{Name: n.c.Software, Text: err.Error()})
	}
	for _, e := range list {
		if !e.IsDir() || !isReleaseName(e.Name()) || known[e.Name()] {
			continue
		}
		n.log.Info("removing a release that the master does not know", "folder", e.Name())
		if err := removeFolder(n.c.Software, e.Name()); err != nil {
			o.Failed = append(o.Failed, Problem{Name: e.Name(), Text: err.Error()})
		}
	}
}

// removeFolder removes a folder and its content; one that is not there is no
// error.
func removeFolder(parent, name string) error {
	f, err := openFolder(parent, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = f.clear()
	f.close()
	if err != nil {
		return err
	}
	return os.Remove(filepath.Join(parent, name))
}
