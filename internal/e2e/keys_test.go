package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestZarrKeys: a group is served key by key: what is there with a strong
// ETag that changes with the bytes, what is not there as a plain 404, and
// consolidated metadata in one document.
func TestZarrKeys(t *testing.T) {
	t.Parallel()
	w := start(t, acceptance()...)
	const group = "/arrays/numbers.keys/"
	w.ingest("numbers", "numbers.keys", encode(entry{1_700_000_000, 0, "1,2,3\n"}))
	w.awaitRows("numbers.keys", "value", 3)
	root := w.do("GET", group+"zarr.json", nil)
	var meta struct {
		Format       int    `json:"zarr_format"`
		Node         string `json:"node_type"`
		Consolidated struct {
			Metadata map[string]json.RawMessage `json:"metadata"`
		} `json:"consolidated_metadata"`
	}
	if err := json.Unmarshal(root.Body, &meta); err != nil || meta.Format != 3 || meta.Node != "group" || meta.Consolidated.Metadata["value"] == nil {
		t.Errorf("zarr.json of the group: %v\n%s", err, root.Body)
	}
	for _, key := range []string{"zarr.json", "value/zarr.json", "value/c/0"} {
		a := w.do("GET", group+key, nil)
		tag := a.Header.Get("ETag")
		if a.Status != http.StatusOK || tag == "" || strings.HasPrefix(tag, "W/") {
			t.Errorf("%s: %d, ETag %q", key, a.Status, tag)
		}
		if same := w.do("GET", group+key, nil, "If-None-Match", tag); same.Status != http.StatusNotModified || len(same.Body) != 0 {
			t.Errorf("%s with its own ETag: %d and %d bytes, want 304", key, same.Status, len(same.Body))
		}
		if head := w.do("HEAD", group+key, nil); head.Status != http.StatusOK || head.Header.Get("ETag") != tag || head.Header.Get("Content-Length") == "" {
			t.Errorf("HEAD of %s: %d %v", key, head.Status, head.Header)
		}
	}
	for _, key := range []string{".zgroup", ".zattrs", ".zmetadata", "zarr.json/", "value/c/1", "value/c/0/0", "value/c/00", "value/c/-1", "nothing/zarr.json", "value/", "../streams"} {
		a := w.do("GET", group+key, nil)
		if a.Status != http.StatusNotFound || strings.Contains(strings.ToLower(string(a.Body)), "<html") {
			t.Errorf("%s: %d %.80q, want a plain 404", key, a.Status, a.Body)
		}
	}
	before := map[string]string{}
	for _, key := range []string{"zarr.json", "value/zarr.json", "value/c/0"} {
		before[key] = w.do("GET", group+key, nil).Header.Get("ETag")
	}
	w.ingest("numbers", "numbers.keys", encode(entry{1_700_000_000, 0, "4,5\n"}))
	w.awaitRows("numbers.keys", "value", 5)
	for key, tag := range before {
		if a := w.do("GET", group+key, nil, "If-None-Match", tag); a.Status != http.StatusOK || a.Header.Get("ETag") == tag {
			t.Errorf("%s after it grew: %d with ETag %q, was %q", key, a.Status, a.Header.Get("ETag"), tag)
		}
	}
}
