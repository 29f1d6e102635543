package node

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, text string, options map[string]string) (*Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "slapos.cfg")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return LoadConfig(path, options)
}

const least = "[slapos]\ncomputer_id = COMP-1\nmaster_url = http://m/\nsoftware_root = /opt/slapgrid\ninstance_root = /srv/slapgrid/\n"

func TestLoadConfig(t *testing.T) {
	t.Parallel()
	c, err := load(t, least+"maximum_periodicity = 1.5\npartition_timeout = 60\npromise_timeout = -1\nsoftware_min_free_space = 1.5G\nshared_part_list =\n  /a\n  /b\npidfile_instance = /p\nunknown = x\n[other]\nx = y\n[weir]\nparallel = 7\n", map[string]string{"computer_id": "COMP-2"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Computer != "COMP-2" || c.Instances != "/srv/slapgrid" || c.Periodicity != 1500*time.Millisecond || c.PartitionTimeout != time.Minute || c.SoftwareMinFree != 3<<29 ||
		!reflect.DeepEqual(c.Shared, []string{"/a", "/b"}) || c.Pidfiles["instance"] != "/p" || c.Parallel != 7 {
		t.Errorf("%+v", c)
	}
	if c, err = load(t, least, nil); err != nil || c.Periodicity != 24*time.Hour || c.PromiseTimeout != 20*time.Second || c.SoftwareMinFree != 1000<<20 || c.Parallel < 2 {
		t.Errorf("defaults: %+v, %v", c, err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	text := least + "partition_timeout = 60\n[slapformat]\nalter_user = true\npartition_amount = 1\n"
	c, err := load(t, text, map[string]string{"partition_timeout": "70", "slapformat/alter_user": "False", "slapformat/computer_xml": "/x.xml"})
	if err != nil || c.PartitionTimeout != 70*time.Second || c.Format.AlterUser || c.Format.ComputerXML != "/x.xml" || len(c.Format.Partitions) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := load(t, text, map[string]string{"slapformat/alter_user": "maybe"}); err == nil || !strings.Contains(err.Error(), "[slapformat] alter_user") {
		t.Errorf("%v", err)
	}
}

// TestMistakes: all of a file at once, each with its line and its name.
func TestMistakes(t *testing.T) {
	t.Parallel()
	_, err := load(t, "[slapos]\nmaximum_periodicity = daily\nsoftware_root = soft\ninstance_min_free_space = much\n[weir]\nparallel = 0\n[slapformat]\nalter_user = maybe\ncreate_tap = true\nipv4_local_network = ::1\npartition_amount = -1\n", nil)
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{
		`:2: [slapos] maximum_periodicity = "daily" is no number of seconds`, `:3: [slapos] software_root = "soft" is no absolute path`,
		`[slapos] instance_root is missing`, `[slapos] computer_id is missing`, `[slapos] master_url is missing`,
		`:4: [slapos] instance_min_free_space = "much" is no size`, `:6: [weir] parallel = "0" is no number from 1 on`,
		`:8: [slapformat] alter_user = "maybe" is neither true nor false`, `:9: [slapformat] create_tap`, `:10: [slapformat] ipv4_local_network`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in\n%v", want, err)
		}
	}
	if _, err := load(t, "x = y\n", nil); err == nil {
		t.Error("no INI file, and taken")
	}
	if _, err := LoadConfig("/nonexistent/slapos.cfg", nil); err == nil {
		t.Error("no file, and taken")
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"0": 0, "12": 12, "1K": 1024, "1000M": 1000 << 20, "2gb": 2 << 30, " 3 T ": 3 << 40, "-1": -1, "1e30": -1, "M": -1, "": -1, "NaN": -1, "1P": -1, "9999999T": -1} {
		if got, err := parseSize(text); err != nil && want >= 0 || err == nil && got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestFormatConfig(t *testing.T) {
	t.Parallel()
	c, err := load(t, least+"[slapformat]\npartition_amount = 2\nipv4_local_network = 10.1.0.0/16\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []FormatPartition{{"slappart0", "slapuser0", []netip.Prefix{netip.MustParsePrefix("10.1.0.2/32")}, netip.Prefix{}}, {"slappart1", "slapuser1", []netip.Prefix{netip.MustParsePrefix("10.1.0.3/32")}, netip.Prefix{}}}
	if !reflect.DeepEqual(c.Format.Partitions, want) {
		t.Errorf("%+v, want %+v", c.Format.Partitions, want)
	}
	if _, err := load(t, least+"[slapformat]\npartition_amount = 9\nipv4_local_network = 10.1.0.0/29\n", nil); err == nil || !strings.Contains(err.Error(), "has no addresses for more than") {
		t.Errorf("a small network: %v", err)
	}
	file := filepath.Join(t.TempDir(), "format.cfg")
	text := "[computer]\naddress = 192.168.1.1/255.255.255.0\n[partition_10]\npathname = b\nuser = u\naddress = 127.0.0.1/255.255.255.255 ::1/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\nipv6_range = fd00:7::/64\n[partition_2]\npathname = a\naddress = 10.0.0.1/24\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err = load(t, least+"[slapformat]\ninput_definition_file = "+file+"\n", nil); err != nil {
		t.Fatal(err)
	}
	want = []FormatPartition{{"a", "", []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}, netip.Prefix{}}, {"b", "u", []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("::1/128")}, netip.MustParsePrefix("fd00:7::/64")}}
	for k := range want[0].Addresses {
		// parseAddress masks nothing but checks the length.
		if got := c.Format.Partitions[0].Addresses[k]; got.Bits() != 24 {
			t.Errorf("address %v", got)
		}
	}
	if got := c.Format.Partitions; len(got) != 2 || got[0].Name != "a" || !reflect.DeepEqual(got[1], want[1]) || c.Format.Address.String() != "192.168.1.1/24" {
		t.Errorf("%+v, %v", got, c.Format.Address)
	}
	text = "[computer]\naddress = 1.2.3\n[partition_x]\npathname = ../up\naddress = 1.2.3.4/255.0.255.0\nipv6_range = 10.0.0.0/8\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = load(t, least+"[slapformat]\ninput_definition_file = "+file+"\n", nil)
	for _, want := range []string{`"1.2.3" is no address`, `"x" is no number`, "../up", `"1.2.3.4/255.0.255.0" is no address`, `ipv6_range = "10.0.0.0/8" is no network`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not said: %v", want, err)
		}
	}
}

func TestNetmask(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{"10.0.0.1/16": "255.255.0.0", "127.0.0.1/32": "255.255.255.255", "fd00::1/64": "ffff:ffff:ffff:ffff:0:0:0:0", "::1/128": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
		if got := netmask(netip.MustParsePrefix(prefix)); got != want {
			t.Errorf("%s: %s, want %s", prefix, got, want)
		}
	}
}
