package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const slapToken = "a token of the end-to-end tests"

// A slapNode is a computer that the real slapos commands run, as a user other
// than root, with weir's master behind TLS.
type slapNode struct {
	t      *testing.T
	dir    string
	slapos string
	url    string
	user   *syscall.Credential // nil: whoever runs the test
}

// newSlapNode makes the computer's folders, and starts a master with an
// authority.
func newSlapNode(t *testing.T) *slapNode {
	t.Helper()
	n := &slapNode{t: t, slapos: filepath.Join(filepath.Dir(slapPython(t)), "slapos")}
	n.dir = t.TempDir()
	for at := n.dir; at != os.TempDir() && len(at) > 1; at = filepath.Dir(at) {
		n.must(os.Chmod(at, 0o755))
	}
	if os.Getuid() == 0 { // slapgrid refuses partitions of root
		nobody, err := user.Lookup("nobody")
		n.must(err)
		uid, _ := strconv.Atoi(nobody.Uid)
		gid, _ := strconv.Atoi(nobody.Gid)
		n.user = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	port := freePort(t)
	n.write("slapproxy.cfg", fmt.Sprintf("[slapos]\ncomputer_id = none\n[slapproxy]\nhost = 127.0.0.1\nport = %d\ndatabase_uri = %s/proxy.db\nsoftware_product_list =\n  demo http://sr.example/demo.cfg\n", port, n.dir))
	n.write("token", slapToken+"\n")
	n.url = fmt.Sprintf("https://127.0.0.1:%d/", port)
	daemon(t, program, "slap", "master", "--cfg", filepath.Join(n.dir, "slapproxy.cfg"), "--authority", "--token-file", filepath.Join(n.dir, "token"))
	waitFor(t, fmt.Sprintf("127.0.0.1:%d", port))
	return n
}

func (n *slapNode) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// write makes a file that the node's user owns.
func (n *slapNode) write(name, text string) string {
	n.t.Helper()
	name = filepath.Join(n.dir, name)
	n.must(os.MkdirAll(filepath.Dir(name), 0o755))
	n.must(os.WriteFile(name, []byte(text), 0o600))
	n.own(name)
	return name
}

// own gives a file or folder to the node's user.
func (n *slapNode) own(name string) {
	n.t.Helper()
	if n.user != nil {
		n.must(os.Chown(name, int(n.user.Uid), int(n.user.Gid)))
	}
}

// run runs slapos as the node's user and gives what it printed and its exit
// code. The capability lets it read a Python in a folder of root's.
func (n *slapNode) run(args ...string) (string, int) {
	n.t.Helper()
	if n.user == nil {
		return n.output(exec.Command(n.slapos, args...))
	}
	uid, gid := strconv.Itoa(int(n.user.Uid)), strconv.Itoa(int(n.user.Gid))
	const reads = "+dac_read_search"
	return n.output(exec.Command("setpriv", append([]string{"--reuid", uid, "--regid", gid, "--clear-groups", "--inh-caps", reads, "--ambient-caps", reads, n.slapos}, args...)...))
}

func (n *slapNode) output(c *exec.Cmd) (string, int) {
	c.Dir = n.dir
	c.Env = append(os.Environ(), "HOME="+n.dir, "PYTHONWARNINGS=ignore",
		"SLAPOS_CONFIGURATION="+filepath.Join(n.dir, "slapos.cfg"), "SLAPOS_CLIENT_CONFIGURATION="+filepath.Join(n.dir, "client", "slapos-client.cfg"))
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		n.t.Fatalf("%s: %v", c.Path, err)
	}
	return string(out), c.ProcessState.ExitCode()
}

// want runs slapos and wants an exit code and a text.
func (n *slapNode) want(code int, text string, args ...string) {
	n.t.Helper()
	if out, got := n.run(args...); got != code || !strings.Contains(out, text) {
		n.t.Fatalf("slapos %s: exit code %d, want %d and %q:\n%s", strings.Join(args, " "), got, code, text, out)
	}
}

// ask speaks to the master as a person.
func (n *slapNode) ask(method, path string, v any) {
	n.t.Helper()
	r, err := http.NewRequest(method, n.url+path, nil)
	n.must(err)
	r.Header.Set("X-Access-Token", slapToken)
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	a, err := h.Do(r)
	n.must(err)
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	n.must(err)
	if a.StatusCode != http.StatusOK {
		n.t.Fatalf("%s %s: %s %s", method, path, a.Status, b)
	}
	n.must(json.Unmarshal(b, v))
}

// A slapShown is what a master tells of itself, as far as it is looked at.
type slapShown struct {
	Computers []struct {
		ID       string
		Releases []struct{ URL, Status, Error string }
	}
	Partitions []struct {
		Partition string
		Instance  *struct {
			Title  string
			Status struct{ State, Message string }
		}
	}
	Certificates []struct{ Kind, Name, Partition string }
}

func (n *slapNode) show() (v slapShown) {
	n.t.Helper()
	n.ask(http.MethodGet, "weir/show", &v)
	return v
}

// register gets the computer's certificate: by "slapos node register" where
// the test is root's, which that command wants, else as it does.
func (n *slapNode) register() {
	n.t.Helper()
	var pair struct{ Certificate, Key string }
	if n.user == nil {
		n.ask(http.MethodPost, "Person_requestComputer?title=node-1", &pair)
	} else {
		base := strings.TrimSuffix(n.url, "/")
		c := exec.Command(n.slapos, "node", "register", "node-1", "--token", slapToken, "--master-url", base, "--master-url-web", base,
			"--cfg", filepath.Join(n.dir, "registered", "slapos.cfg"))
		if out, code := n.output(c); code != 0 || !strings.Contains(out, "configured as COMP-1") {
			n.t.Fatalf("node register: exit code %d:\n%s", code, out)
		}
		for file, to := range map[string]*string{"certificate": &pair.Certificate, "key": &pair.Key} {
			b, err := os.ReadFile(filepath.Join(n.dir, "registered", "ssl", file))
			n.must(err)
			*to = string(b)
		}
	}
	n.write("cert/certificate", pair.Certificate)
	n.write("cert/key", pair.Key)
}

// configure writes what the real tools are configured with.
func (n *slapNode) configure() {
	n.t.Helper()
	for _, d := range []string{"inst", "soft", "var", "pki", "inst/slappart0", "inst/slappart1", "inst/slappart2"} {
		n.must(os.Mkdir(filepath.Join(n.dir, d), 0o750))
		n.own(filepath.Join(n.dir, d))
	}
	n.own(n.dir)
	n.write("slapos.cfg", strings.NewReplacer("DIR", n.dir, "URL", n.url).Replace(`[slapos]
software_root = DIR/soft
instance_root = DIR/inst
master_url = URL
computer_id = COMP-1
key_file = DIR/cert/key
cert_file = DIR/cert/certificate
certificate_repository_path = DIR/pki
root_check = False
pidfile_software = DIR/var/software.pid
pidfile_instance = DIR/var/instance.pid
pidfile_report = DIR/var/report.pid
software_min_free_space = 1M
instance_min_free_space = 1M

[slapformat]
input_definition_file = DIR/format.cfg
partition_amount = 3
user_base_name = slapuser
partition_base_name = slappart
alter_user = false
alter_network = false
create_tap = false
create_tun = false
computer_xml = DIR/var/slapos.xml
`))
	owner, err := user.Current()
	n.must(err)
	if n.user != nil {
		owner, err = user.LookupId(strconv.Itoa(int(n.user.Uid)))
		n.must(err)
	}
	format := "[computer]\naddress = 127.0.0.1/255.255.255.255\n"
	for k := range 3 {
		format += fmt.Sprintf("\n[partition_%d]\naddress = 127.0.0.1/255.255.255.255\npathname = slappart%d\nuser = %s\nnetwork_interface =\n", k, k, owner.Username)
	}
	n.write("format.cfg", format)
	buildout, err := os.ReadFile(filepath.Join("testdata", "slapos_buildout.py"))
	n.must(err)
	n.write("buildout", string(buildout))
	n.t.Cleanup(func() { stopSupervisor(filepath.Join(n.dir, "inst/var/run/supervisord.pid")) }) // slapgrid leaves it behind
}

// TestSlapNode: the real slapos commands do with weir's master, over TLS and
// with certificates that it issued, what a computer and a person do: from the
// registration to the end of a tree.
func TestSlapNode(t *testing.T) {
	t.Parallel()
	n := newSlapNode(t)
	n.register()
	n.configure()
	base := strings.TrimSuffix(n.url, "/")
	n.want(0, "", "configure", "client", "--token", slapToken, "--master-url", base, "--master-url-web", base, "--cfg", filepath.Join(n.dir, "client", "slapos-client.cfg"))
	n.want(0, "Computer token: ", "computer", "token")

	n.want(0, "successfully prepared", "node", "format", "--now")
	n.want(0, "COMP-1", "computer", "list")
	n.want(0, "COMP-1", "computer", "info", "COMP-1")
	n.want(0, "", "supply", "product.demo", "COMP-1")
	n.want(0, "", "supply", "http://sr.example/broken.cfg", "COMP-1")
	n.want(1, "no compiler", "node", "software", "--buildout", filepath.Join(n.dir, "buildout"))
	releases := n.show().Computers
	if len(releases) == 0 || releases[len(releases)-1].ID != "COMP-1" {
		t.Fatalf("the computers: %+v", releases)
	}
	for k, r := range releases[len(releases)-1].Releases {
		if want := []string{"available", "error"}[k]; r.Status != want || strings.Contains(r.Error, "no compiler") != (k == 1) {
			t.Errorf("release %d: %+v", k, r)
		}
	}
	n.want(0, "", "remove", "http://sr.example/broken.cfg", "COMP-1")
	n.want(0, "", "node", "software", "--buildout", filepath.Join(n.dir, "buildout"))

	n.want(0, "State is : started", "request", "first", "product.demo", "--node", "computer_guid=COMP-1", "--parameters", "size=3")
	n.want(1, "publishes nothing yet", "node", "instance")
	if s := n.instance("slappart0"); s.State != "error" || !strings.Contains(s.Message, "publishes nothing yet") {
		t.Errorf("an instance that failed: %+v", s)
	}
	for k := range 3 {
		if out, code := n.run("node", "instance"); code != 0 && k == 2 {
			t.Fatalf("node instance, run %d: %d\n%s", k, code, out)
		}
	}
	if s := n.instance("slappart0"); s.State != "started" {
		t.Errorf("an instance that runs: %+v", s)
	}
	n.want(0, "http://backend/3/front", "request", "first", "product.demo", "--node", "computer_guid=COMP-1", "--parameters", "size=3")
	n.want(0, `"url": "http://backend/3/front"`, "service", "info", "first")
	n.want(0, `"first": "http://sr.example/demo.cfg"`, "service", "list")
	if out, code := n.run("node", "instance"); code != 0 || strings.Contains(out, "Installing Computer Partition") {
		t.Errorf("a run with nothing to do: %d\n%s", code, out)
	}
	n.want(0, "", "node", "bang", "-m", "again")
	n.want(0, "Installing Computer Partition slappart1", "node", "instance")

	// An instance's own certificate reaches its own partition only.
	n.foreign()
	n.want(0, "", "node", "report")
	n.collect()

	n.want(0, "", "request", "first", "product.demo", "--node", "computer_guid=COMP-1", "--state", "destroyed")
	n.want(0, "Requested stop of slappart0", "node", "instance")
	for range 3 {
		n.want(0, "", "node", "report")
	}
	shown := n.show()
	for _, p := range shown.Partitions {
		if p.Instance != nil {
			t.Errorf("in the end %s has %+v", p.Partition, p.Instance)
		}
	}
	for _, c := range shown.Certificates {
		if c.Kind == "instance" {
			t.Errorf("the certificate of %s is there still", c.Partition)
		}
	}
	n.want(0, "", "remove", "product.demo", "COMP-1")
	n.want(0, "", "node", "software")
	if c := n.show().Computers; len(c[len(c)-1].Releases) != 0 {
		t.Errorf("releases in the end: %+v", c)
	}
}

// instance gives the status of what is in a partition.
func (n *slapNode) instance(partition string) (s struct{ State, Message string }) {
	for _, p := range n.show().Partitions {
		if p.Partition == partition && p.Instance != nil {
			return p.Instance.Status
		}
	}
	n.t.Errorf("there is nothing in %s", partition)
	return s
}

// foreign asks for another partition with an instance's certificate.
func (n *slapNode) foreign() {
	n.t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(n.dir, "pki/slappart0.crt"), filepath.Join(n.dir, "pki/slappart0.key"))
	n.must(err)
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}, DisableKeepAlives: true}}
	for partition, want := range map[string]int{"slappart0": 200, "slappart1": 403} {
		a, err := h.Get(n.url + "registerComputerPartition?computer_reference=COMP-1&computer_partition_reference=" + partition)
		n.must(err)
		a.Body.Close()
		if a.StatusCode != want {
			n.t.Errorf("the instance of slappart0 asks for %s: %s", partition, a.Status)
		}
	}
}

// collect runs "slapos node collect", which is root's alone, beside the master.
func (n *slapNode) collect() {
	if n.user == nil {
		return
	}
	out, code := n.output(exec.Command(n.slapos, "node", "collect"))
	if code != 0 && !strings.Contains(out, "sensors") { // it dies where that program is missing
		n.t.Errorf("node collect: exit code %d\n%s", code, out)
	}
}
