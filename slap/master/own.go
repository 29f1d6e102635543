package master

import (
	"net/http"
	"net/url"

	"weir/slap/authority"
)

// serveOwn answers what is neither of SLAP's interfaces, as JSON: the two calls
// by which the slapos tools get certificates, and weir's own.
func (m *Master) serveOwn(w http.ResponseWriter, r *http.Request) {
	own := map[string]endpoint{
		"/Person_requestComputer": {http.MethodPost, (*Master).registerComputer},
		"/Person_getCertificate":  {http.MethodPost, (*Master).registerUser},
		"/weir/show":              {http.MethodGet, (*Master).show},
		"/weir/revoke":            {http.MethodPost, (*Master).revokeAny},
		"/weir/authority":         {http.MethodGet, (*Master).getAuthority},
	}
	e, ok := own[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	v, err := m.callOwn(r, e)
	if err != nil {
		m.fail(w, r, err)
		return
	}
	sendJSON(w, http.StatusOK, v)
}

func (m *Master) callOwn(r *http.Request, e endpoint) (any, error) {
	if r.Method != e.method {
		return nil, &problem{http.StatusMethodNotAllowed, r.URL.Path + " takes " + e.method}
	}
	if err := r.ParseForm(); err != nil {
		return nil, bodyProblem(err)
	}
	return e.answer(m, &call{ctx: r.Context(), r: r, values: url.Values(r.Form)})
}

// A Shown is all that a master knows, in the tables of "slapos proxy show".
type Shown struct {
	Computers    []*node       `json:"computers"`
	Partitions   []*partition  `json:"partitions"`
	Shared       []*shared     `json:"shared"`
	Forwarded    []*forwarded  `json:"forwarded"`
	Certificates []certificate `json:"certificates"`
}

// show tells all that is known, with parameters and what is published.
func (m *Master) show(*call) (v any, err error) {
	m.state.view(func(t *tx) {
		all := t.m.all()
		v = Shown{all.Nodes, all.Partitions, all.Shared, all.Forwarded, certificateRows(t)}
	})
	return v, nil
}

// revokeAny ends the certificate of whatever kind.
func (m *Master) revokeAny(c *call) (any, error) {
	s := subject{c.values.Get("kind"), c.values.Get("name"), c.values.Get("partition")}
	switch s.Kind {
	case authority.Computer, authority.User, authority.Instance:
		return s, m.revoke(c, s)
	}
	return nil, badRequest("kind %q is none of computer, user, instance", s.Kind)
}

// getAuthority gives the certificate by which this master is verified.
func (m *Master) getAuthority(*call) (any, error) {
	if m.o.Authority == nil {
		return nil, noAuthority
	}
	return map[string]string{"certificate": string(m.o.Authority.Certificate())}, nil
}
