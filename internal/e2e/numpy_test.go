package e2e

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// TestNumpyFiles: numpy opens arrays as .npy and .npz, whole and in slices,
// and the sum of Wendelin's blob is right for each of several.
func TestNumpyFiles(t *testing.T) {
	t.Parallel()
	python := registryPeer(t, "WEIR_PYTHON", "Python with numpy")
	w := start(t, acceptance()...)
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintln(&text, float64(i)/4)
	}
	w.put("numbers.whole", []byte(text.String()))
	var entries []byte
	for i := range 1000 {
		entries = append(entries, encode(entry{1_700_000_000 + uint32(i), 0, map[string]any{
			"temperature": float64(i) / 8, "humidity": 2 * i, "where": fmt.Sprint("room ", i%3)}})...)
	}
	if a := w.ingest("metrics", "metrics.room", entries); a.Status != 204 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	w.awaitRows("numbers.whole", "value", 100_000)
	w.awaitRows("metrics.room", "time", 1000)
	out, err := exec.Command(python, "testdata/numpy_files.py", w.url("/arrays/")).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("the same")) {
		t.Errorf("%v\n%s", err, out)
	}
}
