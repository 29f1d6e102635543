package node

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// ErrNotTold: the computer is formatted, and the master does not know it.
var ErrNotTold = errors.New("node: the computer is formatted, but the master was not told")

// A step is something that Format does, and says beforehand.
type step struct {
	text string
	do   func() error
}

// Format makes the computer's folders, users and addresses and tells the
// master of them. What is as it should be is left alone. With dry it does
// nothing, and say is told what it would do.
func (n *Node) Format(ctx context.Context, dry bool, say func(string)) error {
	if err := n.fewer(); err != nil {
		return err
	}
	partitions, err := n.placed()
	if err != nil {
		return err
	}
	steps := n.formatRoots()
	for _, p := range partitions {
		if err := checkName(p.Name); err != nil {
			return fmt.Errorf("node: format: %w", err)
		}
		steps = append(steps, n.formatPartition(p)...)
	}
	for _, s := range steps {
		say(s.text)
		if dry {
			continue
		}
		if err := s.do(); err != nil {
			return fmt.Errorf("node: format: %s: %w", s.text, err)
		}
	}
	say(fmt.Sprintf("tell %s of %d partitions", n.c.Master, len(partitions)))
	if dry {
		return nil
	}
	d := n.description(partitions)
	if err := n.writeKept(d); err != nil {
		return fmt.Errorf("node: format: computer_xml: %w", err)
	}
	if err := n.client.Format(ctx, d); err != nil {
		return fmt.Errorf("%w: %w", ErrNotTold, err)
	}
	return nil
}

// fewer refuses to drop partitions that are in use.
func (n *Node) fewer() error {
	has := map[string]bool{}
	for _, p := range n.c.Format.Partitions {
		has[p.Name] = true
	}
	list, err := filepath.Glob(filepath.Join(n.c.Instances, "*", "software_release"))
	if err != nil {
		return err
	}
	for _, path := range list {
		if name := filepath.Base(filepath.Dir(path)); !has[name] {
			return fmt.Errorf("node: format: the partition %s is in use, and the configuration does not have it any more: add it again, or destroy its instance first", name)
		}
	}
	return nil
}

func (n *Node) formatRoots() (steps []step) {
	f := n.c.Format
	if f.AlterUser && os.Geteuid() == 0 {
		steps = append(steps, userSteps(f.SoftwareUser, n.c.Software, "")...)
	}
	for _, root := range []string{n.c.Instances, n.c.Software} {
		steps = append(steps, folderStep(root, 0o755)...)
	}
	if f.AlterUser && os.Geteuid() == 0 {
		steps = append(steps, ownStep(n.c.Software, f.SoftwareUser)...)
	}
	for _, dir := range n.c.Shared {
		steps = append(steps, folderStep(dir, 0o755)...)
	}
	if n.c.Certificates != "" {
		steps = append(steps, folderStep(n.c.Certificates, 0o711)...)
	}
	return steps
}

func folderStep(path string, perm fs.FileMode) []step {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	return []step{{fmt.Sprintf("make the folder %s, %04o", path, perm), func() error { return makeDir(path, perm) }}}
}

// userSteps make a user without password, if there is none of the name.
func userSteps(name, home, group string) []step {
	if _, err := user.Lookup(name); err == nil {
		return nil
	}
	args := []string{"--system", "--user-group", "--no-create-home", "--home-dir", home, "--shell", "/bin/sh"}
	if group != "" {
		args = append(args, "--groups", group)
	}
	return []step{{"make the user " + name, func() error { return command("useradd", append(args, name)...) }}}
}

func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// ownStep gives a folder to a user. A link in its place is refused.
func ownStep(path, name string) []step {
	if u, err := user.Lookup(name); err == nil {
		info, err := os.Lstat(path)
		if err == nil && strconv.Itoa(ownerOf(info).uid) == u.Uid && strconv.Itoa(ownerOf(info).gid) == u.Gid {
			return nil
		}
	}
	return []step{{fmt.Sprintf("give %s to %s", path, name), func() error {
		u, err := user.Lookup(name)
		if err != nil {
			return err
		}
		uid, errUID := strconv.Atoi(u.Uid)
		gid, errGID := strconv.Atoi(u.Gid)
		d, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
		if err = errors.Join(err, errUID, errGID); err != nil {
			return err
		}
		return errors.Join(d.Chown(uid, gid), d.Close())
	}}}
}

func (n *Node) formatPartition(p FormatPartition) (steps []step) {
	f := n.c.Format
	path := filepath.Join(n.c.Instances, p.Name)
	root := os.Geteuid() == 0
	if f.AlterUser && root && p.User != "" {
		steps = append(steps, userSteps(p.User, path, f.SoftwareUser)...)
	}
	steps = append(steps, folderStep(path, 0o750)...)
	if root && p.User != "" {
		steps = append(steps, ownStep(path, p.User)...)
	}
	if info, err := os.Lstat(path); err == nil && info.IsDir() && info.Mode().Perm() != 0o750 {
		steps = append(steps, step{"set the permissions of " + path + " to 0750", func() error {
			d, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
			if err != nil {
				return err
			}
			return errors.Join(d.Chmod(0o750), d.Close())
		}})
	}
	steps = append(steps, n.addressSteps(p)...)
	return append(steps, n.resourceStep(p)...)
}

// resourceStep writes what a partition has where its programs look for it.
func (n *Node) resourceStep(p FormatPartition) []step {
	b, err := json.MarshalIndent(n.describe(p), "", "    ")
	const name = ".slapos-resource"
	write := func() error {
		f, e := openFolder(n.c.Instances, p.Name)
		if e = errors.Join(err, e); e != nil {
			return e
		}
		defer f.close()
		return f.write(name, b, 0o644)
	}
	if f, e := openFolder(n.c.Instances, p.Name); e == nil {
		old, _ := f.read(name)
		f.close()
		if string(old) == string(b) {
			return nil
		}
	}
	return []step{{"write " + filepath.Join(n.c.Instances, p.Name, name), write}}
}

// describe tells the master of one partition, in slapformat's words.
func (n *Node) describe(p FormatPartition) map[string]any {
	addresses := []any{}
	for _, a := range p.Addresses {
		addresses = append(addresses, map[string]any{"addr": a.Addr().String(), "netmask": netmask(a)})
	}
	name := p.User
	if name == "" {
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
	}
	path := filepath.Join(n.c.Instances, p.Name)
	tap := map[string]any{}
	for _, k := range []string{"ipv4_addr", "ipv4_gateway", "ipv4_netmask", "ipv4_network", "ipv6_addr", "ipv6_gateway", "ipv6_netmask", "ipv6_network", "name"} {
		tap[k] = ""
	}
	return map[string]any{
		"address_list": addresses, "external_storage_list": []any{}, "ipv6_range": describeRange(p.Range), "path": path, "reference": p.Name,
		"tap": tap, "tun": nil,
		"user": map[string]any{"additional_group_list": []any{n.c.Format.SoftwareUser}, "name": name, "path": path, "shell": "/bin/sh"},
	}
}

func (n *Node) description(partitions []FormatPartition) map[string]any {
	f := n.c.Format
	list, ranges := make([]any, 0, len(partitions)), false
	for _, p := range partitions {
		list, ranges = append(list, n.describe(p)), ranges || p.Range.IsValid()
	}
	d := map[string]any{
		"reference": n.c.Computer, "address": "", "netmask": "", "instance_root": n.c.Instances, "software_root": n.c.Software,
		"instance_storage_home": orNone(n.c.StorageHome), "interface": orNone(f.Interface), "ipv6_interface": orNone(f.IPv6Interface), "partition_has_ipv6_range": ranges,
		"partition_list": list, "public_ipv4_address": nil, "software_user": f.SoftwareUser, "os_type": osType(), "python_version": "", "slapos_version": "weir",
	}
	if f.Address.IsValid() {
		d["address"], d["netmask"] = f.Address.Addr().String(), netmask(f.Address)
	}
	return d
}

func orNone(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// osType names the system as slapformat does: a JSON list of platform,
// distribution, version and full name.
func osType() string {
	line := func(name string) string {
		b, _ := os.ReadFile("/proc/sys/kernel/" + name)
		return strings.TrimSpace(string(b))
	}
	list := []string{strings.Join([]string{line("ostype"), line("osrelease"), runtime.GOARCH}, "-")}
	release := map[string]string{}
	if f, err := os.Open("/etc/os-release"); err == nil {
		defer f.Close()
		for in := bufio.NewScanner(f); in.Scan(); {
			k, v, _ := strings.Cut(in.Text(), "=")
			release[k] = strings.Trim(v, `"`)
		}
	}
	b, err := json.Marshal(append(list, release["ID"], release["VERSION_ID"], release["PRETTY_NAME"]))
	if err != nil {
		return ""
	}
	return string(b)
}

// BangComputer asks the master to have all partitions processed again.
func (n *Node) BangComputer(ctx context.Context, message string) error {
	return n.client.BangComputer(ctx, n.c.Computer, message)
}
