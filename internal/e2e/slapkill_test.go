package e2e

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A slapWorker changes what is on a computer of its own, in every way that a
// master knows.
type slapWorker struct {
	id    string
	http  *http.Client
	url   string
	rand  *rand.Rand
	last  string     // the computer as it was after the last change that was answered
	doing slapChange // since then

	answered bool // doing was
}

// A slapChange is a request whose repetition changes nothing more.
type slapChange struct {
	path string
	form url.Values
}

func marshalled(pairs ...string) string {
	b := `<marshal><dictionary id="i2">`
	for _, p := range pairs {
		b += "<string>" + p + "</string>"
	}
	return b + "</dictionary></marshal>"
}

// next picks a change.
func (w *slapWorker) next() slapChange {
	r := w.rand
	place := url.Values{"computer_id": {w.id}, "computer_partition_id": {fmt.Sprintf("p%d", r.IntN(4))}}
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	change := func(path string, more ...string) slapChange {
		for k := 0; k < len(more); k += 2 {
			place.Set(more[k], more[k+1])
		}
		return slapChange{path, place}
	}
	title := func() string { return fmt.Sprintf("%s.%d", w.id, r.IntN(6)) }
	switch r.IntN(13) {
	case 0:
		return slapChange{"supplySupply", url.Values{"url": {pick("sr", "other")}, "computer_id": {w.id}, "state": {pick("available", "destroyed")}}}
	case 1:
		return w.format(3 + r.IntN(2))
	case 2:
		return change("setComputerPartitionConnectionXml", "connection_xml", marshalled("n", pick("1", "2", "3")))
	case 3:
		return change("softwareInstanceRename", "new_name", title())
	case 4:
		return change("destroyedComputerPartition")
	case 5:
		return change(pick("startedComputerPartition", "stoppedComputerPartition"))
	case 6:
		return change("softwareInstanceError", "error_log", pick("a", "b"))
	case 7:
		return change("softwareInstanceBang", "message", "x")
	case 8:
		return slapChange{"getComputerPartitionCertificate?" + place.Encode(), nil}
	case 9:
		return slapChange{pick("availableSoftwareRelease", "destroyedSoftwareRelease"), url.Values{"url": {"sr"}, "computer_id": {w.id}}}
	}
	form := url.Values{"software_release": {"sr"}, "software_type": {"default"}, "partition_reference": {title()},
		"shared_xml": {"<marshal><bool>" + pick("0", "0", "1") + "</bool></marshal>"}, "filter_xml": {marshalled("computer_guid", w.id)},
		"partition_parameter_xml": {marshalled("n", pick("1", "2"))}, "state": {"<marshal><string>" + pick("started", "started", "stopped", "destroyed") + "</string></marshal>"}}
	if asking := w.busy(); r.IntN(2) == 0 && len(asking) > 0 {
		form.Set("computer_id", w.id)
		form.Set("computer_partition_id", pick(asking...))
	}
	return slapChange{"requestComputerPartition", form}
}

// busy lists the partitions with an instance. One without may ask for one, too,
// as with slapproxy, and be where it comes to; then the same request is another.
func (w *slapWorker) busy() (list []string) {
	var v struct {
		Partitions []struct {
			Partition string
			Instance  *struct{}
		}
	}
	json.Unmarshal([]byte(w.last), &v)
	for _, p := range v.Partitions {
		if p.Instance != nil {
			list = append(list, p.Partition)
		}
	}
	return list
}

func (w *slapWorker) format(n int) slapChange {
	list := ""
	for k := range n {
		list += fmt.Sprintf(`<dictionary id="i%d"><string>reference</string><string>p%d</string><string>address_list</string><list id="i%d"/></dictionary>`, 2*k+4, k, 2*k+5)
	}
	return slapChange{"loadComputerConfigurationFromXML", url.Values{"xml": {
		`<marshal><dictionary id="i2"><string>reference</string><string>` + w.id + `</string><string>partition_list</string><list id="i3">` + list + `</list></dictionary></marshal>`}}}
}

// do makes a change; an error is that there was no answer.
func (w *slapWorker) do(c slapChange) error {
	method := http.MethodPost
	if c.form == nil {
		method = http.MethodGet
	}
	_, err := w.ask(method, c.path, c.form)
	return err
}

func (w *slapWorker) ask(method, path string, form url.Values) (string, error) {
	r, err := http.NewRequest(method, w.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Access-Token", slapToken)
	a, err := w.http.Do(r)
	if err != nil {
		return "", err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err == nil && a.StatusCode >= http.StatusInternalServerError {
		err = fmt.Errorf("%w: %s: %s %s", errSlapServer, path, a.Status, b)
	}
	return string(b), err
}

var errSlapServer = errors.New("the master failed")

// mine is the worker's computer and what is on it, but for stamps, which a
// repeated bang moves.
func (w *slapWorker) mine() (string, error) {
	text, err := w.ask(http.MethodGet, "weir/show", nil)
	if err != nil {
		return "", err
	}
	var v map[string][]map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return "", err
	}
	own := map[string][]any{}
	for kind, rows := range v {
		for _, row := range rows {
			host, _ := row["host"].(map[string]any)
			if w.id != row["id"] && w.id != row["node"] && w.id != row["name"] && w.id != host["node"] {
				continue
			}
			delete(row, "stamp")
			if i, ok := row["instance"].(map[string]any); ok {
				delete(i, "stamp")
			}
			own[kind] = append(own[kind], row)
		}
	}
	b, err := json.Marshal(own)
	return string(b), err
}

// work makes changes until the master is gone.
func (w *slapWorker) work(done *atomic.Int64) error {
	for {
		w.doing, w.answered = w.next(), false
		err := w.do(w.doing)
		var after string
		if err == nil {
			w.answered = true
			after, err = w.mine()
		}
		if errors.Is(err, errSlapServer) {
			return err
		}
		if err != nil {
			return nil
		}
		w.last = after
		done.Add(1)
	}
}

// recovered checks what a worker finds after the master was killed: the state
// after the last change that was answered, or that with the one that was under
// way, whole: making it again changes nothing.
func (w *slapWorker) recovered() error {
	found, err := w.mine()
	if err != nil || found == w.last && !w.answered {
		return err
	}
	if err := w.do(w.doing); err != nil {
		return err
	}
	again, err := w.mine()
	if err == nil && again != found {
		err = fmt.Errorf("half of %s %v:\nbefore %s\nfound  %s\nwhole  %s", w.doing.path, w.doing.form, w.last, found, again)
	}
	return err
}

// TestSlapKillAnything kills a master again and again while all kinds of
// changes are made, and looks at what is found.
func TestSlapKillAnything(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	token := filepath.Join(data, "token")
	if err := os.WriteFile(token, []byte(slapToken), 0o600); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 8}
	t.Cleanup(transport.CloseIdleConnections)
	var workers []*slapWorker
	for k := range 4 {
		workers = append(workers, &slapWorker{id: fmt.Sprintf("node-%d", k), http: &http.Client{Transport: transport}, rand: rand.New(rand.NewPCG(uint64(k), 7))})
	}
	for round := range 6 {
		address, c := slapMaster(t, data, "--authority", "--token-file", token)
		var all sync.WaitGroup
		var done atomic.Int64
		errs := make([]error, len(workers))
		for k, w := range workers {
			w.url = strings.Replace(address, "http:", "https:", 1)
			if round == 0 {
				errs[k] = w.do(w.format(4))
			} else {
				errs[k] = w.recovered()
			}
			if errs[k] != nil {
				t.Fatalf("round %d, %s: %v", round, w.id, errs[k])
			}
			if w.last, errs[k] = w.mine(); errs[k] != nil {
				t.Fatal(errs[k])
			}
			all.Go(func() { errs[k] = w.work(&done) })
		}
		awaitFor(t, patience, "changes are made", func() bool { return done.Load() > 60 })
		c.Process.Kill()
		c.Process.Wait()
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	address, _ := slapMaster(t, data, "--authority", "--token-file", token)
	for _, w := range workers {
		w.url = strings.Replace(address, "http:", "https:", 1)
		if err := w.recovered(); err != nil {
			t.Errorf("%s: %v", w.id, err)
		}
	}
	consistent(t, workers[0])
}

// consistent checks that an instance is in one place, and that nobody refers
// to what is not there.
func consistent(t *testing.T, w *slapWorker) {
	t.Helper()
	text, err := w.ask(http.MethodGet, "weir/show", nil)
	if err != nil {
		t.Fatal(err)
	}
	type place struct{ Node, Partition string }
	var v struct {
		Partitions []struct {
			place
			Instance *struct {
				Title, Root string
				Requester   *place
			}
		}
		Shared       []struct{ Host place }
		Certificates []struct{ Kind, Name, Partition string }
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	there, busy, names := map[place]bool{}, map[place]bool{}, map[string]bool{}
	for _, p := range v.Partitions {
		there[p.place] = true
	}
	for _, p := range v.Partitions {
		if i := p.Instance; i != nil {
			name := i.Root + "/" + i.Title
			if names[name] {
				t.Errorf("instance %s is in two places", name)
			}
			names[name], busy[p.place] = true, true
			if i.Requester != nil && !there[*i.Requester] {
				t.Errorf("instance %s was asked for by %v, which is not there", name, *i.Requester)
			}
		}
	}
	for _, s := range v.Shared {
		if !busy[s.Host] {
			t.Errorf("a shared instance lives in %v, where nothing is", s.Host)
		}
	}
	for _, c := range v.Certificates {
		if c.Kind == "instance" && !busy[place{c.Name, c.Partition}] {
			t.Errorf("there is a certificate of what is not in %s %s", c.Name, c.Partition)
		}
	}
	if len(names) == 0 {
		t.Error("there are no instances in the end")
	}
}
