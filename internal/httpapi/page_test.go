package httpapi

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"weir/jobs/cimi"
)

// chromium finds the browser, or skips; on the way to a release its absence is
// a failure.
func chromium(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("WEIR_CHROMIUM"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("there is no Chromium on PATH, and WEIR_CHROMIUM names none")
	}
	t.Skip("there is no Chromium on PATH, and WEIR_CHROMIUM names none")
	return ""
}

// A browser is one page of Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context
}

func open(t *testing.T, url string) browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.WSURLReadTimeout(patience), chromedp.WindowSize(1280, 1000),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := browser{t, ctx}
	act(b, chromedp.Navigate(url))
	return b
}

// act does something in the page.
func act[T any](b browser, a chromedp.Action[T]) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, a)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// until waits for an expression to hold in the page.
func (b browser) until(expression string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(patience))); err != nil {
		b.shot("failed")
		b.t.Fatalf("it never held that %s: %v", expression, err)
	}
}

// text gives the text of an element.
func (b browser) text(id string) string {
	b.t.Helper()
	return act(b, chromedp.Evaluate[string](`document.getElementById("`+id+`").textContent`))
}

// shot keeps a picture of the page among the test's artifacts.
func (b browser) shot(name string) {
	b.t.Helper()
	png := act(b, chromedp.FullScreenshot(100))
	path := filepath.Join(b.t.ArtifactDir(), name+".png")
	if err := os.WriteFile(path, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.t.Logf("picture: %s, %d bytes", path, len(png))
}

// painted counts the pixels of the plot that are not its ground.
const painted = `(() => {
	const c = document.querySelector("#chart canvas");
	if (!c) return 0;
	const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
	let n = 0;
	for (let i = 3; i < d.length; i += 4) if (d[i]) n++;
	return n;
})()`

// waves gives rows of a sum of two sines.
func waves(from, rows int) string {
	var b strings.Builder
	for i := from; i < from+rows; i++ {
		fmt.Fprintf(&b, "%.4f\n", math.Sin(float64(i)/1800)+.3*math.Sin(float64(i)/11)*math.Sin(float64(i)/900))
	}
	return b.String()
}

// pageJobs are two jobs.
type pageJobs struct{}

func (pageJobs) Serve(_ context.Context, r cimi.Request) cimi.Response {
	return cimi.Response{Status: 200, Body: []byte(`{"count":7,"jobs":[
		{"id":"job/1","action":"transform","targetResource":{"href":"streams/<b>"},"state":"RUNNING","progress":40,"updated":"2026-01-01T00:00:00.000Z","executor":"edge-1"},
		{"id":"job/2","action":"collect","state":"FAILED","progress":100,"statusMessage":"no sensor","updated":"2026-01-01T00:00:00.000Z"}]}`)}
}

func TestPageInChromium(t *testing.T) {
	t.Logf("browser: %s", chromium(t))
	w := start(t, func(o *Options) {
		o.Version = "0.1.0-test"
		o.Jobs = pageJobs{}
		o.Deployments = func() any {
			return []map[string]any{
				{"policy": "up", "reference": "monitor", "release": "http://sr/<b>", "asked": "started", "phase": "allocated", "state": "started", "computer": "COMP-1", "partition": "slappart0",
					"report": "#access Instance correctly started", "connection": map[string]any{"url": "http://there", "empty": nil}, "since": "2026-01-01T00:00:00Z"},
				{"policy": "down", "reference": "x", "release": "r", "asked": "started", "phase": "failed", "error": "no free partition", "since": "2026-01-01T00:00:00Z"},
			}
		}
	})
	w.put("/streams/numbers.waves", waves(0, 20000)).want(t, 201, "")
	w.put("/streams/numbers.steps", "1\n2\n2\n5\n4\n").want(t, 201, "")
	w.put("/streams/up.video<b>", strings.Repeat("x", 3<<20)).want(t, 201, "")
	w.build("numbers.waves")
	w.build("numbers.steps")
	w.ingest("raw", "raw.sensor", entry("one")).want(t, 204, "")
	w.ingest("raw", "", entry("one")).want(t, 400, "")
	w.ingest("numbers", "numbers.bad", []byte("\x92\x00")).want(t, 400, "")

	b := open(t, w.base+"/")
	b.until(`document.getElementById("health").textContent === "ready"`)
	b.until(`document.querySelectorAll("#streams tr").length === 4`)
	if names := act(b, chromedp.Evaluate[string](`[...document.querySelectorAll("#streams td:first-child")].map(e => e.textContent).sort().join()`)); names != "numbers.steps,numbers.waves,raw.sensor,up.video<b>" {
		t.Errorf("the table shows streams %q", names)
	}
	b.plotGrows(w)
	b.showsRates(w)
	if refused := b.text("refused"); !strings.Contains(refused, "missing-reference") || !strings.Contains(refused, "bad-") {
		t.Errorf("the refused are shown as %q", refused)
	}
	if python := b.text("python"); strings.Count(python, "\n") != 2 || !strings.Contains(python, w.base+"/arrays/numbers.waves") {
		t.Errorf("the text for Python is %q", python)
	}
	act(b, chromedp.SendKeys("#tag", "numbers.new"))
	b.until(`document.getElementById("route").textContent.includes("taken by policy numbers")`)
	b.until(`document.querySelectorAll("#policies tr.takes").length === 1`)
	b.until(`document.querySelectorAll("#deployments tr").length === 2 && !document.getElementById("deployments-card").hidden`)
	if told := b.text("deployments"); !strings.Contains(told, "COMP-1 slappart0") || !strings.Contains(told, "http://sr/<b>") || !strings.Contains(told, "url = http://there") ||
		!strings.Contains(told, "Instance correctly started") || !strings.Contains(told, "failed, to be started") || !strings.Contains(told, "no free partition") {
		t.Errorf("the deployments are shown as %q", told)
	}
	b.until(`document.querySelectorAll("#jobs tr").length === 2 && !document.getElementById("jobs-card").hidden`)
	if told := b.text("jobs"); !strings.Contains(told, "streams/<b>") || !strings.Contains(told, "RUNNING") || !strings.Contains(told, "40 %") || !strings.Contains(told, "no sensor") || !strings.Contains(told, "edge-1") {
		t.Errorf("the jobs are shown as %q", told)
	}
	b.shot("page-light")
	act(b, chromedp.Click("#theme"))
	b.until(`document.documentElement.dataset.theme === "dark"`)
	b.shot("page-dark")
	if n := act(b, chromedp.Evaluate[int](`performance.getEntriesByType("resource").filter(e => !e.name.startsWith(location.origin)).length`)); n != 0 {
		t.Errorf("the page loads %d things from elsewhere", n)
	}
}

// showsRates checks that the page tells how fast something comes, while it
// comes: the rates are those of the last seconds.
func (b browser) showsRates(w *weir) {
	b.t.Helper()
	const shown = `["records", "rows"].every(f => parseFloat(document.getElementById("rate-" + f).textContent) > 0)`
	for end := time.Now().Add(patience); !act(b, chromedp.Evaluate[bool](shown)); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatal("the page shows no rates")
		}
		w.ingest("raw", "raw.sensor", entry("one")).want(b.t, 204, "")
		w.do("POST", "/streams/numbers.waves", strings.NewReader(waves(0, 10))).want(b.t, 200, "")
		w.build("numbers.waves")
	}
}

// plotGrows checks that the plot is drawn and follows its array.
func (b browser) plotGrows(w *weir) {
	b.t.Helper()
	act(b, chromedp.SetValue("#group", "numbers.waves"))
	act(b, chromedp.Evaluate[bool](`document.getElementById("group").dispatchEvent(new Event("change"))`))
	b.until(`document.getElementById("chart").dataset.rows === "20000"`)
	b.until(painted + ` > 5000`)
	for i := range 6 {
		w.do("POST", "/streams/numbers.waves", strings.NewReader(waves(20000+i*2500, 2500))).want(b.t, 200, "")
		w.build("numbers.waves")
	}
	b.until(`document.getElementById("chart").dataset.rows === "35000"`)
}
