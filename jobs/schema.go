package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Errors that callers test for.
var (
	// ErrNotFound: there is no such job.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the job's state, or another executor, forbids the change.
	ErrConflict = errors.New("conflict")
	// ErrInvalid: what was sent is no job, no change of one, or no query.
	ErrInvalid = errors.New("invalid")
	// ErrClosed: the store or the queue was closed.
	ErrClosed = errors.New("jobs: closed")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// Bounds of a job's attributes.
const (
	MaxPriority     = 999
	DefaultPriority = MaxPriority
	// maxMessage bounds a status message, in bytes; the rest is cut.
	maxMessage = 100_000
	maxText    = 1000 // names, actions, references
	maxList    = 10_000
)

// serverOwn are the attributes that a client's values are ignored for.
var serverOwn = []string{"id", "resourceURI", "created", "updated", "operations", "timeOfStatusChange", "started", "duration", "properties"}

// clientOwn are the other attributes of a job.
var clientOwn = []string{"name", "description", "acl", "state", "action", "progress", "targetResource", "affectedResources",
	"returnCode", "statusMessage", "parentJob", "nestedJobs", "priority", "attempt", "executor", "executionMode", "version", "payload", "output", "expiry"}

// merge puts the attributes of a JSON object over the job's and says which
// there were.
func (j *Job) merge(body []byte) (map[string]bool, error) {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(body, &given); err != nil || given == nil {
		return nil, invalid("the body is no JSON object: %v", err)
	}
	had := make(map[string]bool, len(given))
	for name, value := range given {
		switch {
		case slices.Contains(serverOwn, name):
			delete(given, name)
		case !slices.Contains(clientOwn, name):
			return nil, invalid("a job has no attribute %q; its attributes are %s", name, strings.Join(clientOwn, ", "))
		case bytes.Equal(value, []byte("null")):
			return nil, invalid("%s is null; leave it out, or remove it with $select", name)
		default:
			had[name] = true
		}
	}
	j.clear(had) // else what is given would be mixed with what was there
	clean, err := json.Marshal(given)
	if err != nil {
		return nil, invalid("%v", err)
	}
	if err := json.Unmarshal(clean, j); err != nil {
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return nil, invalid("%s is a %s, not what the attribute holds", t.Field, t.Value)
		}
		return nil, invalid("%v", err)
	}
	if len(j.StatusMessage) > maxMessage {
		j.StatusMessage = strings.ToValidUTF8(j.StatusMessage[:maxMessage], "")
	}
	return had, nil
}

// clear empties the attributes of several parts that are given anew.
func (j *Job) clear(had map[string]bool) {
	if had["affectedResources"] {
		j.Affected = nil
	}
	if had["nestedJobs"] {
		j.Nested = nil
	}
	if had["targetResource"] {
		j.Target = nil
	}
	if had["acl"] {
		j.ACL = nil
	}
}

var jobID = regexp.MustCompile(`^job/[a-z0-9]+(-[a-z0-9]+)*$`)

// validate tells what is wrong with a job.
func (j *Job) validate() error {
	switch {
	case strings.TrimSpace(j.Action) == "" || len(j.Action) > maxText:
		return invalid("action is %.40q; name an action, in up to %d bytes", j.Action, maxText)
	case !j.State.known():
		return invalid("state is %.40q, which is none of a job", j.State)
	case j.Progress < 0 || j.Progress > 100:
		return invalid("progress is %d; it goes from 0 to 100", j.Progress)
	case j.Priority != nil && (*j.Priority < 0 || *j.Priority > MaxPriority):
		return invalid("priority is %d; it goes from 0, first, to %d", *j.Priority, MaxPriority)
	case j.Mode != "" && j.Mode != ModePush && j.Mode != ModePull && j.Mode != ModeMixed:
		return invalid("executionMode is %.40q; there are push, pull and mixed", j.Mode)
	case j.Version < 0:
		return invalid("version is %d; it goes from 0", j.Version)
	case len(j.Payload) > maxMessage || len(j.Output) > maxMessage || len(j.Expiry) > maxText:
		return invalid("payload, output or expiry is longer than %d bytes", maxMessage)
	case len(j.Executor) > maxText:
		return invalid("executor is longer than %d bytes", maxText)
	case len(j.Name) > maxText || len(j.Description) > maxMessage:
		return invalid("name or description is too long")
	case len(j.Affected) > maxList || len(j.Nested) > maxList:
		return invalid("more than %d affectedResources or nestedJobs", maxList)
	}
	for _, id := range append(slices.Clone(j.Nested), j.Parent) {
		if id != "" && (!jobID.MatchString(id) || len(id) > maxText) {
			return invalid("%.60q is no id of a job", id)
		}
	}
	refs := slices.Clone(j.Affected)
	if j.Target != nil {
		refs = append(refs, *j.Target)
	}
	for _, r := range refs {
		if strings.TrimSpace(r.Href) == "" || len(r.Href) > maxText {
			return invalid("a resource is {\"href\": %.60q}; name one, in up to %d bytes", r.Href, maxText)
		}
	}
	return j.ACL.validate()
}

func (a *ACL) validate() error {
	if a == nil {
		return nil
	}
	all := []Principal{a.Owner}
	for _, r := range a.Rules {
		all = append(all, r.Principal)
		if r.Right == "" {
			return invalid("acl: a rule of %q has no right", r.Principal.Principal)
		}
	}
	for _, p := range all {
		if p.Principal == "" || p.Type != "USER" && p.Type != "ROLE" {
			return invalid("acl: %q of type %q is no USER or ROLE", p.Principal, p.Type)
		}
	}
	return nil
}

// newJob makes a queued job of what a client sent.
func newJob(body []byte, owner Principal, now time.Time) (*Job, error) {
	j := &Job{}
	if _, err := j.merge(body); err != nil {
		return nil, err
	}
	j.ID, j.ResourceURI = newID(), ResourceURI
	j.State, j.Attempt, j.Executor = Queued, 0, ""
	j.Created, j.Updated = stamp(now), stamp(now)
	if j.ACL == nil {
		j.ACL = &ACL{Owner: owner}
	}
	if j.Target != nil && !slices.Contains(j.Affected, *j.Target) {
		j.Affected = append(j.Affected, *j.Target)
	}
	if j.StatusMessage != "" {
		j.TimeOfStatus = j.Updated
	}
	return j, j.validate()
}

// edited gives the job with a client's changes.
func (j *Job) edited(body []byte, remove []string, now time.Time) (*Job, error) {
	if j.State.Final() {
		return nil, fmt.Errorf("%w: %s ended with %s and does not change again", ErrConflict, j.ID, j.State)
	}
	n := j.clone()
	had, err := n.merge(body)
	if err != nil {
		return nil, err
	}
	if had["attempt"] && n.Attempt != j.Attempt {
		return nil, fmt.Errorf("%w: %s is at attempt %d; attempt %d lost the job", ErrConflict, j.ID, j.Attempt, n.Attempt)
	}
	if n.Action != j.Action || had["targetResource"] && (j.Target == nil || n.Target == nil || *n.Target != *j.Target) {
		return nil, invalid("the action and targetResource of %s stay what they are", j.ID)
	}
	n.without(remove)
	if had["state"] && n.State == Running {
		n.Attempt++
		if n.Started == "" {
			n.Started = stamp(now)
		}
	}
	n.Updated, n.Priority = stamp(now), nil
	if n.StatusMessage != "" {
		n.TimeOfStatus = n.Updated
	}
	if n.State.Final() {
		n.finish(now)
	}
	return n, n.validate()
}

// without removes optional attributes.
func (j *Job) without(names []string) {
	for _, name := range names {
		switch name {
		case "name":
			j.Name = ""
		case "description":
			j.Description = ""
		case "affectedResources":
			j.Affected = nil
		case "returnCode":
			j.ReturnCode = nil
		case "statusMessage":
			j.StatusMessage, j.TimeOfStatus = "", ""
		case "parentJob":
			j.Parent = ""
		case "nestedJobs":
			j.Nested = nil
		}
	}
}
