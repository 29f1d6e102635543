package node

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"

	"weir/internal/replace"
	"weir/slap"
)

// IPv6 of partitions is counted within the network of an interface, as slapos
// does it: partition N has the address N+2 of the network, and a network of its
// own, PrefixShift bits longer, whose number is N+1 in the second quarter. (The
// other quarters are of the computer itself, of taps and of tunnels.)

// placed are the configuration's partitions with what the computer's network
// gives them: as they have it already, by the file that slapos keeps of it,
// else counted.
func (n *Node) placed() ([]FormatPartition, error) {
	f := n.c.Format
	list := slices.Clone(f.Partitions)
	if f.Defined {
		return list, nil
	}
	network, err := n.network()
	if err != nil {
		return nil, err
	}
	kept, err := n.kept()
	if err != nil {
		return nil, err
	}
	for k := range list {
		p := &list[k]
		p.Addresses = slices.Clone(p.Addresses)
		if network.IsValid() {
			p.Addresses = append(p.Addresses, netip.PrefixFrom(numbered(network, 128, uint64(k)+2), network.Bits()))
			if f.HasRange {
				p.Range = rangeOf(network, f.PrefixShift, k)
			}
		}
		if old, ok := kept[p.Name]; ok {
			p.keep(old, network)
		}
	}
	return list, nil
}

// keep takes the addresses that a partition had, unless the computer's network
// is another now.
func (p *FormatPartition) keep(old FormatPartition, network netip.Prefix) {
	for k, a := range p.Addresses {
		for _, o := range old.Addresses {
			if a.Addr().Is4() == o.Addr().Is4() && (o.Addr().Is4() || network.Contains(o.Addr()) && a.Bits() == o.Bits()) {
				p.Addresses[k] = o
			}
		}
	}
	if p.Range.IsValid() && p.Range.Bits() == old.Range.Bits() && network.Contains(old.Range.Addr()) {
		p.Range = old.Range
	}
}

// network is the one that partitions have their addresses of: the largest of
// the interface. It is not valid where there is none, and nobody asks for it.
func (n *Node) network() (none netip.Prefix, _ error) {
	f := n.c.Format
	name := cmp.Or(f.IPv6Interface, f.Interface)
	if name == "" || f.IPv6Interface == "" && !f.AlterNetwork {
		return none, nil
	}
	addresses, err := addressesOf(name)
	var best netip.Prefix
	for _, a := range addresses {
		if a.Addr().Is6() && a.Addr().IsGlobalUnicast() && (!best.IsValid() || a.Bits() < best.Bits()) {
			best = a.Masked()
		}
	}
	switch {
	case !best.IsValid() && f.IPv6Interface == "":
		return none, nil
	case err != nil:
		return none, fmt.Errorf("node: format: the interface %s: %w", name, err)
	case !best.IsValid():
		return none, fmt.Errorf("node: format: the interface %s has no global IPv6 address: give it one, or remove ipv6_interface from slapos.cfg", name)
	case best.Bits() > 120:
		return none, fmt.Errorf("node: format: the network %s of %s is too small for partitions", best, name)
	case f.HasRange && best.Bits()+f.PrefixShift >= 128:
		return none, fmt.Errorf("node: format: the network %s of %s is too small for networks of partitions: say partition_has_ipv6_range = false, or less in ipv6_prefixshift", best, name)
	}
	return best, nil
}

// addressesOf gives an interface's addresses with their networks.
func addressesOf(name string) (list []netip.Prefix, _ error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	all, err := i.Addrs()
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, p)
		}
	}
	return list, err
}

// numbered sets the bits of a network's address that end at a place.
func numbered(network netip.Prefix, end int, number uint64) netip.Addr {
	b := network.Masked().Addr().As16()
	for at := end - 1; number > 0 && at >= 0; at, number = at-1, number>>1 {
		if number&1 == 1 {
			b[at/8] |= 0x80 >> (at % 8)
		}
	}
	return netip.AddrFrom16(b)
}

// rangeOf is the network of one partition.
func rangeOf(network netip.Prefix, shift, index int) netip.Prefix {
	bits := network.Bits() + shift
	return netip.PrefixFrom(numbered(network, bits, 1<<(shift-2)+uint64(index)+1), bits)
}

// describeRange tells of a partition's network in slapformat's words.
func describeRange(p netip.Prefix) map[string]any {
	if !p.IsValid() {
		return map[string]any{}
	}
	return map[string]any{"addr": p.Addr().String(), "netmask": netmask(p), "network": p.String(), "prefixlen": p.Bits()}
}

// addressSteps give an interface the addresses of a partition that it lacks,
// and let the partition use its network.
func (n *Node) addressSteps(p FormatPartition) (steps []step) {
	f := n.c.Format
	if !f.AlterNetwork || os.Geteuid() != 0 {
		return nil
	}
	for _, a := range p.Addresses {
		name := f.Interface
		if a.Addr().Is6() {
			name = cmp.Or(f.IPv6Interface, f.Interface)
		}
		has, _ := addressesOf(name)
		if name == "" || slices.Contains(has, a) {
			continue
		}
		steps = append(steps, step{fmt.Sprintf("add the address %s to %s", a, name), func() error {
			return command("ip", "address", "replace", a.String(), "dev", name)
		}})
	}
	if !p.Range.IsValid() {
		return steps
	}
	if b, err := os.ReadFile(nonlocalBind); err == nil && strings.TrimSpace(string(b)) != "1" {
		steps = append(steps, step{"let programs use addresses of their partition's network: " + nonlocalBind, func() error {
			return os.WriteFile(nonlocalBind, []byte("1\n"), 0)
		}})
	}
	if out, err := exec.Command("ip", "-6", "route", "show", "table", "local", p.Range.String()).Output(); err != nil || !bytes.Contains(out, []byte("dev lo")) {
		steps = append(steps, step{fmt.Sprintf("add the route of %s, the network of %s, to lo", p.Range, p.Name), func() error {
			return command("ip", "-6", "route", "replace", "local", p.Range.String(), "dev", "lo")
		}})
	}
	return steps
}

// nonlocalBind lets programs listen at addresses that no interface has.
const nonlocalBind = "/proc/sys/net/ipv6/ip_nonlocal_bind"

// kept reads what slapformat, or Format, wrote down of partitions' addresses.
func (n *Node) kept() (map[string]FormatPartition, error) {
	if n.c.Format.ComputerXML == "" {
		return nil, nil
	}
	b, err := os.ReadFile(n.c.Format.ComputerXML)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var v any
	if err == nil {
		v, err = slap.Unmarshal(b)
	}
	d, ok := v.(map[string]any)
	if err == nil && !ok {
		err = errors.New("it is no computer")
	}
	if err != nil {
		return nil, fmt.Errorf("node: format: computer_xml %s: %w: mend it, or move it away and have addresses counted anew", n.c.Format.ComputerXML, err)
	}
	kept := map[string]FormatPartition{}
	list, _ := d["partition_list"].([]any)
	for _, v := range list {
		d, _ := v.(map[string]any)
		var p FormatPartition
		p.Name, _ = d["reference"].(string)
		addresses, _ := d["address_list"].([]any)
		for _, v := range addresses {
			if a, err := readAddress(v); err == nil {
				p.Addresses = append(p.Addresses, a)
			}
		}
		p.Range, _ = readAddress(d["ipv6_range"])
		kept[p.Name] = p
	}
	return kept, nil
}

// readAddress reads an address with its netmask, which may have the length of
// the prefix behind it.
func readAddress(v any) (netip.Prefix, error) {
	d, _ := v.(map[string]any)
	address, _ := d["addr"].(string)
	mask, _ := d["netmask"].(string)
	mask, _, _ = strings.Cut(mask, "/")
	return parseAddress(address + "/" + mask)
}

// writeKept writes down what the partitions have, for slapformat and for the
// next time.
func (n *Node) writeKept(d map[string]any) error {
	name := n.c.Format.ComputerXML
	if name == "" {
		return nil
	}
	b, err := slap.Marshal(d)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, b) {
		return nil
	}
	return replace.File(name, b, 0o600)
}
