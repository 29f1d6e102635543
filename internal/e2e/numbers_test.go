package e2e

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

// A part is an entry of a chunk list.
type part struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// chunks reads a chunk list: a JSON array, or an object that has it.
func chunks(t *testing.T, b []byte) []part {
	t.Helper()
	var list []part
	if json.Unmarshal(b, &list) == nil {
		return list
	}
	var object struct {
		Chunks []part `json:"chunks"`
	}
	if err := json.Unmarshal(b, &object); err != nil {
		t.Fatalf("chunk list: %v: %s", err, b)
	}
	return object.Chunks
}

// numberText is 0 to 100000, ten a line, joined by commas: Wendelin's first
// acceptance test.
func numberText() string {
	var b strings.Builder
	for i := 0; i <= 100_000; i++ {
		b.WriteString(strconv.Itoa(i))
		if i%10 == 9 || i == 100_000 {
			b.WriteByte('\n')
		} else {
			b.WriteByte(',')
		}
	}
	return b.String()
}

// TestNumbers is that test to the byte: the body as fluentd's wendelin output
// posts it, and the same as a form; then the array by a stock reader.
func TestNumbers(t *testing.T) {
	t.Parallel()
	text := numberText()
	if sum := md5.Sum([]byte(text)); hex.EncodeToString(sum[:]) != "9ab92a072f5f532f3d1d45dda2e3aba9" || len(text) != 588_897 {
		t.Fatalf("the text is not the one of the acceptance list: %d bytes, md5 %x", len(text), sum)
	}
	body := msgp.AppendString([]byte{0x92, 0x00}, text)
	if len(body) != 588_904 || !bytes.HasPrefix(body, []byte{0x92, 0, 0xdb, 0, 8, 0xfc, 0x61}) {
		t.Fatalf("the body is not the one of the acceptance list: %d bytes, %x", len(body), body[:8])
	}
	w := start(t, acceptance()...)
	form := []byte("data_chunk=" + url.QueryEscape(string(body)))
	for _, c := range []struct {
		name string
		post func(tag string) answer
	}{
		{"octets", func(tag string) answer { return w.ingest("numbers", tag, body) }},
		{"form", func(tag string) answer {
			return w.ingest("numbers", tag, form, "Content-Type", "application/x-www-form-urlencoded")
		}},
		{"bare path and a double slash", func(tag string) answer {
			return w.do("POST", "/portal_ingestion_policies/numbers//ingest?reference="+tag, body, "Content-Type", "application/octet-stream")
		}},
		{"another name", func(tag string) answer { return w.ingest("numbers", "test_sensor."+tag, body) }},
	} {
		tag := "numbers.a1." + strings.ReplaceAll(c.name, " ", "-")
		a := c.post(tag)
		if a.Status != http.StatusNoContent || len(a.Body) != 0 {
			t.Fatalf("%s: %d %q, want 204 and nothing", c.name, a.Status, a.Body)
		}
		if c.name == "another name" {
			tag = "test_sensor." + tag
		}
		if got := w.stream(tag); string(got) != text {
			t.Errorf("%s: the stream has %d bytes, md5 %x", c.name, len(got), md5.Sum(got))
		}
		w.awaitRows(tag, "value", 100_001)
		checkArrays(t, w, group{Name: tag, Arrays: map[string]array{"value": {
			Dtype: "float64", Shape: []int{100_001}, Values: counting(100_001), Mean: mean(50_000),
		}}})
	}
}

func mean(v float64) *float64 { return &v }

// counting is 0, 1, 2, … n-1.
func counting(n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(i)
	}
	return v
}

// TestNumbersInPieces: numbers that come in pieces cut anywhere make the same
// array as in one.
func TestNumbersInPieces(t *testing.T) {
	t.Parallel()
	w := start(t, acceptance()...)
	text := numberText()
	c := mustDial(t, w.Forward)
	for i, at := 0, 0; at < len(text); i++ {
		n := min(10_450, len(text)-at)
		record := msgp.AppendString([]byte{0x92, 0x00}, text[at:at+n])
		chunk := fmt.Sprintf("piece-%d", i)
		c.send(t, packed("numbers.pieces", record, chunk), chunk)
		at += n
	}
	if got := w.stream("numbers.pieces"); string(got) != text {
		t.Errorf("the stream has %d bytes, md5 %x", len(got), md5.Sum(got))
	}
	w.awaitRows("numbers.pieces", "value", 100_001)
	checkArrays(t, w, group{Name: "numbers.pieces", Arrays: map[string]array{"value": {
		Dtype: "float64", Shape: []int{100_001}, Values: counting(100_001), Mean: mean(50_000),
	}}})
}
