package server

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"weir/conf"
)

const catalogFile = `
http: {listen: "127.0.0.1:0"}
forward: {listen: ["127.0.0.1:0"]}
policies:
  - {name: default, match: "**", keep: text, array: {kind: numbers}, grammar: {kind: sensor.product}}
supplies:
  - {reference: room, products: [temperature]}
`

func startCatalogued(t *testing.T, dir string) *Server {
	t.Helper()
	c, found := conf.Parse("catalog.yaml", []byte(catalogFile), conf.Source{})
	if len(found) > 0 {
		t.Fatal(found)
	}
	c.Data = dir
	s, err := Start(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s
}

func post(t *testing.T, s *Server, path, body string, status int) string {
	t.Helper()
	answer, err := http.Post("http://"+s.Addresses().HTTP+path, "application/octet-stream", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != status {
		t.Fatalf("POST %s: %s %s %v, want %d", path, answer.Status, text, err, status)
	}
	return string(text)
}

// Nothing follows from a stopped ingestion's data, which is kept, and all of
// it once it is started again, also when that was before a restart.
func TestAStoppedIngestionHoldsItsArray(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startCatalogued(t, dir)
	const ingest = "/portal_ingestion_policies/default/ingest?reference=room.temperature"
	post(t, s, ingest, "1\n2\n", 204)
	eventually(t, s, "/api/arrays/room.temperature", `"shape":[2]`)
	_, list := get(t, s, "/api/ingestions")
	at := strings.Index(list, `"id":"`)
	if at < 0 {
		t.Fatal(list)
	}
	id, _, _ := strings.Cut(list[at+len(`"id":"`):], `"`)
	post(t, s, "/api/ingestions/"+id+"/stop", "", 200)
	post(t, s, ingest, "3\n", 204)
	stop(t, s)

	s = startCatalogued(t, dir)
	post(t, s, ingest, "4\n", 204)
	if _, text := get(t, s, "/api/arrays/room.temperature"); !strings.Contains(text, `"shape":[2]`) {
		t.Errorf("the array of a stopped ingestion grew: %s", text)
	}
	post(t, s, "/api/ingestions/"+id+"/start", "", 200)
	eventually(t, s, "/api/arrays/room.temperature", `"shape":[4]`)
	if _, text := get(t, s, "/streams/room.temperature"); text != "1\n2\n3\n4\n" {
		t.Errorf("the stream is %q", text)
	}
	post(t, s, "/portal_ingestion_policies/default/ingest?reference=cellar.temperature", "1\n", 404)
}
