package node

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"weir/internal/ini"
)

// A FormatConfig says which partitions a computer has.
type FormatConfig struct {
	Partitions   []FormatPartition
	SoftwareUser string       // owner of software_root
	AlterUser    bool         // make users and groups
	AlterNetwork bool         // add addresses to the interface
	Interface    string       // that takes the addresses
	Address      netip.Prefix // of the computer itself
	Defined      bool         // by a definition file: nothing is counted

	IPv6Interface string // whose network gives partitions theirs; "" is Interface, if that has one
	HasRange      bool   // partitions have networks of their own
	PrefixShift   int    // by how many bits these are longer
	ComputerXML   string // slapformat's file of the addresses that partitions have
}

// A FormatPartition is one partition to make.
type FormatPartition struct {
	Name      string
	User      string // "" is whoever formats
	Addresses []netip.Prefix
	Range     netip.Prefix // its own network of IPv6, or not valid
}

// format reads [slapformat], and the definition file that it names.
func (r *reader) format(c *Config) FormatConfig {
	const s = "slapformat"
	f := FormatConfig{
		SoftwareUser: r.text(s, "software_user", "slapsoft"),
		AlterUser:    r.truth(s, "alter_user", true), AlterNetwork: r.truth(s, "alter_network", true),
		Interface:     r.text(s, "interface_name", ""),
		IPv6Interface: r.text(s, "ipv6_interface", ""), HasRange: r.truth(s, "partition_has_ipv6_range", true),
		PrefixShift: r.number(s, "ipv6_prefixshift", 16, 2), ComputerXML: r.text(s, "computer_xml", ""),
	}
	amount := r.number(s, "partition_amount", 0, 0)
	if f.PrefixShift > 32 || f.HasRange && 1<<f.PrefixShift < 4*amount {
		r.mistake(s, "ipv6_prefixshift", fmt.Sprintf("= %d is not between 2 and 32, or too little for %d partitions", f.PrefixShift, amount))
	}
	for _, name := range []string{"create_tap", "create_tun"} {
		if r.truth(s, name, false) {
			r.mistake(s, name, "= true: taps and tunnels are not made here; set it to false")
		}
	}
	if file := r.text(s, "input_definition_file", ""); file != "" {
		r.definition(&f, file)
		return f
	}
	f.Address = netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 32)
	network, err := netip.ParsePrefix(r.text(s, "ipv4_local_network", "10.0.0.0/16"))
	if err != nil || !network.Addr().Is4() {
		r.mistake(s, "ipv4_local_network", "is no IPv4 network such as 10.0.0.0/16")
		return f
	}
	partition, user := r.text(s, "partition_base_name", "slappart"), r.text(s, "user_base_name", "slapuser")
	address := network.Masked().Addr().Next().Next()
	for k := range amount {
		if !network.Contains(address.Next()) {
			r.mistake(s, "ipv4_local_network", fmt.Sprintf("has no addresses for more than %d partitions", k))
			break
		}
		p := FormatPartition{Name: partition + strconv.Itoa(k), Addresses: []netip.Prefix{netip.PrefixFrom(address, 32)}}
		if f.AlterUser {
			p.User = user + strconv.Itoa(k)
		}
		f.Partitions = append(f.Partitions, p)
		address = address.Next()
	}
	if len(f.Partitions) > 0 && !f.AlterNetwork && f.IPv6Interface == "" && network.Addr().IsLoopback() {
		for k := range f.Partitions {
			f.Partitions[k].Addresses = append(f.Partitions[k].Addresses, netip.PrefixFrom(netip.IPv6Loopback(), 128))
		}
	}
	return f
}

// definition reads a file of [computer] and [partition_N].
func (r *reader) definition(f *FormatConfig, file string) {
	in, err := os.Open(file)
	if err != nil {
		r.mistake("slapformat", "input_definition_file", err.Error())
		return
	}
	defer in.Close()
	sections, err := ini.Read(in)
	if err != nil {
		r.mistakes = append(r.mistakes, fmt.Errorf("%s: %w", file, err))
		return
	}
	d := reader{path: file, sections: sections}
	f.AlterNetwork, f.Defined = false, true
	type ordered struct {
		n int
		p FormatPartition
	}
	var list []ordered
	for _, s := range sections {
		switch number, ok := strings.CutPrefix(s.Name, "partition_"); {
		case s.Name == "computer":
			if a := d.addresses(s.Name, s.Values["address"]); len(a) > 0 {
				f.Address = a[0]
			}
		case ok:
			n, err := strconv.Atoi(number)
			if err != nil {
				d.mistakes = append(d.mistakes, fmt.Errorf("%s: [%s]: %q is no number", file, s.Name, number))
			}
			p := FormatPartition{Name: s.Values["pathname"], User: s.Values["user"], Addresses: d.addresses(s.Name, s.Values["address"])}
			if v := s.Values["ipv6_range"]; v != "" {
				if p.Range, err = netip.ParsePrefix(v); err != nil || !p.Range.Addr().Is6() {
					d.mistake(s.Name, "ipv6_range", fmt.Sprintf("= %q is no network of IPv6 such as fd00:1::/64", v))
				}
			}
			list = append(list, ordered{n, p})
		}
	}
	slices.SortStableFunc(list, func(a, b ordered) int { return a.n - b.n })
	for _, p := range list {
		if err := checkName(p.p.Name); err != nil {
			d.mistake(fmt.Sprintf("partition_%d", p.n), "pathname", err.Error())
		}
		f.Partitions = append(f.Partitions, p.p)
	}
	r.mistakes = append(r.mistakes, d.mistakes...)
}

// addresses reads IP/NETMASK, or IP/BITS, several of them.
func (r *reader) addresses(section, text string) []netip.Prefix {
	var list []netip.Prefix
	for word := range strings.FieldsSeq(text) {
		p, err := parseAddress(word)
		if err != nil {
			r.mistake(section, "address", fmt.Sprintf("%q is no address with its netmask", word))
			continue
		}
		list = append(list, p)
	}
	return list
}

func parseAddress(word string) (netip.Prefix, error) {
	ip, mask, ok := strings.Cut(word, "/")
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.Prefix{}, err
	}
	if !ok {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	if bits, err := strconv.Atoi(mask); err == nil {
		return a.Prefix(bits) // checks the range
	}
	m, err := netip.ParseAddr(mask)
	if err != nil || m.BitLen() != a.BitLen() {
		return netip.Prefix{}, fmt.Errorf("netmask %q", mask)
	}
	ones, size := net.IPMask(m.AsSlice()).Size()
	if size == 0 {
		return netip.Prefix{}, fmt.Errorf("netmask %q", mask)
	}
	return netip.PrefixFrom(a, ones), nil
}

// netmask writes the length of a prefix as slapos does: 255.255.255.0.
func netmask(p netip.Prefix) string {
	a, _ := netip.AddrFromSlice(net.CIDRMask(p.Bits(), p.Addr().BitLen()))
	if a.Is4() {
		return a.String()
	}
	words := make([]string, 8)
	b := a.As16()
	for k := range words {
		words[k] = fmt.Sprintf("%x", int(b[2*k])<<8|int(b[2*k+1]))
	}
	return strings.Join(words, ":")
}
