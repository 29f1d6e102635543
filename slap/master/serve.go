package master

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"weir/slap"
)

// A call is a request of the form interface.
type call struct {
	ctx    context.Context
	r      *http.Request
	values url.Values // of the query, and the form for POST
	who    caller
}

// An endpoint answers a call with a text, or with a value to be marshalled.
type endpoint struct {
	method string
	answer func(*Master, *call) (any, error)
}

// A text is an answer as it is.
type text string

func endpoints() map[string]endpoint {
	get, post := http.MethodGet, http.MethodPost
	return map[string]endpoint{
		"/getRunId":                                  {get, (*Master).getRunID},
		"/getHateoasUrl":                             {get, (*Master).getHateoasURL},
		"/getFullComputerInformation":                {get, (*Master).getComputer},
		"/getComputerInformation":                    {get, (*Master).getComputer},
		"/registerComputerPartition":                 {get, (*Master).getPartition},
		"/getComputerPartitionStatus":                {get, (*Master).getPartitionStatus},
		"/getComputerStatus":                         {get, (*Master).getComputerStatus},
		"/getSoftwareInstallationStatus":             {get, (*Master).getReleaseStatus},
		"/getHostingSubscriptionIpList":              {get, (*Master).getTreeAddresses},
		"/getComputerPartitionCertificate":           {get, (*Master).getPartitionCertificate},
		"/getSoftwareReleaseListFromSoftwareProduct": {get, (*Master).getProduct},

		"/loadComputerConfigurationFromXML": {post, (*Master).postFormat},
		"/requestComputer":                  {post, (*Master).postComputer},
		"/generateComputerCertificate":      {post, (*Master).postCertificate},
		"/revokeComputerCertificate":        {post, (*Master).postRevoke},
		"/computerBang":                     {post, (*Master).postComputerBang},
		"/useComputer":                      {post, (*Master).postUsage},

		"/supplySupply":             {post, (*Master).postSupply},
		"/buildingSoftwareRelease":  {post, releaseReport("building")},
		"/availableSoftwareRelease": {post, releaseReport("available")},
		"/softwareReleaseError":     {post, releaseReport("error")},
		"/destroyedSoftwareRelease": {post, (*Master).postReleaseDestroyed},

		"/requestComputerPartition":                   {post, (*Master).postRequest},
		"/startedComputerPartition":                   {post, instanceReport("started")},
		"/stoppedComputerPartition":                   {post, instanceReport("stopped")},
		"/softwareInstanceError":                      {post, instanceReport("error")},
		"/softwareInstanceBang":                       {post, (*Master).postBang},
		"/softwareInstanceRename":                     {post, (*Master).postRename},
		"/destroyedComputerPartition":                 {post, (*Master).postDestroyed},
		"/setComputerPartitionConnectionXml":          {post, (*Master).postConnection},
		"/updateComputerPartitionRelatedInstanceList": {post, (*Master).postRelated},
	}
}

// ServeHTTP answers a request.
func (m *Master) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, limit := r.URL.Path, m.o.MaxBody
	if path == ingestPath {
		limit = m.o.MaxIngest
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	who, err := m.caller(r)
	if err == nil && who.computer != "" && (forPersons(path) || path == ingestPath) {
		err = who.may(&call{r: r})
	}
	if err != nil {
		m.refuse(r, err)
		m.fail(w, r, err)
		return
	}
	if e, ok := m.endpoints[path]; ok {
		m.serveForm(w, r, e, who)
		return
	}
	if method, ok := strings.CutPrefix(path, "/slapos."); ok {
		m.serveJSON(w, r, method)
		return
	}
	switch {
	case path == "/hateoas" || strings.HasPrefix(path, "/hateoas/"):
		m.serveHateoas(w, r)
	case path == ingestPath:
		m.serveIngest(w, r)
	case strings.HasPrefix(path, "/Person_") || strings.HasPrefix(path, "/weir/"):
		m.serveOwn(w, r)
	case path == "/":
		http.Redirect(w, r, "/hateoas/", http.StatusFound)
	default:
		http.NotFound(w, r)
	}
}

func (m *Master) serveForm(w http.ResponseWriter, r *http.Request, e endpoint, who caller) {
	if r.Method != e.method && !(e.method == http.MethodGet && r.Method == http.MethodHead) {
		w.Header().Set("Allow", e.method)
		m.fail(w, r, &problem{http.StatusMethodNotAllowed, r.URL.Path + " takes " + e.method})
		return
	}
	v, err := m.call(r, e, who)
	if err != nil {
		m.fail(w, r, err)
		return
	}
	if t, ok := v.(text); ok {
		send(w, http.StatusOK, "text/html; charset=utf-8", []byte(t))
		return
	}
	b, err := slap.Marshal(v)
	if err != nil {
		m.fail(w, r, err)
		return
	}
	send(w, http.StatusOK, "text/xml; charset=utf-8", b)
}

func (m *Master) call(r *http.Request, e endpoint, who caller) (any, error) {
	if err := r.ParseForm(); err != nil {
		return nil, bodyProblem(err)
	}
	c := &call{ctx: r.Context(), r: r, values: r.Form, who: who}
	if err := who.may(c); err != nil {
		return nil, err
	}
	return e.answer(m, c)
}

// bodyProblem tells a body that is too large from one that is broken.
func bodyProblem(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return &problem{http.StatusRequestEntityTooLarge, "the request is larger than " + strconv.FormatInt(large.Limit, 10) + " bytes"}
	}
	return badRequest("the request cannot be read: %v", err)
}

// fail answers with an error's status and text.
func (m *Master) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, text := statusOf(err)
	if status >= http.StatusInternalServerError {
		m.log.Error("slap: a request failed", "path", r.URL.Path, "status", status, "error", text)
	} else {
		m.log.Info("slap: a request was refused", "path", r.URL.Path, "status", status, "reason", text)
	}
	if status == http.StatusRequestTimeout {
		w.Header().Set("Cache-Control", "private")
		// net/http closes no connection for it; a client that sees 408 may.
	}
	send(w, status, "text/plain; charset=utf-8", []byte(text+"\n"))
}

func send(w http.ResponseWriter, status int, contentType string, b []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(b) // a client that went away is no error of ours
}

// need gives a field that has to be there and not be empty.
func (c *call) need(field string) (string, error) {
	v := c.values.Get(field)
	if v == "" {
		return "", badRequest("%s: the field %s is missing", c.r.URL.Path, field)
	}
	return v, checkText(field, v)
}

// optional gives a field, "" when it is absent. The library sends "None" for
// none.
func (c *call) optional(field string) string {
	if v := c.values.Get(field); v != "None" {
		return v
	}
	return ""
}

// value reads a marshalled field.
func (c *call) value(field string) (any, error) {
	s, err := c.need(field)
	if err != nil {
		return nil, err
	}
	v, err := slap.Unmarshal([]byte(s))
	if err != nil {
		return nil, badRequest("the field %s: %v", field, err)
	}
	return v, nil
}

// dict reads a marshalled field that is a dictionary, or none.
func (c *call) dict(field string) (map[string]any, error) {
	v, err := c.value(field)
	if err != nil || v == nil {
		return nil, err
	}
	d, ok := v.(map[string]any)
	if !ok {
		return nil, badRequest("the field %s is no dictionary", field)
	}
	return d, nil
}

// place gives the partition that a call is about.
func (c *call) place(nodeField, partitionField string) (place, error) {
	n, err := c.need(nodeField)
	if err != nil {
		return place{}, err
	}
	p, err := c.need(partitionField)
	return place{n, p}, err
}

// claimed gives the partition of the Authorization header, if there is one.
// Other schemes, and headers that do not name both, are not about partitions.
func claimed(r *http.Request) *place {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	if !strings.EqualFold(scheme, "X-SlapPartition") {
		return nil
	}
	var p place
	for _, pair := range strings.Split(rest, ",") {
		k, v, _ := strings.Cut(pair, "=")
		switch strings.TrimSpace(k) {
		case "computer_id":
			p.Node = strings.TrimSpace(v)
		case "computer_partition_id":
			p.Partition = strings.TrimSpace(v)
		}
	}
	if p.Node == "" || p.Partition == "" {
		return nil
	}
	return &p
}
