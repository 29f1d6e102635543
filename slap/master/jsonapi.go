package master

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/big"
	"mime"
	"net/http"
	"strings"

	"weir/slap"
)

// A method of the JSON interface.
type method struct {
	schema []property
	answer func(*Master, *jsonCall) (any, error)
}

// A jsonCall is a request of the JSON interface.
type jsonCall struct {
	ctx context.Context
	r   *http.Request
	in  map[string]any
}

func (c *jsonCall) text(k string) string { return slap.Text(c.in, k) }

// call gives the same request for what the two interfaces share.
func (c *jsonCall) call() *call { return &call{ctx: c.ctx, r: c.r} }

func methods() map[string]method {
	node, release := must("computer_guid"), must("computer_guid", "software_release_uri")
	state := func(names ...string) property {
		return property{name: "reported_state", kind: "string", required: true, oneOf: names}
	}
	guid := func(more ...property) []property { return append(must("instance_guid"), more...) }
	message := must("message")[0]
	return map[string]method{
		"post.v0.software_installation":                      {append(release[:2:2], property{name: "state", kind: "string", oneOf: []string{available, destroyed}}), (*Master).jsonSupply},
		"allDocs.v0.compute_node_software_installation_list": {node, (*Master).jsonReleases},
		"put.v0.software_installation_reported_state":        {append(release[:2:2], state(available, "building", destroyed)), (*Master).jsonReleaseState},
		"put.v0.software_installation_error":                 {append(release[:2:2], message), (*Master).jsonReleaseError},
		"post.v0.software_instance":                          {requestSchema(), (*Master).jsonRequest},
		"get.v0.software_instance":                           {guid(), (*Master).jsonInstance},
		"get.v0.compute_partition":                           {must("computer_guid", "compute_partition_id"), (*Master).jsonPartition},
		"get.v0.instance_tree":                               {must("title"), (*Master).jsonTree},
		"allDocs.v0.instance_tree_list":                      {nil, (*Master).jsonTrees},
		"allDocs.v0.compute_node_instance_list":              {node, (*Master).jsonNodeInstances},
		"allDocs.v0.instance_node_instance_list":             {guid(), (*Master).jsonHosted},
		"put.v0.software_instance_reported_state":            {guid(state(started, destroyed, stopped)), (*Master).jsonInstanceState},
		"put.v0.software_instance_bang":                      {guid(message), (*Master).jsonBang},
		"put.v0.software_instance_error":                     {guid(message), (*Master).jsonInstanceError},
		"put.v0.software_instance_title":                     {guid(must("title")...), (*Master).jsonTitle},
		"put.v0.software_instance_connection_parameter":      {guid(property{name: "connection_parameter_dict", kind: "object", required: true}), (*Master).jsonConnection},
		"put.v0.compute_node_format":                         {formatSchema(), (*Master).jsonFormat},
		"put.v0.compute_node_bang":                           {must("computer_guid", "message"), (*Master).jsonNodeBang},
		"post.v0.compute_node_usage":                         {must("computer_guid", "tioxml"), (*Master).jsonUsage},
		"get.v0.compute_node_status":                         {node, (*Master).jsonNodeStatus},
		"post.v0.compute_node_certificate":                   {node, (*Master).jsonCertificate},
		"remove.v0.compute_node_certificate":                 {node, (*Master).jsonRevoke},
		"get.v0.software_instance_certificate":               {guid(), (*Master).jsonInstanceCertificate},
		"get.v0.hateoas_url":                                 {nil, (*Master).jsonHateoasURL},
		"allDocs.WIP.compute_node_list":                      {nil, (*Master).jsonNodes},
	}
}

func requestSchema() []property {
	return append(must("title", "software_release_uri", "software_type"),
		property{name: "parameters", kind: "object"}, property{name: "sla_parameters", kind: "object"}, property{name: "shared", kind: "boolean"},
		property{name: "state", kind: "string", oneOf: []string{started, stopped, destroyed}})
}

func formatSchema() []property {
	ip := append(must("ip-address"), property{name: "netmask", kind: "string"}, property{name: "network-interface", kind: "string"},
		property{name: "gateway-ip-address", kind: "string"}, property{name: "network-address", kind: "string"})
	return append(must("computer_guid"), property{name: "compute_partition_list", kind: "array", required: true,
		items: append(must("partition_id"), property{name: "ip_list", kind: "array", required: true, items: ip})})
}

// serveJSON answers a method of the JSON interface.
func (m *Master) serveJSON(w http.ResponseWriter, r *http.Request, path string) {
	method, ok := m.methods[path]
	switch {
	case !ok:
		http.NotFound(w, r)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		m.fail(w, r, &problem{http.StatusMethodNotAllowed, r.URL.Path + " takes POST"})
		return
	}
	v, err := m.callJSON(r, method)
	if err != nil {
		status, text := statusOf(err)
		if status == http.StatusNotFound {
			status = http.StatusForbidden // how this interface says it
		}
		m.log.Info("slap: a request was refused", "path", r.URL.Path, "status", status, "reason", text)
		if status == http.StatusRequestTimeout {
			sendJSON(w, http.StatusOK, map[string]any{"message": text, "name": "SoftwareInstanceNotReady", "status": http.StatusProcessing})
			return
		}
		sendJSON(w, status, map[string]any{"status": status, "type": http.StatusText(status), "title": text})
		return
	}
	sendJSON(w, http.StatusOK, v)
}

// Texts of Werkzeug that clients of slapproxy get.
const (
	notAcceptable = "The resource identified by the request is only capable of generating response entities which have content characteristics not acceptable according to the accept headers sent in the request."
	notJSON       = "The browser (or proxy) sent a request that this server could not understand."
	notJSONType   = "Did not attempt to load JSON data because the request Content-Type was not 'application/json'."
)

func (m *Master) callJSON(r *http.Request, method method) (any, error) {
	if a := r.Header.Get("Accept"); a != "" && !strings.Contains(a, "json") && !strings.Contains(a, "*/*") && !strings.Contains(a, "application/*") {
		return nil, &problem{http.StatusNotAcceptable, notAcceptable}
	}
	if t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); t != "application/json" {
		return nil, &problem{http.StatusUnsupportedMediaType, notJSONType}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, bodyProblem(err)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var in any
	if d.Decode(&in) != nil || d.Decode(new(any)) != io.EOF {
		return nil, badRequest("%s", notJSON)
	}
	object, ok := fromJSON(in).(map[string]any)
	if !ok {
		return nil, badRequest("%s is not of type 'object'", pythonOf(fromJSON(in)))
	}
	if err := check(object, method.schema); err != nil {
		return nil, err
	}
	return method.answer(m, &jsonCall{ctx: r.Context(), r: r, in: object})
}

// fromJSON makes numbers what they are on the wire of the other interface.
func fromJSON(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, ok := new(big.Int).SetString(v.String(), 10); ok {
			if n.IsInt64() {
				return n.Int64()
			}
			return n
		}
		f, _ := v.Float64()
		return f
	case []any:
		for k := range v {
			v[k] = fromJSON(v[k])
		}
	case map[string]any:
		for k := range v {
			v[k] = fromJSON(v[k])
		}
	}
	return v
}

func success(title string) any { return map[string]any{"type": "success", "title": title} }
