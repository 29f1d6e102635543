package master

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"weir/slap"
)

// The part of production's hypertext interface that "slapos service" and
// "slapos computer" use: two searches, and a view of what they find.

// queries are the two searches: for all, which these are, or for one by its
// name, which follows.
var queries = []struct{ kind, all, one string }{
	{"instance", `portal_type:"Instance Tree" AND validation_state:validated`, ` AND title:="`},
	{"node", `portal_type:"Compute Node" AND validation_state:validated`, ` AND reference:="`},
}

// search reads a query: what is looked for, and, but for all, its name.
func search(query string) (kind, name string, ok bool) {
	for _, q := range queries {
		rest, found := strings.CutPrefix(query, q.all)
		name, named := strings.CutPrefix(rest, q.one)
		name, ended := strings.CutSuffix(name, `"`)
		if found && (rest == "" || named && ended && !strings.Contains(name, `"`)) {
			return q.kind, name, true
		}
	}
	return "", "", false
}

func (m *Master) serveHateoas(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", http.MethodGet)
		m.fail(w, r, &problem{http.StatusMethodNotAllowed, r.URL.Path + " takes GET"})
		return
	}
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, "/hateoas"), "/")
	kind, title, one := strings.Cut(path, "/")
	switch q := r.URL.Query(); {
	case path == "" && q.Get("mode") == "":
		sendJSON(w, http.StatusOK, hateoasRoot(origin(r), m.o.Authority != nil))
	case path == "" && q.Get("mode") == "search":
		m.serveSearch(w, r, q.Get("query"))
	case path == "" && q.Get("mode") == "traverse" && strings.HasPrefix(q.Get("relative_url"), "/hateoas/"):
		u := url.URL{Path: q.Get("relative_url")}
		http.Redirect(w, r, u.EscapedPath(), http.StatusFound)
	case path == "":
		m.fail(w, r, badRequest("Unhandled mode: %s", q.Get("mode")))
	case path == "computer_module/Base_getComputerToken":
		m.serveToken(w, r)
	case one:
		m.serveView(w, r, kind, title)
	default:
		http.NotFound(w, r)
	}
}

// hateoasRoot is the entry; with an authority it leads to registration tokens.
func hateoasRoot(base string, tokens bool) any {
	link := func(query string) any { return map[string]string{"href": base + "/hateoas/?" + query} }
	links := map[string]any{
		"raw_search": link("mode=search&query={query}&select_list={select_list}"),
		"traverse":   link("mode=traverse&relative_url={relative_url}&view={view}"),
	}
	if tokens {
		links["self"] = map[string]string{"href": base + "/hateoas"}
	}
	return map[string]any{"_links": links}
}

// serveToken gives the token that "slapos computer token" prints, by which a
// computer registers itself.
func (m *Master) serveToken(w http.ResponseWriter, r *http.Request) {
	if m.o.Authority == nil {
		m.fail(w, r, noAuthority)
		return
	}
	sendJSON(w, http.StatusOK, map[string]string{"access_token": m.o.Authority.Token()})
}

func (m *Master) serveSearch(w http.ResponseWriter, r *http.Request, query string) {
	kind, name, ok := search(query)
	if !ok {
		m.fail(w, r, badRequest("Unhandled query: %s", query))
		return
	}
	rows := []any{}
	m.state.view(func(t *tx) {
		if kind == "node" {
			rows = nodeRows(t, name)
		} else {
			rows = treeRows(t, name)
		}
	})
	sendJSON(w, http.StatusOK, map[string]any{"_embedded": map[string]any{"contents": rows}})
}

func nodeRows(t *tx, id string) []any {
	rows := []any{}
	for _, n := range t.m.nodeOrder {
		if row := t.node(n); row.Formatted && (id == "" || id == n) {
			rows = append(rows, map[string]any{
				"reference": n, "title": cmp.Or(row.Title, n), "address": row.Address, "netmask": row.Netmask,
				"relative_url": "/hateoas/computers/" + url.PathEscape(n),
			})
		}
	}
	return rows
}

// roots gives the roots of trees: instances, then shared ones, by title.
func roots(t *tx, title string) (rows []*partition, shareds []*shared) {
	t.each(func(p *partition) {
		if p.Instance != nil && p.Instance.Root == "" && (title == "" || p.Instance.Title == title) {
			rows = append(rows, p)
		}
	})
	slices.SortFunc(rows, func(a, b *partition) int { return strings.Compare(a.Instance.Title, b.Instance.Title) })
	t.eachShared(func(s *shared) {
		if s.Root == "" && (title == "" || s.Title == title) {
			shareds = append(shareds, s)
		}
	})
	return rows, shareds
}

func treeRows(t *tx, title string) []any {
	list := []any{}
	rows, shareds := roots(t, title)
	for _, p := range rows {
		list = append(list, instanceRow(p))
	}
	for _, s := range shareds {
		list = append(list, map[string]any{
			"title": s.Title, "url_string": s.Software, "relative_url": "/hateoas/shared/" + url.PathEscape(s.Title), "reference": s.Reference,
		})
	}
	return list
}

func instanceRow(p *partition) map[string]any {
	i := p.Instance
	return map[string]any{
		"title": i.Title, "url_string": i.Software, "relative_url": "/hateoas/partitions/" + url.PathEscape(i.Title),
		"reference": p.Partition, "computer_reference": p.Node, "partition_reference": i.Title,
		"requested_by": i.Root, "requester_id": requesterID(i.Requester), "requested_state": i.State, "slap_state": "busy",
		"software_release": i.Software, "software_type": i.Type, "timestamp": i.Stamp, "slave_instance_list": nil,
		"xml": i.Parameters.XML(), "connection_xml": connectionXML(i.Published, i.Connection),
	}
}

func requesterID(p *place) string {
	if p == nil {
		return "user"
	}
	return p.Partition
}

func connectionXML(published bool, p slap.Parameters) any {
	if !published {
		return nil
	}
	return p.XML()
}

func (m *Master) serveView(w http.ResponseWriter, r *http.Request, kind, title string) {
	var view, form any
	label := "Instance Tree"
	m.state.view(func(t *tx) {
		switch kind {
		case "partitions":
			if p := t.instance(name{Title: title}); p != nil {
				form = instanceView(title, p.Instance.State, p.Instance.Parameters.XML(), connectionXML(p.Instance.Published, p.Instance.Connection), p.Instance.Software, p.Instance.Type, 0)
			}
		case "shared":
			if s := t.shared(name{Title: title}); s != nil {
				form = instanceView(title, "unused", slap.ToParameters(s.parameters()).XML(), connectionXML(s.Published, s.Connection), s.Software, s.Type, 1)
			}
		case "computers":
			if n := t.node(title); n != nil && n.Formatted {
				label = "Computer"
				form = map[string]any{
					"form_id": field("StringField", "computer", n.ID), "my_reference": field("StringField", "reference", n.ID),
					"my_title": field("StringField", "reference", cmp.Or(n.Title, n.ID)),
				}
			}
		}
	})
	if form == nil {
		m.fail(w, r, notFound("there is no %s", r.URL.Path))
		return
	}
	view = map[string]any{"_embedded": map[string]any{"_view": form}, "_links": map[string]any{"type": map[string]string{"name": label}}}
	sendJSON(w, http.StatusOK, view)
}

func field(kind, key string, v any) any {
	return map[string]any{"type": kind, "key": key, "default": v}
}

func instanceView(title, state, parameters string, connection any, software, kind string, root int) map[string]any {
	f := map[string]any{"form_id": field("StringField", "form_id", "InstanceTree_viewAsHateoas")}
	for name, v := range map[string]any{
		"reference": title, "slap_state": state, "text_content": parameters, "connection_parameter_list": connection,
		"url_string": software, "source_reference": kind,
	} {
		f["my_"+name] = field("StringField", "field_my_"+name, v)
	}
	f["my_root_slave"] = field("IntegerField", "field_my_root_slave", root)
	return f
}

func sendJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	send(w, status, "application/json", append(b, '\n'))
}
