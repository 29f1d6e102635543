package server

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// job makes a job and waits until it has ended.
func job(t *testing.T, s *Server, body string) map[string]any {
	t.Helper()
	a, err := http.Post("http://"+s.Addresses().HTTP+"/api/job", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	var made map[string]any
	if err := json.NewDecoder(a.Body).Decode(&made); err != nil || a.StatusCode != 201 {
		t.Fatalf("%s: %d %v %v", body, a.StatusCode, made, err)
	}
	id := made["resource-id"].(string)
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		_, text := get(t, s, "/api/"+id)
		var j map[string]any
		if err := json.Unmarshal([]byte(text), &j); err != nil {
			t.Fatal(err)
		}
		if j["progress"] == 100.0 {
			return j
		}
		if time.Now().After(end) {
			t.Fatalf("the job stays %v", j)
		}
	}
}

func upload(t *testing.T, s *Server, name string, body []byte) {
	t.Helper()
	r, err := http.NewRequest("PUT", "http://"+s.Addresses().HTTP+"/streams/"+name, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	if a.StatusCode/100 != 2 {
		t.Fatalf("PUT %s: %d", name, a.StatusCode)
	}
}

// TestOwnWork: weir's own actions are jobs that somebody may ask for.
func TestOwnWork(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	upload(t, s, "numbers.big", bytes.Repeat([]byte("123456789012345\n"), 1<<17))
	upload(t, s, "numbers.a", []byte("1\n2\n"))
	for body, says := range map[string]string{
		`{"action":"verify_streams"}`: "1 chunks of", `{"action":"verify_streams","targetResource":{"href":"streams/numbers.big"}}`: "1 chunks of 1 streams",
		`{"action":"transform"}`: "2 of", `{"action":"transform","targetResource":{"href":"streams/numbers.a"}}`: "1 of 1",
		`{"action":"cleanup_jobs"}`: "0 jobs deleted", `{"action":"restore_jobs"}`: "0 jobs put back",
	} {
		if j := job(t, s, body); j["state"] != "SUCCESS" || !strings.Contains(j["statusMessage"].(string), says) {
			t.Errorf("%s: %v", body, j)
		}
	}
	if j := job(t, s, `{"action":"verify_streams","targetResource":{"href":"streams/none"}}`); j["state"] != "FAILED" || !strings.Contains(j["statusMessage"].(string), "streams/none") {
		t.Errorf("a stream that is not there: %v", j)
	}
	if _, text := get(t, s, "/arrays/numbers.a/value/zarr.json"); !strings.Contains(text, "[2]") && !strings.Contains(text, "[\n") {
		t.Errorf("the transform that was asked for made %s", text)
	}
	damage(t, filepath.Join(dir, "streams"))
	j := job(t, s, `{"action":"verify_streams"}`)
	if j["state"] != "FAILED" || j["returnCode"] != 2.0 || !strings.Contains(j["statusMessage"].(string), "1 of 1 chunks are damaged") {
		t.Errorf("after damage: %v", j)
	}
	if _, text := get(t, s, "/api/"+j["id"].(string)+"/log"); !strings.Contains(text, "stream numbers.big, generation 1, 0 to 2097152: the checksum is") {
		t.Errorf("the log does not name what is damaged: %s", text)
	}
}

// Whose job it is says who sees it: the stream that holds all is no way around.
func TestJobsAreNoStream(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	if j := job(t, s, `{"action":"cleanup_jobs"}`); j["state"] != "SUCCESS" {
		t.Fatal(j)
	}
	for _, target := range []string{"/streams/_jobs", "/streams/_jobs?format=jsonl", "/streams/%5Fjobs", "/streams/_jobs/chunks", "/buckets/_jobs"} {
		if status, text := get(t, s, target); status != 404 || strings.Contains(text, "cleanup") {
			t.Errorf("%s: %d %s", target, status, text)
		}
	}
	for _, target := range []string{"/streams/", "/api/status"} {
		if status, text := get(t, s, target); status != 200 || strings.Contains(text, `"_jobs"`) {
			t.Errorf("%s: %d %s", target, status, text)
		}
	}
}

// damage changes a byte of the largest file that is no part of the log.
func damage(t *testing.T, dir string) {
	t.Helper()
	var largest string
	var size int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/log/") {
			return err
		}
		if i, err := d.Info(); err == nil && i.Size() > size {
			largest, size = path, i.Size()
		}
		return nil
	})
	if err != nil || size < 1<<20 {
		t.Fatalf("the largest file is %s with %d bytes, %v", largest, size, err)
	}
	f, err := os.OpenFile(largest, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("X"), size/2); err != nil {
		t.Fatal(err)
	}
}

// TestSchedule: jobs are made by the configuration's schedules.
func TestSchedule(t *testing.T) {
	t.Parallel()
	c := config(t, t.TempDir())
	c.Jobs.Schedules = map[string]string{"verify_streams": "1s", "collect": "1s", "cleanup_jobs": "never"}
	s, err := Start(Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	for filter, least := range map[string]int{
		"action='verify_streams'%20and%20state='SUCCESS'": 2,
		"action='collect'": 1, // nobody runs it, so there is one at most
	} {
		for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			_, text := get(t, s, "/api/job?$last=0&$filter="+filter)
			var list struct{ Count int }
			if err := json.Unmarshal([]byte(text), &list); err != nil || least == 1 && list.Count > 1 {
				t.Fatalf("%s: %s, %v", filter, text, err)
			}
			if list.Count >= least {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %s", filter, text)
			}
		}
	}
	if _, text := get(t, s, "/api/job?$last=0&$filter=action='cleanup_jobs'"); !strings.Contains(text, `"count":0,`) {
		t.Errorf("what is never due was made: %s", text)
	}
}

// TestExecutorsHaveNamesOfTheirOwn: of the two in the gateway each is called
// differently, and says where it takes jobs.
func TestExecutorsHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	for queue, text := range map[string]string{"embedded": "", "zookeeper": ", zookeeper: ['127.0.0.1:1']"} {
		s := startWith(t, "http: {listen: '127.0.0.1:0'}\nforward: {listen: '127.0.0.1:0'}\njobs: {actions: "+t.TempDir()+text+"}\n", t.TempDir())
		_, body := get(t, s, "/api/executor")
		var list struct {
			Executors []struct{ Name, Queue string }
		}
		if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Executors) != 2 {
			t.Fatalf("%s: %v", body, err)
		}
		x, own := list.Executors[0], list.Executors[1]
		if x.Queue != queue || own.Queue != "embedded" || own.Name != x.Name+"/own" {
			t.Errorf("%s: the executors are %v", queue, list.Executors)
		}
	}
}
