package httpapi

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// An operation is what the contract says of a method of a path.
type operation struct {
	Route      string                     `json:"x-weir-route"`
	Summary    string                     `json:"summary"`
	Parameters []parameter                `json:"parameters"`
	Responses  map[string]json.RawMessage `json:"responses"`
}

type parameter struct {
	Name   string `json:"name"`
	In     string `json:"in"`
	Schema struct {
		Type any      `json:"type"`
		Enum []string `json:"enum"`
	} `json:"schema"`
}

// operations gives what the contract says, by path and method.
func operations(t *testing.T) map[string]map[string]operation {
	t.Helper()
	c, err := newContract()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]operation
	}
	if err := json.Unmarshal(c.json, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" || len(doc.Paths) < 20 {
		t.Fatalf("OpenAPI %q with %d paths", doc.OpenAPI, len(doc.Paths))
	}
	return doc.Paths
}

var placeholder = regexp.MustCompile(`\{(\w+)\}`)

// sample puts values in the place of a path's parameters.
func sample(path string) string {
	return placeholder.ReplaceAllStringFunc(path, func(p string) string {
		if p == "{index}" {
			return "0"
		}
		return "some-" + strings.Trim(p, "{}")
	})
}

// addHint is what to do about a route that the contract does not tell.
const addHint = `; say what it takes and answers in a file of internal/httpapi/openapi:
	{"paths": {"/PATH/{parameter}": {"get": {"x-weir-route": "ROUTE", "tags": ["…"], "summary": "…", "parameters": […], "responses": {"200": {…}, "404": {"$ref": "#/components/responses/Problem"}}}}}}
ROUTE is the name in routes.go; give every status that it answers with`

// TestContractRoutes: the contract tells each route, and no other.
func TestContractRoutes(t *testing.T) {
	t.Parallel()
	told := map[string]bool{}
	paths := operations(t)
	for path, methods := range paths {
		for method, o := range methods {
			found := routeFor(strings.ToUpper(method), parseTarget(sample(path)))
			if o.Route != found.name || found == routeNone {
				t.Errorf("%s %s: the contract says route %q, requests come to %q", method, path, o.Route, found.name)
			}
			if o.Summary == "" || len(o.Responses) == 0 {
				t.Errorf("%s %s has no summary or no responses", method, path)
			}
			told[o.Route] = true
			var want []string
			for _, p := range o.Parameters {
				if p.In == "path" {
					want = append(want, "{"+p.Name+"}")
				}
			}
			if have := placeholder.FindAllString(path, -1); !slices.Equal(slices.Sorted(slices.Values(have)), slices.Sorted(slices.Values(want))) {
				t.Errorf("%s %s: the path has %v, its parameters are %v", method, path, have, want)
			}
		}
	}
	for _, r := range allRoutes() {
		if r != routeNone && !told[r.name] {
			t.Errorf("the contract does not tell route %q%s", r.name, addHint)
		}
	}
	for path := range pageFiles {
		if paths[path] == nil {
			t.Errorf("the contract does not tell %s%s", path, addHint)
		}
	}
	for name := range apiViews {
		if paths["/api/"+name] == nil {
			t.Errorf("the contract does not tell /api/%s%s", name, addHint)
		}
	}
	for path := range paths {
		name, ok := strings.CutPrefix(path, "/api/")
		if ok && paths[path]["get"].Route == "api" && !strings.Contains(name, "{") && apiViews[name] == nil {
			t.Errorf("the contract tells %s, which nothing serves", path)
		}
		if paths[path]["get"].Route == "page" && pageFiles[path].name == "" {
			t.Errorf("the contract tells %s, which is no file of the page", path)
		}
	}
}

// TestContractMethods: a method that the contract does not tell is refused
// with one of the answers for that.
func TestContractMethods(t *testing.T) {
	t.Parallel()
	w := start(t)
	for path, methods := range operations(t) {
		for _, method := range []string{"GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"} {
			_, told := methods[strings.ToLower(method)]
			a := w.do(method, sample(path), nil)
			switch {
			case told && a.status == 405:
				t.Errorf("%s %s is told, and refused: %s", method, path, a.body)
			case !told && a.status < 400:
				t.Errorf("%s %s is not told, and answered with %d", method, path, a.status)
			case a.status == 405 && a.header.Get("Allow") == "":
				t.Errorf("%s %s: 405 without Allow", method, path)
			}
		}
	}
}

// TestContractStatuses: what routes answer to plain requests is told.
func TestContractStatuses(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.put("/streams/numbers.a", "1\n2\n")
	w.build("numbers.a")
	fill := strings.NewReplacer("{name}", "numbers.a", "{group}", "numbers.a", "{array}", "value", "{index}", "0", "{policy}", "raw")
	for path, methods := range operations(t) {
		for method, o := range methods {
			for _, target := range []string{fill.Replace(path), sample(path), fill.Replace(path) + "?format=nonsense&limit=x&start=x&tag=x&reference=raw.x"} {
				a := w.do(strings.ToUpper(method), target, nil)
				if a.status >= 500 || o.Responses[statusText(a.status)] == nil {
					t.Errorf("%s %s: %d is not told, only %v: %s", method, target, a.status, slices.Sorted(maps.Keys(o.Responses)), a.body)
				}
			}
		}
	}
}

func statusText(n int) string {
	return string([]byte{byte('0' + n/100), byte('0' + n/10%10), byte('0' + n%10)})
}

// TestContractServed: the document is served, and its parts do not collide.
func TestContractServed(t *testing.T) {
	t.Parallel()
	a := start(t).get("/openapi.json")
	a.want(t, 200, `"/streams/{name}"`)
	a.wantHeader(t, "Content-Type", "application/json")
	whole := contractPart{Paths: map[string]json.RawMessage{}, Components: map[string]map[string]json.RawMessage{}}
	part := `{"paths":{"/x":{}},"components":{"schemas":{"X":{}}}}`
	if err := whole.add([]byte(part)); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{part, `{"paths":{},"components":{"schemas":{"X":{}}}}`, `{"path":{}}`, `{`} {
		if whole.add([]byte(bad)) == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
