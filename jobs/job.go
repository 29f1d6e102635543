package jobs

import (
	"crypto/sha1"
	"encoding/hex"
	"time"
)

// A State is the state of a job resource, as CIMI job engines name it.
type State string

// The states. A job that is Failed is tried again by itself.
const (
	Queued  State = "QUEUED"
	Running State = "RUNNING"
	Success State = "SUCCESS"
	Failed  State = "FAILED"
)

// A Job is a job resource in the form of CIMI.
type Job struct {
	ID             string    `json:"id"` // job/UUID
	ResourceURI    string    `json:"resourceURI"`
	Action         string    `json:"action"`
	Target         Reference `json:"targetResource"`
	State          State     `json:"state"`
	Progress       int       `json:"progress"` // percent; 100 when there is nothing to do
	ReturnCode     *int      `json:"returnCode,omitempty"`
	StatusMessage  string    `json:"statusMessage,omitempty"`
	Created        string    `json:"created"`
	Updated        string    `json:"updated"`
	TimeOfStatus   string    `json:"timeOfStatusChange,omitempty"`
	Runs, Failures int64     `json:"-"`
}

// A Reference points to a resource.
type Reference struct {
	Href string `json:"href"`
}

// ResourceURI is the type of a job resource.
const ResourceURI = "http://sixsq.com/slipstream/1/Job"

// id names a job by its action and target, the same in every process.
func id(action, target string) string {
	h := sha1.Sum([]byte(action + "\x00" + target))
	h[6], h[8] = h[6]&0x0f|0x50, h[8]&0x3f|0x80 // a UUID by name, RFC 9562 §5.5
	x := hex.EncodeToString(h[:16])
	return "job/" + x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

// stamp writes a time as CIMI does: UTC, milliseconds.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// resource shows a task; the engine's lock is held.
func (t *task) resource() Job {
	j := Job{
		ID: t.id, ResourceURI: ResourceURI, Action: t.action.Name, Target: Reference{t.target},
		State: t.state, StatusMessage: t.message, Created: stamp(t.created), Updated: stamp(t.updated),
		Runs: t.runs, Failures: t.failures,
	}
	code := 0
	switch t.state {
	case Success:
		j.Progress, j.ReturnCode = 100, &code
	case Failed:
		code = 1
		j.ReturnCode = &code
	}
	if t.message != "" {
		j.TimeOfStatus = j.Updated
	}
	return j
}
