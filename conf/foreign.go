package conf

import "regexp"

// foreign says what to write in the place of names that fluentd and Fluent Bit
// have for settings of a forward listener, by path; docs/forward.md lists them.
var foreign = map[string]string{
	"forward.port":                  "write listen: [HOST:PORT]",
	"forward.bind":                  "write listen: [HOST:PORT]",
	"forward.backlog":               "weir takes the largest that the kernel allows, net.core.somaxconn: leave it out",
	"forward.transport":             "write tls: {cert_file: FILE, key_file: FILE}",
	"forward.resolve_hostname":      "source_hostname_key does that by itself",
	"forward.send_keepalive_packet": "weir always sends them: leave it out",
	"forward.blocking_timeout":      "nothing here waits in turns: leave it out",
	"forward.unix_path":             "write unix: FILE",
	"forward.tag_prefix":            "write add_tag_prefix, without the dot",
	"forward.buffer_max_size":       "write chunk_size_limit",
	"forward.buffer_chunk_size":     "buffers grow as messages come: leave it out; max_bytes bounds all of them",
	"forward.workers":               "each connection is served by itself, on all cores: leave it out",
	"forward.threaded":              "each connection is served by itself, on all cores: leave it out",
	"forward.shared_key":            "write security: {self_hostname: NAME, shared_key: KEY}",
	"forward.self_hostname":         "write security: {self_hostname: NAME, shared_key: KEY}",
	"forward.empty_shared_key":      "an empty key proves nothing: write security: {self_hostname: NAME, shared_key: KEY}",
	"forward.security.users":        "write security: {user_auth: true, users: [{username: NAME, password: SECRET}]}",

	"forward.security.user":         "write user_auth: true and users: [{username: NAME, password: SECRET}]",
	"forward.security.client":       "write clients: [{network: NETWORK}]",
	"forward.security.clients.host": "write network: ADDRESS; a name may get another address while weir runs",

	"forward.tls.protocol":                  "tls is on once there is a cert_file: leave it out",
	"forward.tls.cert_path":                 "write cert_file",
	"forward.tls.crt_file":                  "write cert_file",
	"forward.tls.private_key_path":          "write key_file",
	"forward.tls.private_key_passphrase":    withoutPassphrase,
	"forward.tls.key_passwd":                withoutPassphrase,
	"forward.tls.ca_path":                   "write client_ca_file",
	"forward.tls.ca_file":                   "write client_ca_file",
	"forward.tls.client_cert_auth":          "write client_ca_file: FILE",
	"forward.tls.verify":                    "write client_ca_file: FILE",
	"forward.tls.version":                   "write min_version",
	"forward.tls.max_version":               "weir speaks up to TLS 1.3 with those who can: leave it out",
	"forward.tls.ciphers":                   "weir offers those that are safe today: leave it out",
	"forward.tls.ensure_fips":               "set GODEBUG=fips140=only for the whole of weir",
	"forward.tls.insecure":                  ownCertificate,
	"forward.tls.ca_cert_path":              ownCertificate,
	"forward.tls.ca_private_key_path":       ownCertificate,
	"forward.tls.ca_private_key_passphrase": ownCertificate,
	"forward.tls.cert_verifier":             "write client_ca_file; weir runs no code of a configuration's",
	"forward.tls.linger_timeout":            "write forward.linger_timeout",
}

const (
	withoutPassphrase = "a passphrase beside its key guards nothing: keep the key without one, where only weir reads it"
	ownCertificate    = "weir makes no certificates for this listener: write cert_file and key_file"
)

var index = regexp.MustCompile(`\[\d+\]`)

// meant says what to write in the place of a foreign name.
func meant(path, key string) (string, bool) {
	text, ok := foreign[index.ReplaceAllString(path, "")+"."+key]
	return text, ok
}
