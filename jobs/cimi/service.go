package cimi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"weir/jobs"
)

// Derived are jobs that are not kept in the store, since they follow from
// something else. They can be read and cancelled, and not edited.
type Derived interface {
	List() []jobs.Job
	Get(id string) (jobs.Job, bool)
	Cancel(id string) (jobs.Job, error)
	Logs(id string, from int64) (jobs.Log, bool)
}

// Options of a Service. Store must be set.
type Options struct {
	Store   *jobs.Store
	Derived Derived // nil has none
	// Users may log in; without any, everybody may do everything.
	Users []User
	// Lender lends entries to executors in other processes; nil lends none.
	Lender *jobs.Lender
	// Local are the executors of this process.
	Local func() []jobs.ExecutorStatus
	// Hosts are those of the ZooKeeper that holds the queue; none is this process.
	Hosts []string
	// Stacks writes what each thread does, with its stack; nil writes nothing.
	Stacks func(io.Writer)
}

// A Service answers requests below /api. It is safe for concurrent use.
type Service struct {
	o        Options
	sessions sessions
}

// NewService makes a service.
func NewService(o Options) *Service { return &Service{o: o, sessions: newSessions(o.Users)} }

// A Request is an HTTP request as a Service needs it.
type Request struct {
	Method      string
	Path        string // below /api/, decoded: job, job/UUID, session, …
	Query       string // still encoded
	ContentType string
	Cookie      string // the header
	Host        string
	Bulk        string // the header: not empty with a request about many jobs
	Body        []byte
}

// A Response is what a Service answers with.
type Response struct {
	Status    int
	Location  string
	SetCookie string
	Allow     string
	Body      []byte // JSON, unless
	Text      bool   // says that it is plain text
}

// A refusal is an answer that says why not.
type refusal struct {
	status  int
	message string
	id      string
	allow   string
}

func (r *refusal) Error() string { return r.message }

// Handles tells whether a path below /api/ is a Service's.
func Handles(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return first == "job" || first == "executor" || first == "session" || first == "cloud-entry-point"
}

// Serve answers a request.
func (s *Service) Serve(ctx context.Context, r Request) Response {
	kebab := r.kebab()
	if kebab && strings.HasPrefix(r.Path, "job") && strings.HasPrefix(r.ContentType, "application/json") && len(r.Body) > 0 {
		r.Body = fromKebab(r.Body)
	}
	answer, err := s.route(ctx, r)
	if err != nil {
		return failure(r, err)
	}
	if kebab && !answer.Text {
		answer.Body = toKebab(answer.Body)
	}
	return answer
}

func (s *Service) route(ctx context.Context, r Request) (Response, error) {
	path := strings.Trim(r.Path, "/")
	first, rest, _ := strings.Cut(path, "/")
	switch {
	case path == "cloud-entry-point":
		return s.entryPoint(r)
	case first == "session":
		return s.session(r, rest)
	}
	who, ok := s.sessions.caller(r.Cookie)
	if !ok {
		return Response{}, &refusal{status: 403, message: "log in first: POST api/session with a user's name and password", id: path}
	}
	if path == "job" {
		return s.collection(ctx, who, r)
	}
	if first == "executor" {
		return s.executors(ctx, who, r, rest)
	}
	return s.resource(ctx, who, r, path)
}

// failure is the answer for an error.
func failure(r Request, err error) Response {
	f := refusal{status: 500, message: err.Error(), id: strings.Trim(r.Path, "/")}
	if own, ok := errors.AsType[*refusal](err); ok {
		f = *own
		if f.id == "" {
			f.id = strings.Trim(r.Path, "/")
		}
	} else {
		for _, c := range []struct {
			err    error
			status int
		}{{jobs.ErrNotFound, 404}, {jobs.ErrInvalid, 400}, {jobs.ErrConflict, 409}, {jobs.ErrLost, 409}, {jobs.ErrClosed, 503}} {
			if errors.Is(err, c.err) {
				f.status = c.status
			}
		}
		if f.status == 500 { // the store could not keep it
			f.status = 503
		}
	}
	return Response{Status: f.status, Allow: f.allow, Body: encode(map[string]any{"status": f.status, "message": f.message, "resource-id": f.id})}
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("cimi: encode: " + err.Error()) // maps and structs of texts and numbers
	}
	return b
}

func done(v any) (Response, error) { return Response{Status: 200, Body: encode(v)}, nil }

// only refuses the methods that are not listed.
func only(r Request, methods ...string) error {
	if slices.Contains(methods, r.Method) {
		return nil
	}
	return &refusal{status: 405, message: fmt.Sprintf("%s is not possible here; use %s", r.Method, strings.Join(methods, ", ")), allow: strings.Join(methods, ", ")}
}

func (s *Service) entryPoint(r Request) (Response, error) {
	if err := only(r, http.MethodGet, http.MethodHead); err != nil {
		return Response{}, err
	}
	href := func(to string) map[string]string { return map[string]string{"href": to} }
	return done(map[string]any{
		"id": "cloud-entry-point", "resourceURI": "http://sixsq.com/slipstream/1/CloudEntryPoint",
		"baseURI": "http://" + r.Host + "/api/", "jobs": href("job"), "sessions": href("session"),
		"executors": href("executor"), "queue": map[string]any{"hosts": append([]string{}, s.o.Hosts...)},
	})
}

// created is the answer for a new resource.
func created(id string) Response {
	return Response{Status: 201, Location: id, Body: encode(map[string]any{"status": 201, "message": id + " created", "resource-id": id})}
}

// jsonBody refuses a body that is not sent as JSON: a page of another site
// could send it.
func jsonBody(r Request) error {
	if strings.HasPrefix(r.ContentType, "application/json") {
		return nil
	}
	return &refusal{status: 415, message: fmt.Sprintf("the body is %q; send application/json", r.ContentType)}
}

// form gives the fields of the query and of a form in the body, by their
// names without "$".
func form(r Request) (url.Values, error) {
	fields := url.Values{}
	texts := []string{r.Query}
	if strings.HasPrefix(r.ContentType, "application/x-www-form-urlencoded") {
		texts = append(texts, string(r.Body))
	}
	for _, text := range texts {
		values, err := url.ParseQuery(text)
		if err != nil {
			return nil, &refusal{status: 400, message: "the query is badly encoded: " + err.Error()}
		}
		for name, list := range values {
			name = strings.TrimPrefix(name, "$")
			fields[name] = append(fields[name], list...)
		}
	}
	return fields, nil
}
