package node

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weir/slap"
)

// TestIPv6Numbers: addresses and networks are those that slapos counts.
func TestIPv6Numbers(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		network         string
		shift, index    int
		address, range_ string
	}{
		// By slapos.util's getPartitionIpv6Addr and getPartitionIpv6Range.
		{"2001:db8:1:2::1/64", 16, 0, "2001:db8:1:2::2/64", "2001:db8:1:2:4001::/80"},
		{"2001:db8:1:2::1/64", 16, 9, "2001:db8:1:2::b/64", "2001:db8:1:2:400a::/80"},
		{"2001:db8::/48", 16, 0, "2001:db8::2/48", "2001:db8:0:4001::/64"},
		{"fd00::/55", 8, 2, "fd00::4/55", "fd00:0:0:86::/63"},
		{"fd00::/56", 4, 1, "fd00::3/56", "fd00:0:0:60::/60"},
	} {
		network := netip.MustParsePrefix(v.network).Masked()
		if got := netip.PrefixFrom(numbered(network, 128, uint64(v.index)+2), network.Bits()); got.String() != v.address {
			t.Errorf("%s, partition %d: %s, want %s", v.network, v.index, got, v.address)
		}
		if got := rangeOf(network, v.shift, v.index); got.String() != v.range_ {
			t.Errorf("%s, partition %d, %d bits: %s, want %s", v.network, v.index, v.shift, got, v.range_)
		}
	}
}

// ownNetwork gives the test a network of its own, whose only interface is lo.
// Its thread ends with it.
func ownNetwork(t *testing.T, addresses ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root makes networks")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("there is no program ip")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network of its own can be made here: %v", err)
	}
	for _, args := range [][]string{{"link", "set", "lo", "up"}} {
		if err := command("ip", args...); err != nil {
			t.Skipf("it cannot be changed: %v", err)
		}
	}
	for _, a := range addresses {
		if err := command("ip", "address", "add", a, "dev", "lo"); err != nil {
			t.Skipf("no IPv6 here: %v", err)
		}
	}
}

func ipOutput(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestFormatIPv6: partitions get addresses and networks of the interface's;
// dry it only says so; the second time there is nothing to do.
func TestFormatIPv6(t *testing.T) {
	t.Parallel()
	h := formatHouse(t)
	ownNetwork(t, "fd00:5:6::1/64", "fd00:5:7::1/48")
	h.c.Format.AlterNetwork, h.c.Format.Interface, h.c.Format.HasRange, h.c.Format.PrefixShift = true, "lo", true, 16
	h.c.Format.ComputerXML = filepath.Join(h.dir, "computer.xml")
	for k := range h.c.Format.Partitions {
		h.c.Format.Partitions[k].Addresses = []netip.Prefix{netip.MustParsePrefix("10.7.0." + string(rune('2'+k)) + "/32")}
	}
	var said []string
	say := func(s string) { said = append(said, s) }
	h.must(h.Format(t.Context(), true, say))
	for _, want := range []string{
		"add the address 10.7.0.2/32 to lo", "add the address fd00:5:7::2/48 to lo", "add the address fd00:5:7::3/48 to lo",
		"add the route of fd00:5:7:4001::/64, the network of part0, to lo", "let programs use addresses",
	} {
		if !slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("dry run does not say %q: %q", want, said)
		}
	}
	if out := ipOutput(t, "address"); strings.Contains(out, "fd00:5:7::2") {
		t.Errorf("dry run: %s", out)
	}
	h.must(h.Format(t.Context(), false, say))
	if out := ipOutput(t, "address"); !strings.Contains(out, "fd00:5:7::2/48") || !strings.Contains(out, "fd00:5:7::3/48") || !strings.Contains(out, "10.7.0.3/32") {
		t.Errorf("%s", out)
	}
	if out := ipOutput(t, "-6", "route", "show", "table", "local"); !strings.Contains(out, "local fd00:5:7:4002::/64 dev lo") {
		t.Errorf("%s", out)
	}
	for _, want := range []string{`"addr": "fd00:5:7::2"`, `"netmask": "ffff:ffff:ffff:0:0:0:0:0"`, `"network": "fd00:5:7:4001::/64"`, `"addr": "10.7.0.2"`} {
		if text := h.text("part0", ".slapos-resource"); !strings.Contains(text, want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	said = nil
	h.must(h.Format(t.Context(), false, say))
	if len(said) != 1 || !strings.HasPrefix(said[0], "tell ") {
		t.Errorf("the second time it says %q", said)
	}
	h.c.Format.IPv6Interface = "nowhere"
	if err := h.Format(t.Context(), true, say); err == nil || !strings.Contains(err.Error(), "the interface nowhere") {
		t.Errorf("%v", err)
	}
	h.c.Format.IPv6Interface, h.c.Format.PrefixShift = "lo", 80
	if err := h.Format(t.Context(), true, say); err == nil || !strings.Contains(err.Error(), "ipv6_prefixshift") {
		t.Errorf("%v", err)
	}
}

// TestFormatNoIPv6: an interface without IPv6 is an error for who asks for it
// by name, and for nobody else.
func TestFormatNoIPv6(t *testing.T) {
	t.Parallel()
	h := formatHouse(t)
	ownNetwork(t)
	h.c.Format.AlterNetwork, h.c.Format.Interface = true, "lo"
	if p, err := h.network(); err != nil || p.IsValid() {
		t.Errorf("%v, %v", p, err)
	}
	h.c.Format.IPv6Interface = "lo"
	if err := h.Format(t.Context(), true, func(string) {}); err == nil || !strings.Contains(err.Error(), "no global IPv6 address") {
		t.Errorf("%v", err)
	}
}

// TestComputerXML: what slapformat wrote down goes before what is counted, as
// far as the network is the same; and what is written can be read.
func TestComputerXML(t *testing.T) {
	t.Parallel()
	h := formatHouse(t)
	h.c.Format.ComputerXML = filepath.Join(h.dir, "computer.xml")
	old := map[string]any{"partition_list": []any{
		map[string]any{"reference": "part0", "address_list": []any{
			map[string]any{"addr": "127.0.0.77", "netmask": "255.255.255.255"}, map[string]any{"addr": "fd00:5:7::beef", "netmask": "ffff:ffff:ffff::/48"},
		}, "ipv6_range": map[string]any{}},
		map[string]any{"reference": "other"}, "nonsense", map[string]any{"reference": "part1", "address_list": []any{map[string]any{"addr": "x"}}},
	}}
	b, err := slap.Marshal(old)
	h.must(err)
	h.must(os.WriteFile(h.c.Format.ComputerXML, b, 0o600))
	list, err := h.placed()
	if err != nil || list[0].Addresses[0].String() != "127.0.0.77/32" || list[1].Addresses[0].String() != "127.0.0.2/32" {
		t.Errorf("%+v, %v", list, err)
	}
	if h.c.Format.Partitions[0].Addresses[0].String() != "127.0.0.2/32" {
		t.Errorf("the configuration was changed: %+v", h.c.Format.Partitions[0])
	}
	h.must(h.Format(t.Context(), false, func(string) {}))
	if again, err := h.kept(); err != nil || len(again) != 2 || again["part0"].Addresses[0] != list[0].Addresses[0] {
		t.Errorf("%+v, %v", again, err)
	}
	p := FormatPartition{Addresses: []netip.Prefix{netip.MustParsePrefix("fd00:5:7::2/48")}}
	network := netip.MustParsePrefix("fd00:5:7::/48")
	was := FormatPartition{Addresses: []netip.Prefix{netip.MustParsePrefix("fd00:5:7::beef/48")}}
	if p.keep(was, network); p.Addresses[0] != was.Addresses[0] {
		t.Errorf("%+v", p)
	}
	p.Addresses[0] = netip.MustParsePrefix("fd00:9::2/48")
	if p.keep(was, netip.MustParsePrefix("fd00:9::/48")); p.Addresses[0].String() != "fd00:9::2/48" {
		t.Errorf("an address of another network is kept: %+v", p)
	}
	for _, text := range []string{"", "<marshal><none/></marshal>", "x", string(b[:len(b)/2])} {
		h.must(os.WriteFile(h.c.Format.ComputerXML, []byte(text), 0o600))
		if err := h.Format(t.Context(), true, func(string) {}); err == nil || !strings.Contains(err.Error(), "computer_xml") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
