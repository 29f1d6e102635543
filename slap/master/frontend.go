package master

import (
	"net"
	"net/url"

	"weir/slap"
)

// Two releases that slapproxy answers without an instance, since a standalone
// node has no frontend: a web frontend is the address itself.
const (
	webFrontend = "http://git.erp5.org/gitweb/slapos.git/blob_plain/HEAD:/software/apache-frontend/software.cfg"
	kvmFrontend = "http://git.erp5.org/gitweb/slapos.git/blob_plain/refs/tags/slapos-0.92:/software/kvm/software.cfg"
)

// simpleFrontend answers a shared instance of these two.
func simpleFrontend(r *request) (*slap.Object, bool) {
	var connection map[string]any
	var about string
	switch {
	case r.software == webFrontend:
		about = slap.Text(r.parameters, "url")
		u, err := url.Parse(about)
		if err != nil {
			return nil, false
		}
		connection = map[string]any{"secure_access": about, "domain": u.Host}
	case r.software == kvmFrontend && (r.kind == "frontend" || r.kind == "slave-frontend"):
		host, port := slap.Text(r.parameters, "host"), slap.PythonText(r.parameters["port"])
		about = "https://" + net.JoinHostPort(host, port) + "/"
		connection = map[string]any{"url": about, "domainname": bracket(host), "port": port, "path": "/"}
	default:
		return nil, false
	}
	return &slap.Object{Class: "SoftwareInstance", Args: slap.Tuple{}, Attributes: map[string]any{
		"slap_computer_id": "", "slap_computer_partition_id": "Fake frontend for " + about, "slap_server_url": serverURL,
		"slap_software_release_url": r.software, "slap_software_type": r.kind, "ip_list": []any{},
		"_connection_dict": connection, "_parameter_dict": orEmpty(r.parameters),
	}}, true
}

func bracket(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return "[" + host + "]"
	}
	return host
}
