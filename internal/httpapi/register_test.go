package httpapi

import (
	"testing"

	"weir/policies"
	"weir/tags"
)

// A radio registers, again and again, and its supply and ingestion are there
// before its data; where its policy takes no unknown ones it is told.
func TestRegisterRadio(t *testing.T) {
	t.Parallel()
	radios := func(unknown bool) policies.Policy {
		return policies.Policy{Name: "radios", Match: "ors.**", Keep: policies.Text, Field: "log", Unknown: unknown,
			Grammar: &tags.Spec{Kind: tags.Prefix, Prefix: "ors.", Product: "ors_enb_log_data"}}
	}
	w := catalogued(t, radios(true))
	for _, at := range []string{"/erp5/ERP5Site_registerOrs?fluentbit_tag=ors1_COMP-1_e0xA", "/ERP5Site_registerOrs?fluentbit_tag=ors.ors1_COMP-1_e0xA"} {
		for _, method := range []string{"GET", "POST"} {
			w.do(method, at, nil).want(t, 200, `{"status":"ok","message":"data of ors.ors1_COMP-1_e0xA is taken"}`)
		}
	}
	w.get("/api/supplies/ors1_COMP-1_e0xA").want(t, 200, `"products":["ors_enb_log_data"]`)
	w.get("/api/ingestions").want(t, 200, `"state":"started"`)
	w.get("/ERP5Site_registerOrs").want(t, 400, "fluentbit_tag")
	w.get("/ERP5Site_registerOrs?fluentbit_tag=%FF").want(t, 400, "")
	w.do("PUT", "/ERP5Site_registerOrs?fluentbit_tag=x", nil).want(t, 405, "use POST")

	w = catalogued(t, radios(false))
	w.get("/ERP5Site_registerOrs?fluentbit_tag=ors1").want(t, 404, `unknown data supply "ors1"`)
	w = start(t) // no policy takes radios
	w.get("/ERP5Site_registerOrs?fluentbit_tag=ors1").want(t, 404, "no policy")
}

// Only who may bring data of the radios' policy registers one.
func TestRegisterIsGuarded(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	for who, status := range map[string]int{"": 401, "reader": 403, "files": 403, "sender": 404} {
		if a := w.get("/ERP5Site_registerOrs?fluentbit_tag=ors1", as(who)...); a.status != status {
			t.Errorf("%q: %d %s, want %d", who, a.status, a.body, status)
		}
	}
}
