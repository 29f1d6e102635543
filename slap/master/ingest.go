package master

import (
	"io"
	"mime"
	"net/http"
	"net/url"
)

// ingestPath is the SLAP master's door to ingestion.
const ingestPath = "/ingestData"

// An Ingestion is data that came to /ingestData, the SLAP master's door to
// ingestion policies.
type Ingestion struct {
	Policy, Reference string
	Data              []byte
	ID                string // the Idempotency-Key; "" is none
	Peer              string // address of the sender
}

// serveIngest hands data to the policies; it answers 204 once the data is
// durable.
func (m *Master) serveIngest(w http.ResponseWriter, r *http.Request) {
	select {
	case m.ingesting <- struct{}{}:
		defer func() { <-m.ingesting }()
	case <-r.Context().Done():
		return
	}
	in, err := m.readIngestion(r)
	if err != nil {
		m.refuse(r, err)
		m.fail(w, r, err)
		return
	}
	if err := m.o.Ingest(r.Context(), *in); err != nil {
		m.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// refuse counts data that nobody was handed.
func (m *Master) refuse(r *http.Request, err error) {
	if m.o.Refused != nil && r.URL.Path == ingestPath {
		status, _ := statusOf(err)
		m.o.Refused(status, min(max(0, r.ContentLength), mostAnnounced))
	}
}

// mostAnnounced is where the sizes that senders announce stop to count, so that
// lies about them do not fill the counters.
const mostAnnounced = 1 << 40

// readIngestion takes policy and reference from the query, and the data from
// the body, or from a form's field data_chunk.
func (m *Master) readIngestion(r *http.Request) (*Ingestion, error) {
	if m.o.Ingest == nil {
		return nil, notFound("this master has no ingestion policies: they are those of weir serve")
	}
	if r.Method != http.MethodPost {
		return nil, &problem{http.StatusMethodNotAllowed, r.URL.Path + " takes POST"}
	}
	q := r.URL.Query()
	in := &Ingestion{Policy: q.Get("ingestion_policy"), Reference: q.Get("reference"), ID: r.Header.Get("Idempotency-Key"), Peer: r.RemoteAddr}
	for field, v := range map[string]string{"ingestion_policy": in.Policy, "reference": in.Reference} {
		if v == "" {
			return nil, badRequest("%s: the query has no %s", r.URL.Path, field)
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, bodyProblem(err)
	}
	in.Data = body
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(body))
		if err == nil && form.Has("data_chunk") { // curl calls every body a form
			in.Data = []byte(form.Get("data_chunk"))
		}
	}
	if len(in.Data) == 0 {
		return nil, badRequest("%s: there is no data: send it as the body, or as the form field data_chunk", r.URL.Path)
	}
	return in, nil
}
