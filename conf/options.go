package conf

import (
	"context"
	"crypto/tls"
	"net/netip"

	"weir/arrays"
	"weir/forward"
	"weir/policies"
	"weir/streams"
)

// Options gives the server's options, but for its handler and log.
func (f Forward) Options() forward.Options {
	return forward.Options{
		Tag: f.Tag, TagPrefix: f.AddTagPrefix,
		AddressKey: f.SourceAddressKey, HostnameKey: f.SourceHostnameKey,
		RefuseInvalid: !f.SkipInvalidEvent,
		MaxMessage:    int64(f.ChunkSizeLimit), WarnMessage: int64(f.ChunkSizeWarnLimit),
		MaxInflated: int64(f.DecompressionSizeLimit), MaxBytes: int64(f.MaxBytes),
		MaxConnections: f.MaxConnections, HandshakeTimeout: f.HandshakeTimeout,
		IdleTimeout: f.IdleTimeout, StallTimeout: f.StallTimeout,
		WriteTimeout: f.WriteTimeout, Linger: f.LingerTimeout,
		DenyKeepalive: f.DenyKeepalive, Security: f.Security.options(),
	}
}

func (s *Security) options() *forward.Security {
	if s == nil {
		return nil
	}
	o := &forward.Security{
		Hostname: s.SelfHostname, SharedKey: s.SharedKey.Value(),
		UserAuth: s.UserAuth, DenyAnonymous: s.AllowAnonymousSource != nil && !*s.AllowAnonymousSource,
	}
	for _, u := range s.Users {
		o.Users = append(o.Users, forward.User{Name: u.Username, Password: u.Password.Value()})
	}
	for _, c := range s.Clients {
		network, _ := parseNetwork(c.Network)
		o.Clients = append(o.Clients, forward.Client{Network: network, SharedKey: c.SharedKey.Value(), Users: c.Users})
	}
	return o
}

// parseNetwork reads "10.0.0.0/8", or an address, which is a network of one.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

// Options gives the store's options.
func (s Streams) Options() streams.Options {
	return streams.Options{
		SegmentBytes: int64(s.SegmentBytes), LiveSegments: s.LiveSegments,
		LargeBytes: int(s.LargeBytes), ChunkBytes: int64(s.ChunkBytes),
		Keys: s.Keys, KeyAge: s.KeyAge, MinFree: int64(s.MinFree),
	}
}

// Options gives the store's options.
func (a Arrays) Options() arrays.Options {
	return arrays.Options{ChunkBytes: int(a.ChunkBytes), SyncEvery: a.SyncEvery, CacheBytes: int64(a.CacheBytes)}
}

// Policy gives the router's form of a policy.
func (p Policy) Policy() policies.Policy {
	out := policies.Policy{
		Name: p.Name, Match: p.Match, Keep: policies.Keep(p.Keep), Field: p.Field, Key: p.Key,
		Dedupe: p.Dedupe, Check: p.Check, MaxBytes: int64(p.MaxBytes), Grammar: p.Grammar.spec(), Unknown: p.Unknown,
	}
	if r := p.Retention; r != nil {
		out.Retention = streams.Limit{Age: r.Age, Bytes: int64(r.Bytes)}
	}
	if p.Array != nil {
		out.Array = &arrays.Spec{Kind: p.Array.Kind, Time: p.Array.Time, Columns: p.Array.Columns}
	}
	return out
}

// Router gives the policies in order.
func (c *Config) Router() []policies.Policy {
	out := make([]policies.Policy, len(c.Policies))
	for i, p := range c.Policies {
		out[i] = p.Policy()
	}
	return out
}

// nobody stands for the handler where options are only checked.
type nobody struct{}

func (nobody) Keep(context.Context, *forward.Peer, []forward.Message) (int, error) { return 0, nil }

// Options gives the files of a TLS listener; ok is false where there is none.
func (t TLS) Options() (o forward.TLS, ok bool) {
	o = forward.TLS{CertFile: t.CertFile, KeyFile: t.KeyFile, ClientCAFile: t.ClientCAFile, MinVersion: tls.VersionTLS12}
	if t.MinVersion == "1.3" {
		o.MinVersion = tls.VersionTLS13
	}
	return o, t.CertFile != ""
}
