package httpapi

import (
	"errors"
	"strings"

	"github.com/valyala/fasthttp"

	"weir/policies"
)

const (
	// registerScript is what a radio calls, once or again and again, before it
	// sends.
	registerScript = "ERP5Site_registerOrs"
	// radioPrefix is what the gateway puts before the tags of radios.
	radioPrefix = "ors."
)

// isRegister tells whether the address is that of the registration, with any
// prefix.
func (t target) isRegister() bool { return strings.HasSuffix(t.path, "/"+registerScript) }

// registerTag is the tag under which the radio's data will come.
func (r *request) registerTag() string {
	tag := r.target.value("fluentbit_tag")
	if tag == "" || strings.HasPrefix(tag, radioPrefix) {
		return tag
	}
	return radioPrefix + tag
}

func (r *request) policyOfRegister() []string { return []string{r.s.policyOf(r.registerTag())} }

// register makes what a radio's data will need, as its policy allows, and
// answers as Wendelin does: a status and a message. Again is no error.
func (r *request) register() error {
	if !r.ctx.IsPost() && !r.ctx.IsGet() {
		p := refuse(405, "bad-method", "%s is not possible here; use POST", r.ctx.Method())
		p.allow = "GET, POST"
		return p
	}
	tag := r.registerTag()
	if tag == "" {
		return refuse(400, "missing-reference", "the query has no fluentbit_tag; send %s?fluentbit_tag=TAG", registerScript)
	}
	if err := r.s.Policies.Announce(tag); errors.Is(err, policies.ErrTag) {
		return refuse(400, "bad-tag", "%v", err)
	} else if err != nil {
		return err
	}
	r.ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	return r.json(struct {
		Status  string `json:"status"`
		Message string `json:"message"`
	}{"ok", "data of " + tag + " is taken"})
}
