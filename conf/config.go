package conf

import "time"

// A Config is what a configuration file says, defaults included.
type Config struct {
	// Data is the folder that holds streams and arrays.
	Data     string   `yaml:"data"`
	HTTP     HTTP     `yaml:"http"`
	Forward  Forward  `yaml:"forward"`
	Streams  Streams  `yaml:"streams"`
	Arrays   Arrays   `yaml:"arrays"`
	Jobs     Jobs     `yaml:"jobs"`
	Slap     Slap     `yaml:"slap"`
	Lake     Lake     `yaml:"lake"`
	Policies []Policy `yaml:"policies"`
	Supplies []Supply `yaml:"supplies"`
	Log      Log      `yaml:"log"`

	places map[string]place // where the keys are, by path
	file   string
}

// HTTP is the listener of uploads, reads, metrics and the page.
type HTTP struct {
	Listen         string        `yaml:"listen"`
	TLS            TLS           `yaml:"tls"`
	Users          []HTTPUser    `yaml:"users"`
	Anonymous      Grant         `yaml:"anonymous"`
	MaxBody        Size          `yaml:"max_body"`
	BodyMemory     Size          `yaml:"body_memory"`
	BodyWait       time.Duration `yaml:"body_wait"`
	MaxConnections int           `yaml:"max_connections"`
	HeaderTimeout  time.Duration `yaml:"header_timeout"`
	StallTimeout   time.Duration `yaml:"stall_timeout"`
	IdleTimeout    time.Duration `yaml:"idle_timeout"`
}

// Forward is the listener of the forward protocol. Names are fluentd's where
// the meaning is.
type Forward struct {
	Listen                 []string      `yaml:"listen"`
	Unix                   string        `yaml:"unix"`
	UnixPerm               Mode          `yaml:"unix_perm"`
	UDPHeartbeat           bool          `yaml:"udp_heartbeat"`
	TLS                    TLS           `yaml:"tls"`
	Security               *Security     `yaml:"security"`
	Tag                    string        `yaml:"tag"`
	AddTagPrefix           string        `yaml:"add_tag_prefix"`
	SourceAddressKey       string        `yaml:"source_address_key"`
	SourceHostnameKey      string        `yaml:"source_hostname_key"`
	ChunkSizeLimit         Size          `yaml:"chunk_size_limit"`
	ChunkSizeWarnLimit     Size          `yaml:"chunk_size_warn_limit"`
	DecompressionSizeLimit Size          `yaml:"decompression_size_limit"`
	SkipInvalidEvent       bool          `yaml:"skip_invalid_event"`
	DenyKeepalive          bool          `yaml:"deny_keepalive"`
	LingerTimeout          time.Duration `yaml:"linger_timeout"`
	MaxConnections         int           `yaml:"max_connections"`
	MaxBytes               Size          `yaml:"max_bytes"`
	HandshakeTimeout       time.Duration `yaml:"handshake_timeout"`
	IdleTimeout            time.Duration `yaml:"idle_timeout"`
	StallTimeout           time.Duration `yaml:"stall_timeout"`
	WriteTimeout           time.Duration `yaml:"write_timeout"`
}

// TLS names the files of a TLS listener; without CertFile there is no TLS.
type TLS struct {
	CertFile     string `yaml:"cert_file"`
	KeyFile      string `yaml:"key_file"`
	ClientCAFile string `yaml:"client_ca_file"`
	MinVersion   string `yaml:"min_version"`
}

// Security asks senders for the handshake; its names are fluentd's.
type Security struct {
	SelfHostname         string   `yaml:"self_hostname"`
	SharedKey            Secret   `yaml:"shared_key"`
	UserAuth             bool     `yaml:"user_auth"`
	AllowAnonymousSource *bool    `yaml:"allow_anonymous_source"` // nil is true
	Users                []User   `yaml:"users"`
	Clients              []Client `yaml:"clients"`
}

// A User may send, where UserAuth is set.
type User struct {
	Username string `yaml:"username"`
	Password Secret `yaml:"password"`
}

// A Client is a rule for the addresses of a network, or for one address.
type Client struct {
	Network   string   `yaml:"network"`
	SharedKey Secret   `yaml:"shared_key"`
	Users     []string `yaml:"users"`
}

// Streams are the options of the stream store.
type Streams struct {
	SegmentBytes Size          `yaml:"segment_bytes"`
	LiveSegments int           `yaml:"live_segments"`
	LargeBytes   Size          `yaml:"large_bytes"`
	ChunkBytes   Size          `yaml:"chunk_bytes"`
	Keys         int           `yaml:"keys"`
	KeyAge       time.Duration `yaml:"key_age"`
	MinFree      Size          `yaml:"min_free"`
}

// Arrays are the options of the array store.
type Arrays struct {
	ChunkBytes Size          `yaml:"chunk_bytes"`
	SyncEvery  time.Duration `yaml:"sync_every"`
	CacheBytes Size          `yaml:"cache_bytes"`
}

// Jobs is the job engine.
type Jobs struct {
	ZooKeeper []string      `yaml:"zookeeper"`
	Actions   string        `yaml:"actions"`
	Threads   int           `yaml:"threads"`
	Timeout   time.Duration `yaml:"timeout"`
	// Timeouts are those of actions that have one of their own.
	Timeouts map[string]time.Duration `yaml:"timeouts"`
	Grace    time.Duration            `yaml:"grace"`
	// Schedules say by action when a job of it is made.
	Schedules map[string]string `yaml:"schedules"`
	Users     []JobUser         `yaml:"users"`
}

// A JobUser may log in at api/session.
type JobUser struct {
	Username string `yaml:"username"`
	Password Secret `yaml:"password"`
	Admin    bool   `yaml:"admin"`
}

// A Policy is one ingestion policy.
type Policy struct {
	Name     string   `yaml:"name"`
	Match    string   `yaml:"match"`
	Keep     string   `yaml:"keep"`
	Key      string   `yaml:"key"`
	Field    string   `yaml:"field"`
	Grammar  *Grammar `yaml:"grammar"`
	Unknown  bool     `yaml:"unknown"`
	Array    *Array   `yaml:"array"`
	Dedupe   string   `yaml:"dedupe"`
	Check    string   `yaml:"check"`
	MaxBytes Size     `yaml:"max_bytes"`
	Deploy   *Deploy  `yaml:"deploy"`

	Retention *Retention `yaml:"retention"`
}

// Retention says how much of each stream of a policy is kept; 0 is no bound.
type Retention struct {
	Age   time.Duration `yaml:"age"`
	Bytes Size          `yaml:"bytes"`
}

// An Array says what is built from a policy's streams.
type Array struct {
	Kind    string            `yaml:"kind"`
	Time    string            `yaml:"time"`
	Columns map[string]string `yaml:"columns"`
}

// Log is how weir logs.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // text, json
}
