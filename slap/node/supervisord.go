package node

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"weir/slap/requested"
	"weir/slap/supervise"
)

// A group's programs are written down in supervisord's words, too, as slapgrid
// does: it could take over the computer, and people look there for what runs.
// The file is there while the group is to run.

func (n *Node) supervisordFile(group string) string {
	return filepath.Join(n.c.Instances, "etc", "supervisord.conf.d", group+".conf")
}

// describeGroup writes a group's file.
func (n *Node) describeGroup(g supervise.Group, o owner) error {
	var b bytes.Buffer
	id := func(p supervise.Program) string { return g.Name + "_" + strings.TrimSuffix(p.Name, requested.Watched) }
	ids := make([]string, len(g.Programs))
	for k, p := range g.Programs {
		ids[k] = id(p)
	}
	fmt.Fprintf(&b, "[group:%s]\nprograms=%s\n", g.Name, strings.Join(ids, ","))
	for _, p := range g.Programs {
		fmt.Fprintf(&b, "\n[program:%s]\ndirectory=%s\ncommand=%s\nprocess_name=%s\n", id(p), p.Dir, strings.Join(p.Command, " "), p.Name)
		b.WriteString("autostart=false\nautorestart=false\nstartsecs=0\nstartretries=0\nexitcodes=0\nstopsignal=TERM\nstopwaitsecs=60\nstopasgroup=true\nkillasgroup=true\n")
		fmt.Fprintf(&b, "user=%d\ngroup=%d\nserverurl=AUTO\nredirect_stderr=true\n", o.uid, o.gid)
		fmt.Fprintf(&b, "stdout_logfile=%s\nstdout_logfile_maxbytes=%d\nstdout_logfile_backups=%d\n", p.Log, p.LogBytes, p.LogBackups)
		var env []string
		for _, v := range p.Env {
			name, value, _ := strings.Cut(v, "=")
			if slices.Contains([]string{"USER", "LOGNAME", "HOME"}, name) {
				env = append(env, fmt.Sprintf("%s=%q", name, value))
			}
		}
		fmt.Fprintf(&b, "environment=%s\n", strings.Join(env, ","))
	}
	text := bytes.ReplaceAll(b.Bytes(), []byte("%"), []byte("%%")) // which supervisord expands
	name := n.supervisordFile(g.Name)
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := makeDir(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// forgetGroup removes a group's file.
func (n *Node) forgetGroup(group string) error {
	if err := os.Remove(n.supervisordFile(group)); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}
