package master

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzServe: whatever is sent is answered, with no failure of the master's, and
// leaves a state that holds together.
func FuzzServe(f *testing.F) {
	empty, no := `<marshal><dictionary id="i2"/></marshal>`, "<marshal><bool>0</bool></marshal>"
	form := func(pairs ...string) string {
		v := url.Values{}
		for k := 0; k < len(pairs); k += 2 {
			v.Set(pairs[k], pairs[k+1])
		}
		return v.Encode()
	}
	place := []string{"computer_id", theNode, "computer_partition_id", partitionID(0)}
	request := form("software_release", sr, "software_type", "default", "partition_reference", "x", "partition_parameter_xml", empty,
		"filter_xml", empty, "shared_xml", no, "state", "<marshal><string>started</string></marshal>")
	for _, seed := range [][2]string{
		{"/requestComputerPartition", request}, {"/requestComputerPartition", request + "&" + form(place...)},
		{"/requestComputerPartition", strings.Replace(request, url.QueryEscape(no), url.QueryEscape("<marshal><bool>1</bool></marshal>"), 1)},
		{"/supplySupply", form("url", sr, "computer_id", theNode, "state", "available")},
		{"/setComputerPartitionConnectionXml", form(append(place, "connection_xml", empty)...)},
		{"/softwareInstanceRename", form(append(place, "new_name", "y")...)},
		{"/softwareInstanceBang", form(append(place, "message", "m")...)},
		{"/softwareInstanceError", form(append(place, "error_log", "\x00\xff")...)},
		{"/destroyedComputerPartition", form(place...)},
		{"/useComputer", form("computer_id", theNode, "use_string", twoMovements)},
		{"/loadComputerConfigurationFromXML", form("xml", `<marshal><dictionary id="i2"><string>reference</string><string>n</string><string>partition_list</string><list id="i3"><dictionary id="i4"><string>reference</string><string>p</string><string>address_list</string><list id="i5"/></dictionary></list></dictionary></marshal>`)},
		{"/slapos.post.v0.software_instance", `{"title": "j", "software_release_uri": "sr", "software_type": "t", "parameters": {"n": 1e400, "l": [1, null, {}]}}`},
		{"/slapos.put.v0.compute_node_format", `{"computer_guid": "n", "compute_partition_list": [{"partition_id": "p", "ip_list": [{"ip-address": "::1"}]}]}`},
		{"/slapos.get.v0.software_instance", `{"instance_guid": "x______0"}`},
		{"/hateoas/?mode=search&query=portal_type:%22Instance%20Tree%22%20AND%20validation_state:validated", ""},
		{"/getFullComputerInformation?computer_id=" + theNode, ""}, {"/weir/show", ""}, {"/Person_getCertificate", ""},
	} {
		f.Add(seed[0], seed[1], "computer_id="+theNode+", computer_partition_id="+partitionID(1))
	}
	b := newBench(f, Options{Products: map[string]string{"demo": sr}})
	b.formatNode(theNode, 3)
	f.Fuzz(func(t *testing.T, path, body, claim string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || u.Host != "" {
			return
		}
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			r := httptest.NewRequest(method, "http://m/", strings.NewReader(body))
			r.URL = &url.URL{Path: u.Path, RawQuery: u.RawQuery}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if strings.HasPrefix(u.Path, "/slapos.") {
				r.Header.Set("Content-Type", "application/json")
			}
			r.Header.Set("Authorization", "X-SlapPartition "+claim)
			w := httptest.NewRecorder()
			b.master.ServeHTTP(w, r)
			if w.Code >= 500 {
				t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
			}
		}
		if err := b.master.state.m.check(); err != nil {
			t.Error(err)
		}
	})
}
