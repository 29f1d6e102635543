package jobs

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"maps"
	"slices"
	"time"
)

// A State is the state of a job resource, as CIMI job engines name it.
type State string

// The states. A derived job that is Failed is tried again by itself.
const (
	Queued   State = "QUEUED"
	Running  State = "RUNNING"
	Success  State = "SUCCESS"
	Failed   State = "FAILED"
	Stopping State = "STOPPING"
	Stopped  State = "STOPPED"  // asked to stop; its executor may still write how it ended
	Canceled State = "CANCELED" // given up before its end
)

// Final tells whether a job in this state never changes again; a derived job
// begins anew when it is woken.
func (s State) Final() bool { return s == Success || s == Failed || s == Canceled }

// known tells whether there is such a state.
func (s State) known() bool {
	switch s {
	case Queued, Running, Stopping, Stopped:
		return true
	}
	return s.Final()
}

// A Job is a job resource in the form of CIMI, as SlipStream's server gave it.
type Job struct {
	ID            string            `json:"id"` // job/UUID
	ResourceURI   string            `json:"resourceURI"`
	Created       string            `json:"created"` // UTC with milliseconds, as all times
	Updated       string            `json:"updated"`
	Name          string            `json:"name,omitempty"`
	Description   string            `json:"description,omitempty"`
	Properties    map[string]string `json:"properties,omitempty"` // zookeeper-path: the job's entry in the queue
	ACL           *ACL              `json:"acl,omitempty"`
	State         State             `json:"state"`
	Action        string            `json:"action"`
	Progress      int               `json:"progress"` // percent; 100 when there is nothing to do
	Target        *Reference        `json:"targetResource,omitempty"`
	Affected      []Reference       `json:"affectedResources,omitempty"`
	ReturnCode    *int              `json:"returnCode,omitempty"`
	StatusMessage string            `json:"statusMessage,omitempty"`
	TimeOfStatus  string            `json:"timeOfStatusChange,omitempty"`
	Parent        string            `json:"parentJob,omitempty"`
	Nested        []string          `json:"nestedJobs,omitempty"`
	Priority      *int              `json:"priority,omitempty"` // until the first edit; 0 runs first
	Started       string            `json:"started,omitempty"`
	Duration      *int64            `json:"duration,omitempty"` // whole seconds from Started to the final state
	// Attempt counts how often the job was set to RUNNING. An edit that carries
	// another number than the job's comes from an executor that lost the job.
	Attempt  int    `json:"attempt"`
	Executor string `json:"executor,omitempty"` // who set it to RUNNING last, if it said so
	// Of the engine that came after SlipStream's: a job of mode pull has no entry
	// in the queue, one of mode mixed becomes one when its first attempt failed.
	Mode       string      `json:"executionMode,omitempty"` // push, also when empty, pull or mixed
	Version    int         `json:"version,omitempty"`       // of the actions' contract; 0 is the executor's
	Payload    string      `json:"payload,omitempty"`       // for the action, JSON by convention
	Output     string      `json:"output,omitempty"`        // of the action
	Expiry     string      `json:"expiry,omitempty"`        // kept for clients
	Operations []Operation `json:"operations,omitempty"`    // what the reader may do; never stored

	Runs, Failures int64 `json:"-"` // of a derived job
}

// Modes of a job.
const (
	ModePush  = "push"
	ModePull  = "pull"
	ModeMixed = "mixed"
)

// A Reference points to a resource.
type Reference struct {
	Href string `json:"href"`
}

// An Operation is something that can be done with a resource, and where.
type Operation struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

// An ACL says who owns a job and who else may do what.
type ACL struct {
	Owner Principal `json:"owner"`
	Rules []Rule    `json:"rules,omitempty"`
}

// A Principal is a USER or a ROLE.
type Principal struct {
	Principal string `json:"principal"`
	Type      string `json:"type"`
}

// A Rule gives a principal a right: VIEW, MODIFY, ALL, or a part of them.
type Rule struct {
	Principal
	Right string `json:"right"`
}

// ResourceURI is the type of a job resource.
const ResourceURI = "http://sixsq.com/slipstream/1/Job"

// pathProperty is where a job says which entry of the queue is its own.
const pathProperty = "zookeeper-path"

// clone gives a copy that shares nothing that an edit changes in place.
func (j *Job) clone() *Job {
	c := *j
	c.Properties = maps.Clone(j.Properties)
	c.Affected, c.Nested = slices.Clone(j.Affected), slices.Clone(j.Nested)
	c.Target, c.ReturnCode = clonePointer(j.Target), clonePointer(j.ReturnCode)
	c.Priority, c.Duration = clonePointer(j.Priority), clonePointer(j.Duration)
	if c.ACL = clonePointer(j.ACL); c.ACL != nil {
		c.ACL.Rules = slices.Clone(j.ACL.Rules)
	}
	return &c
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// finish sets what a final state brings with it.
func (j *Job) finish(now time.Time) {
	j.Progress = 100
	if start, err := time.Parse(stampLayout, j.Started); err == nil {
		seconds := int64(now.Sub(start) / time.Second)
		j.Duration = &seconds
	}
}

// id names a job by its action and target, the same in every process.
func id(action, target string) string {
	h := sha1.Sum([]byte(action + "\x00" + target))
	return "job/" + uuid([16]byte(h[:16]), 5) // a UUID by name, RFC 9562 §5.5
}

// newID names a job at random.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return "job/" + uuid(b, 4)
}

// uuid writes 16 bytes as a UUID of a version.
func uuid(b [16]byte, version byte) string {
	b[6], b[8] = b[6]&0x0f|version<<4, b[8]&0x3f|0x80
	x := hex.EncodeToString(b[:])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

const stampLayout = "2006-01-02T15:04:05.000Z"

// stamp writes a time as CIMI does: UTC, milliseconds.
func stamp(t time.Time) string { return t.UTC().Format(stampLayout) }

// resource shows a task; the engine's lock is held.
func (t *task) resource() Job {
	j := Job{
		ID: t.id, ResourceURI: ResourceURI, Action: t.action.Name, Target: &Reference{t.target},
		State: t.state, StatusMessage: t.message, Created: stamp(t.created), Updated: stamp(t.updated),
		Runs: t.runs, Failures: t.failures,
	}
	code := 0
	switch t.state {
	case Success:
		j.Progress, j.ReturnCode = 100, &code
	case Canceled:
		j.Progress = 100
	case Failed:
		code = 1
		j.ReturnCode = &code
	}
	if t.message != "" {
		j.TimeOfStatus = j.Updated
	}
	return j
}
