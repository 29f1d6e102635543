package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weir/internal/replace"
	"weir/slap"
)

const (
	reportDir = "etc/report"
	usageDir  = "var/xml_report" // of a partition, and of the computer

	// reportLimit is how long one of etc/report may take when no
	// partition_timeout says it.
	reportLimit = 5 * time.Minute
	// maxUsage bounds what one journal has of partitions' files, in bytes.
	maxUsage = 4 << 20
)

// usage has the partitions' etc/report tell what they used, and tells the
// master. With all it is every partition, else only those that are about to be
// destroyed. When it is not safe, something is in partitions still that should
// be told before it goes.
func (n *Node) usage(ctx context.Context, partitions []slap.Partition, all bool) (safe bool, _ error) {
	partitions = slices.DeleteFunc(slices.Clone(partitions), func(p slap.Partition) bool { return free(p) || !all && p.State != slap.Destroyed })
	_, lost := n.each(ctx, partitions, n.c.Parallel, func(ctx context.Context, p slap.Partition) result {
		return result{err: n.runReports(ctx, p)}
	})
	if lost != nil || ctx.Err() != nil {
		return false, errors.Join(lost, ctx.Err())
	}
	if err := n.gatherAll(partitions); err != nil {
		return false, fmt.Errorf("node: usage: %w", err)
	}
	return true, errors.Join(n.sendUsage(ctx, filepath.Join(n.c.Instances, usageDir, n.c.Computer)), n.sendGathered(ctx))
}

// usageDue tells whether all partitions are to be asked again, and notes it.
func (n *Node) usageDue(every time.Duration) bool {
	name := n.state("usage-asked")
	if info, err := os.Stat(name); err == nil && n.now().Sub(info.ModTime()) < every {
		return false
	}
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		n.log.Warn("usage", "error", err)
	}
	return true
}

// runReports runs what a partition has in etc/report, each with the name of a
// file to write. One that fails is told to the master.
func (n *Node) runReports(ctx context.Context, p slap.Partition) error {
	t, err := n.open(p)
	if err != nil {
		n.log.Warn("usage is not asked for", "partition", p.Place.Partition, "error", err)
		return nil
	}
	defer t.close()
	names, err := t.f.names(reportDir)
	if err != nil {
		t.log.Error(reportDir, "error", err)
	}
	limit := n.c.PartitionTimeout
	if limit == 0 {
		limit = reportLimit
	}
	var failed []string
	for _, name := range names {
		if info, err := t.f.root.Lstat(reportDir + "/" + name); err != nil || info.IsDir() {
			continue
		}
		out := &tail{limit: maxErrorLog}
		file := filepath.Join(t.f.path, usageDir, "slapreport."+rand.Text()[:8])
		err := t.run(ctx, program{args: []string{filepath.Join(t.f.path, reportDir, name), file}, dir: filepath.Join(t.f.path, reportDir), limit: limit, output: out})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			t.log.Error("a report failed", "report", name, "error", err, "output", out.text())
			failed = append(failed, fmt.Sprintf("Script %q failed.", name))
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return t.tell(ctx, slap.ReportError, strings.Join(failed, "\n"))
}

// A gathered is a journal that is to be sent, and the files that it was made of.
// It is written down before these go: each is told once, whatever is cut short.
type gathered struct {
	Journal string   `json:"journal"`
	Sources []source `json:"sources"`
}

type source struct {
	Partition string `json:"partition"`
	Root      bool   `json:"root,omitempty"` // below the instance root, not in the partition
	Name      string `json:"name"`
	Sum       string `json:"sha256"`
}

// gatheredNames lists the journals that are to be sent, oldest first.
func (n *Node) gatheredNames() ([]string, error) {
	return filepath.Glob(n.state("usage", "*.json"))
}

// gatherAll makes journals of the partitions' files until there are no more.
func (n *Node) gatherAll(partitions []slap.Partition) error {
	names, err := n.gatheredNames()
	for _, name := range names {
		err = errors.Join(err, n.dropGathered(name))
	}
	for err == nil {
		var name string
		if name, err = n.gather(partitions); name == "" {
			break
		}
		err = n.dropGathered(name)
	}
	return err
}

// gather makes a journal of the partitions' files, as far as there is room in
// one, and names it, "" when there are none. A file that is no consumption is
// left where it is.
func (n *Node) gather(partitions []slap.Partition) (name string, _ error) {
	var g gathered
	var movements []movement
	size := 0
	for _, p := range partitions {
		n.eachUsage(p.Place.Partition, func(s source, b []byte) {
			c, err := parseConsumption(b)
			if err != nil {
				n.log.Warn("a report of usage is left as it is", "partition", s.Partition, "file", s.Name, "error", err)
				return
			}
			if size += len(b); size > maxUsage && len(g.Sources) > 0 {
				return // in the next journal
			}
			for _, m := range c.movements {
				movements = append(movements, m.of(p.Place.Partition))
			}
			g.Sources = append(g.Sources, s)
		})
	}
	if len(g.Sources) == 0 {
		return "", nil
	}
	g.Journal = writeJournal(n.c.Computer, movements, n.now())
	b, err := json.Marshal(g)
	if err = errors.Join(err, makeDir(n.state("usage"), 0o750)); err != nil {
		return "", err
	}
	name = n.state("usage", n.now().UTC().Format("20060102T150405.000000000")+".json")
	return name, replace.File(name, b, 0o600)
}

// eachUsage gives the files of usage of a partition: its own, and those that
// others have left for it below the instance root.
func (n *Node) eachUsage(partition string, do func(source, []byte)) {
	for _, root := range []bool{false, true} {
		f, dir, err := n.usageFolder(partition, root)
		if err != nil {
			continue
		}
		names, _ := f.names(dir)
		for _, name := range names {
			b, err := f.read(dir + "/" + name)
			if err != nil {
				n.log.Warn("a report of usage is left as it is", "partition", partition, "file", name, "error", err)
				continue
			}
			sum := sha256.Sum256(b)
			do(source{partition, root, name, hex.EncodeToString(sum[:])}, b)
		}
		f.close()
	}
}

// usageFolder opens the folder that has a partition's usage in a directory.
func (n *Node) usageFolder(partition string, root bool) (*folder, string, error) {
	if root {
		f, err := openFolder(filepath.Join(n.c.Instances, usageDir), partition)
		return f, ".", err
	}
	f, err := openFolder(n.c.Instances, partition)
	return f, usageDir, err
}

// readGathered reads a journal that was written down.
func readGathered(name string) (g gathered, err error) {
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, &g)
	}
	return g, err
}

// dropGathered removes the files that a journal was made of.
func (n *Node) dropGathered(name string) error {
	g, err := readGathered(name)
	for _, s := range g.Sources {
		err = errors.Join(err, n.dropUsage(s))
	}
	return err
}

// sendGathered sends the journals that were written down, whose files are gone.
func (n *Node) sendGathered(ctx context.Context) error {
	names, err := n.gatheredNames()
	if err != nil {
		return err
	}
	for _, name := range names {
		g, err := readGathered(name)
		if err == nil {
			err = n.client.ReportUsage(ctx, n.c.Computer, g.Journal)
		}
		if refusedForGood(err) {
			n.log.Error("the master refuses a journal of usage, which is kept", "file", name+".refused", "error", err)
			err = os.Rename(name, name+".refused")
		} else if err == nil {
			err = os.Remove(name)
		}
		if err != nil {
			return fmt.Errorf("node: usage: %w", err)
		}
	}
	return nil
}

// dropUsage removes a file that is in a journal, unless another has its name.
func (n *Node) dropUsage(s source) error {
	f, dir, err := n.usageFolder(s.Partition, s.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.close()
	name := dir + "/" + s.Name
	b, err := f.read(name)
	if sum := sha256.Sum256(b); err != nil || hex.EncodeToString(sum[:]) != s.Sum {
		return nil
	}
	return f.root.Remove(name)
}
