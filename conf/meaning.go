package conf

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"weir/policies"
)

// meaning finds what is well written but cannot be.
func (d *decoder) meaning(c *Config) {
	if c.Data == "" {
		d.at("data", errors.New("is empty: name the folder that holds the data"))
	}
	d.listeners(c)
	d.users(c)
	d.security(c.Forward)
	d.stores(c)
	d.policies(c.Policies)
	d.supplies(c)
	d.envelopes(c)
	d.jobs(c.Jobs)
	d.slap(c)
	d.lake(c)
	d.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	d.oneOf("log.format", c.Log.Format, "text", "json")
}

// at reports a mistake of the value at a path, or of the nearest place above
// it when the file leaves it out. Each path is reported once, and not at all
// where it could not be read.
func (d *decoder) at(path string, err error) {
	if d.told[path] || d.broken[path] {
		return
	}
	d.told[path] = true
	where := place{1, 1}
	for p := path; p != ""; p = p[:max(0, strings.LastIndexAny(p, ".["))] {
		if d.broken[p] {
			return
		}
		if at, ok := d.places[p]; ok && where == (place{1, 1}) {
			where = at
		}
	}
	d.errorf(where, "%s: %v", path, err)
}

func (d *decoder) oneOf(path, value string, words ...string) {
	if !slices.Contains(words, value) {
		d.at(path, fmt.Errorf("%q is not known: write %s", value, strings.Join(words, ", ")))
	}
}

// minBodyMemory is the least memory of bodies: one of 1 MiB must fit beside others.
const minBodyMemory Size = 4 << 20

func (d *decoder) listeners(c *Config) {
	d.address("http.listen", c.HTTP.Listen)
	for i, a := range c.Forward.Listen {
		d.address(fmt.Sprintf("forward.listen[%d]", i), a)
	}
	if c.Forward.UnixPerm != 0 && c.Forward.Unix == "" {
		d.at("forward.unix_perm", errors.New("is the mode of a socket that there is not: write unix: FILE, or leave it out"))
	}
	if c.HTTP.MaxBody == 0 {
		d.at("http.max_body", errors.New("is 0: write a size such as 64MiB"))
	}
	if c.HTTP.BodyMemory < minBodyMemory {
		d.at("http.body_memory", fmt.Errorf("%s is too little: write %s or more", c.HTTP.BodyMemory, minBodyMemory))
	}
	d.tls("http.tls", c.HTTP.TLS)
	d.tls("forward.tls", c.Forward.TLS)
}

func (d *decoder) tls(path string, t TLS) {
	switch {
	case (t.CertFile == "") != (t.KeyFile == ""):
		d.at(path, errors.New("needs both cert_file and key_file"))
	case t.CertFile == "" && t.ClientCAFile != "":
		d.at(path+".client_ca_file", errors.New("needs cert_file and key_file, too"))
	}
	d.oneOf(path+".min_version", t.MinVersion, "1.2", "1.3")
}

// address checks "host:port"; a host name is looked up when it is bound.
func (d *decoder) address(path, address string) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		d.at(path, fmt.Errorf("%q is no address: write HOST:PORT, such as 127.0.0.1:8880 or [::]:8880", address))
		return
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		d.at(path, fmt.Errorf("%q is no port: write a number from 1 to 65535, or 0 for any free one", port))
	}
}

// security checks what only the text shows; the rest is forward's to say.
func (d *decoder) security(f Forward) {
	for _, t := range []struct{ path, value string }{{"forward.tag", f.Tag}, {"forward.add_tag_prefix", f.AddTagPrefix}} {
		if strings.HasPrefix(t.value, "_") {
			d.at(t.path, fmt.Errorf("%q begins with _, which is kept for weir's own streams: use another one", t.value))
		}
	}
	if s := f.Security; s != nil {
		for i, c := range s.Clients {
			if _, err := parseNetwork(c.Network); err != nil {
				d.at(fmt.Sprintf("forward.security.clients[%d].network", i),
					fmt.Errorf("%q is no network: write 10.0.0.0/8, fd00::/8 or one address", c.Network))
			}
		}
		if d.source.Offline && s.SharedKey.Source != "" {
			d.told["forward.security.shared_key"] = true // not read, so not missing
		}
	}
	o := f.Options()
	o.Handler = nobody{}
	for key, err := range o.Validate() {
		d.at("forward."+securityKey(key), err)
	}
}

// securityKey turns fluentd's names of sections, user and client, into those
// of lists.
func securityKey(key string) string {
	for _, section := range []string{"security.user", "security.client"} {
		if rest, ok := strings.CutPrefix(key, section); ok && (rest == "" || rest[0] == '[') {
			return section + "s" + rest
		}
	}
	return key
}

func (d *decoder) stores(c *Config) {
	for _, n := range []struct {
		path         string
		value, least int64
		write        string
	}{
		{"streams.segment_bytes", int64(c.Streams.SegmentBytes), 64 << 10, "64KiB"},
		{"streams.live_segments", int64(c.Streams.LiveSegments), 1, "1"},
		{"streams.large_bytes", int64(c.Streams.LargeBytes), 1, "1"},
		{"streams.key_age", int64(c.Streams.KeyAge), 1, "1s"},
		{"streams.min_free", int64(c.Streams.MinFree), 1, "1"},
		{"streams.chunk_bytes", int64(c.Streams.ChunkBytes), 1 << 20, "1MiB"},
		{"streams.keys", int64(c.Streams.Keys), 1, "1"},
		{"arrays.chunk_bytes", int64(c.Arrays.ChunkBytes), 4 << 10, "4KiB"},
		{"arrays.cache_bytes", int64(c.Arrays.CacheBytes), 1 << 20, "1MiB"},
		{"arrays.sync_every", int64(c.Arrays.SyncEvery), 1e6, "1ms"},
	} {
		if n.value < n.least {
			d.at(n.path, fmt.Errorf("is too small: write %s or more", n.write))
		}
	}
	if n := c.Streams.SegmentBytes; n > 1<<30 || n%512 != 0 {
		d.at("streams.segment_bytes", fmt.Errorf("%s cannot be: write a multiple of 512 up to 1GiB", n))
	}
	if most := c.Streams.SegmentBytes / 8; !d.broken["streams.segment_bytes"] && c.Streams.LargeBytes > most {
		d.at("streams.large_bytes", fmt.Errorf("%s is more than an eighth of segment_bytes: write %s or less", c.Streams.LargeBytes, most))
	}
}

func (d *decoder) policies(list []Policy) {
	if len(list) == 0 {
		d.at("policies", errors.New("is empty: write at least one policy, or leave the key out"))
	}
	first := make(map[string]int)
	for i, p := range list {
		path := fmt.Sprintf("policies[%d]", i)
		for key, err := range p.Policy().Validate() {
			d.at(path+"."+key, err)
		}
		if at := path + ".retention"; p.Retention != nil && *p.Retention == (Retention{}) && !d.broken[at+".age"] && !d.broken[at+".bytes"] {
			d.at(at, errors.New("says nothing: write age, bytes, or both"))
		}
		if j, again := first[p.Name]; again {
			d.at(path+".name", fmt.Errorf("%q is already the name of policies[%d] at line %d: rename one", p.Name, j, d.places[fmt.Sprintf("policies[%d].name", j)].line))
		} else if p.Name != "" {
			first[p.Name] = i
		}
	}
}

// envelopes tells of settings that need what check: envelope leaves unopened.
func (d *decoder) envelopes(c *Config) {
	for i, p := range c.Policies {
		if p.Check == policies.CheckEnvelope && (c.Forward.SourceAddressKey != "" || c.Forward.SourceHostnameKey != "") {
			d.at(fmt.Sprintf("policies[%d].check", i), errors.New("envelope leaves records unopened, and forward.source_address_key or source_hostname_key adds a field to each: remove one of them"))
		}
	}
}
