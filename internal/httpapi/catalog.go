package httpapi

import (
	"encoding/json"
	"strings"

	"github.com/valyala/fasthttp"

	"weir/catalog"
)

// isCatalog tells whether a path below /api belongs to the catalog.
func isCatalog(path string) bool {
	kind, _, _ := strings.Cut(path, "/")
	return kind == catalog.KindSupply || kind == catalog.KindProduct || kind == catalog.KindIngestion
}

// maxSupplyBody bounds the body of a definition, in bytes.
const maxSupplyBody = 1 << 20

// serveCatalog answers below /api/supplies, /api/products and /api/ingestions:
// GET lists or shows, PUT defines a supply, POST …/KEY/ACTION makes a step.
func (r *request) serveCatalog() error {
	escaped, _ := r.target.under("/api")
	kind, rest, _ := strings.Cut(escaped, "/")
	reads := r.ctx.IsGet() || r.ctx.IsHead()
	defines := r.ctx.IsPut() && kind == catalog.KindSupply && rest != ""
	steps := r.ctx.IsPost() && strings.Contains(rest, "/")
	switch {
	case !reads && !defines && !steps:
	case r.s.Catalog == nil:
		return refuse(404, "no-catalog", "no policy has a grammar, so there are no data supplies, products and ingestions")
	case reads:
		return r.showCatalog(kind, rest)
	case defines:
		return r.defineSupply(rest)
	default:
		return r.stepCatalog(kind, rest)
	}
	p := refuse(405, "bad-method", "%s is not possible here", r.ctx.Method())
	switch {
	case strings.Contains(rest, "/"):
		p.allow = "POST"
	case kind == catalog.KindSupply && rest != "":
		p.allow = "GET, HEAD, PUT"
	default:
		p.allow = "GET, HEAD"
	}
	return p
}

// showCatalog answers with one resource, or a page of them.
func (r *request) showCatalog(kind, escaped string) error {
	key, err := unescape(escaped)
	if err != nil {
		return refuse(400, "bad-encoding", "the address %q is badly percent-encoded", escaped)
	}
	if key != "" {
		one, err := r.s.showOne(kind, key)
		if err != nil {
			return err
		}
		return r.json(one)
	}
	limit, err := r.limit()
	if err != nil {
		return err
	}
	after := r.target.value("after")
	switch kind {
	case catalog.KindSupply:
		return listResources(r, kind, r.s.Catalog.Supplies(after, limit), limit, func(v catalog.Supply) string { return v.Reference })
	case catalog.KindProduct:
		return listResources(r, kind, r.s.Catalog.Products(after, limit), limit, func(v catalog.Product) string { return v.Reference })
	}
	return listResources(r, kind, r.s.Catalog.Ingestions(after, limit), limit, func(v catalog.Ingestion) string { return v.ID })
}

func (s *Server) showOne(kind, key string) (any, error) {
	switch kind {
	case catalog.KindSupply:
		return s.Catalog.Supply(key)
	case catalog.KindProduct:
		return s.Catalog.Product(key)
	}
	return s.Catalog.Ingestion(key)
}

// listResources answers with a page of a list; next is what the page after it
// comes after.
func listResources[T any](r *request, kind string, list []T, limit int, key func(T) string) error {
	answer := map[string]any{kind: list}
	if len(list) == limit {
		answer["next"] = key(list[limit-1])
	}
	return r.json(answer)
}

// defineSupply makes a supply of the JSON in the body, or changes one.
func (r *request) defineSupply(escaped string) error {
	reference, err := unescape(escaped)
	if err != nil {
		return refuse(400, "bad-encoding", "the address %q is badly percent-encoded", escaped)
	}
	if t := r.contentType(); t != "application/json" {
		return refuse(415, "bad-type", "the body is %q; send application/json", t)
	}
	body, err := r.read(&r.body, r.body.length, maxSupplyBody)
	if err != nil {
		return err
	}
	var v struct {
		Title       string   `json:"title"`
		State       string   `json:"state"`
		Products    []string `json:"products"`
		Source      string   `json:"source"`
		Destination string   `json:"destination"`
		Project     string   `json:"project"`
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return refuse(400, "bad-data", `the body is no definition such as {"products": ["temperature"]}: %v`, err)
	}
	made, err := r.s.Catalog.Define(catalog.Supply{Reference: reference, Title: v.Title, State: v.State, Products: v.Products,
		Source: v.Source, Destination: v.Destination, Project: v.Project, Origin: catalog.FromRequest})
	if err != nil {
		return err
	}
	return r.json(made)
}

// stepCatalog takes a resource to another state: the last part of the address
// is the action.
func (r *request) stepCatalog(kind, rest string) error {
	at := strings.LastIndexByte(rest, '/')
	key, err := unescape(rest[:at])
	if err != nil {
		return refuse(400, "bad-encoding", "the address %q is badly percent-encoded", rest)
	}
	if err := r.s.Catalog.Act(kind, key, rest[at+1:]); err != nil {
		return err
	}
	one, err := r.s.showOne(kind, key)
	if err != nil {
		return err
	}
	r.ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	return r.json(one)
}
