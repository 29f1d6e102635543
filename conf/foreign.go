package conf

// foreign says what to write in the place of names that fluentd and Fluent Bit
// have for settings of a forward listener, by path.
var foreign = map[string]string{
	"forward.port":                  "write listen: [HOST:PORT]",
	"forward.bind":                  "write listen: [HOST:PORT]",
	"forward.transport":             "write tls: {cert_file: FILE, key_file: FILE}",
	"forward.resolve_hostname":      "source_hostname_key does that by itself",
	"forward.send_keepalive_packet": "weir always sends them: leave it out",
	"forward.unix_path":             "write unix: FILE",
	"forward.tag_prefix":            "write add_tag_prefix, without the dot",
	"forward.buffer_max_size":       "write chunk_size_limit",
	"forward.shared_key":            "write security: {self_hostname: NAME, shared_key: KEY}",
	"forward.self_hostname":         "write security: {self_hostname: NAME, shared_key: KEY}",
	"forward.tls.cert_path":         "write cert_file",
	"forward.tls.private_key_path":  "write key_file",
	"forward.tls.ca_path":           "write client_ca_file",
	"forward.tls.client_cert_auth":  "write client_ca_file: FILE",
	"forward.tls.version":           "write min_version",
}
