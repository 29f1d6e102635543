package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"weir/slap"
)

// install runs the release's profile in the partition, on the terminal if it
// is to be debugged.
func (t *task) install(ctx context.Context, debug bool) error {
	if info, err := os.Stat(t.release); t.release == "" || err != nil || !info.IsDir() {
		return &shown{"Software Release " + t.p.Software + " is not present on system.\nCannot deploy instance.", nil}
	}
	if t.f.mode != 0o750 {
		return fmt.Errorf("the folder %s has the permissions %04o, and has to have 0750", t.f.path, t.f.mode)
	}
	if err := freeSpace(t.f.path, t.n.c.InstanceMinFree); err != nil {
		return err
	}
	if err := t.profile(); err != nil {
		return err
	}
	if err := t.f.link(t.release, "software_release"); err != nil {
		return err
	}
	if err := t.buildout(ctx, debug); err != nil {
		return err
	}
	if !t.f.exists(delayName) {
		return t.f.write(delayName, []byte(retentionDelay(t.p.Filter)), 0o644)
	}
	return nil
}

// profile writes the partition's buildout.cfg: the release's instance.cfg,
// and where it is run.
func (t *task) profile() error {
	text, err := os.ReadFile(filepath.Join(t.release, "instance.cfg"))
	if errors.Is(err, fs.ErrNotExist) {
		text, err = os.ReadFile(filepath.Join(t.release, "template.cfg"))
	}
	if err != nil {
		return fmt.Errorf("the release has no profile of instances: %w", err)
	}
	var b bytes.Buffer
	b.Write(text)
	t.writeTail(&b)
	return t.f.write("buildout.cfg", b.Bytes(), 0o640)
}

// writeTail adds the sections that profiles expect of whoever runs them.
func (t *task) writeTail(b *bytes.Buffer) {
	c := t.n.c
	key, cert := c.Key, c.Cert
	if c.Certificates != "" {
		key, cert = filepath.Join(c.Certificates, t.name+".key"), filepath.Join(c.Certificates, t.name+".crt")
	}
	option := func(name, value string) { fmt.Fprintf(b, "%s = %s\n", name, literal(value)) }
	list := func(name string, values []string) {
		fmt.Fprintf(b, "%s =\n", name)
		for _, v := range values {
			fmt.Fprintf(b, "  %s\n", literal(v))
		}
	}
	b.WriteString("\n[buildout]\nbin-directory = ${buildout:directory}/sbin\noffline = true\n\n[slap-connection]\n")
	option("computer-id", c.Computer)
	option("partition-id", t.name)
	option("server-url", c.Master)
	option("software-release-url", t.p.Software)
	option("key-file", key)
	option("cert-file", cert)
	list("shared-part-list", c.Shared)
	list("build-time-part-list", c.BuildTime)
	option("requested-state", t.p.State)
	b.WriteString("\n[slap_connection]\n")
	option("computer_id", c.Computer)
	option("partition_id", t.name)
	option("server_url", c.Master)
	option("software_release_url", t.p.Software)
	option("key_file", key)
	option("cert_file", cert)
	b.WriteString("\n[storage-configuration]\n")
	option("storage-home", c.StorageHome)
	b.WriteString("\n[network-information]\n")
	option("global-ipv4-network", c.Network)
}

// literal keeps buildout from substituting in a value.
func literal(v string) string { return strings.ReplaceAll(v, "${", "$${") }

// maxErrorLog is how much of a program's output goes to the master, in bytes.
const maxErrorLog = 256 << 10

// buildout runs the release's buildout in the partition, as its owner.
func (t *task) buildout(ctx context.Context, debug bool) error {
	script, err := t.script()
	if err != nil {
		return err
	}
	args, err := buildoutCommand(script, debug)
	if err != nil {
		return fmt.Errorf("the release has no buildout: %w", err)
	}
	file, err := t.f.appendTo(logName, maxLog)
	if err != nil {
		return err
	}
	defer file.Close()
	fmt.Fprintf(file, "%s buildout\n", t.n.now().UTC().Format("2006-01-02 15:04:05"))
	out := &tail{limit: maxErrorLog, also: file, lines: func(s string) { t.log.Debug(s) }}
	err = t.run(ctx, program{
		args:  append(args, "-U", "-c", filepath.Join(t.f.path, "buildout.cfg")),
		limit: t.n.c.PartitionTimeout, output: out, terminal: debug,
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	return buildoutFailed(t.f.path, out.text(), err)
}

// A shown error has a text that slapos's users know.
type shown struct {
	text string
	err  error
}

func (e *shown) Error() string { return e.text }
func (e *shown) Unwrap() error { return e.err }

func buildoutFailed(dir, output string, err error) error {
	return &shown{fmt.Sprintf("Failed to run buildout profile in directory '%s':\n%s\n%v", dir, output, err), err}
}

// script is the program that processes an instance.
func (t *task) script() (string, error) {
	list, err := filepath.Glob(filepath.Join(t.release, "bin", "bootstrap*"))
	if err == nil && len(list) == 1 {
		return list[0], nil
	}
	script := filepath.Join(t.release, "bin", "buildout")
	if info, err := os.Stat(script); err != nil || info.IsDir() {
		return "", fmt.Errorf("the release has no program %s", script)
	}
	return script, nil
}

// run runs a program in the partition, as its owner, marked so that a crash
// of the agent leaves nothing behind.
func (t *task) run(ctx context.Context, p program) error {
	if p.dir == "" {
		p.dir = t.f.path
	}
	p.owner, p.mark = owner{t.f.uid, t.f.gid}, newMark()
	p.most = t.n.c.Processes
	p.env = append(environment("HOME="+t.f.path, "SLAPGRID_INSTANCE_ROOT="+t.n.c.Instances), p.env...)
	if err := os.WriteFile(t.runFile(), []byte(p.mark+"\n"), 0o600); err != nil {
		return err
	}
	err := p.run(ctx)
	if ctx.Err() == nil {
		os.Remove(t.runFile()) // a run that was cut is looked for at the next
	}
	return err
}

// retentionDelay gives the days that a destroyed instance is kept, as text.
func retentionDelay(filter map[string]any) string {
	v, ok := filter["retention_delay"]
	if !ok || v == nil {
		return "0"
	}
	return slap.PythonText(v)
}
