package httpapi

import (
	"strings"

	"github.com/valyala/fasthttp"
)

// A route is one kind of request.
type route struct {
	name  string // in metrics
	takes bool   // it takes data, so that a refusal loses some
	serve func(*request) error
	open  bool // to everybody, whatever their rights
	// policies names those whose data is asked for. Where a request is not
	// about some, it is not for users who are bounded to some.
	policies func(*request) []string
	// bodyTells says that only the body tells which policies these are; serve
	// asks mayWrite then.
	bodyTells bool
	// reads says that a POST asks for data, too.
	reads bool
	// anyMethod leaves the method to serve.
	anyMethod bool
	// check refuses a body before it is sent; nil refuses none.
	check func(*request) error
}

// The routes.
var (
	routeIngest   = &route{name: "ingest", takes: true, serve: (*request).ingest, check: (*request).checkIngest, policies: (*request).policyOfIngest}
	routeUpload   = &route{name: "upload", takes: true, serve: (*request).upload, check: (*request).checkUpload, policies: (*request).policyOfStream}
	routeStream   = &route{name: "stream", serve: (*request).readStream, policies: (*request).policyOfStream}
	routeChunks   = &route{name: "chunks", serve: (*request).listChunks, policies: (*request).policyOfChunks}
	routeStreams  = &route{name: "streams", serve: (*request).listStreams}
	routeArray    = &route{name: "array", serve: (*request).readArray, policies: (*request).policyOfArray}
	routeArrays   = &route{name: "arrays", serve: (*request).listArrays}
	routeBuckets  = &route{name: "buckets", anyMethod: true, serve: (*request).serveBuckets, policies: (*request).policyOfBuckets}
	routeAPI      = &route{name: "api", serve: (*request).api}
	routeCatalog  = &route{name: "catalog", anyMethod: true, serve: (*request).serveCatalog}
	routeJobs     = &route{name: "jobs", anyMethod: true, serve: (*request).serveJobs}
	routeHealth   = &route{name: "health", open: true, serve: (*request).health}
	routeReady    = &route{name: "ready", open: true, serve: (*request).ready}
	routeMetrics  = &route{name: "metrics", serve: (*request).metrics}
	routeContract = &route{name: "contract", serve: (*request).tellContract}
	routePage     = &route{name: "page", serve: (*request).page}
	// Calls of the data lake, of which those that change it need the right to.
	routeLake       = &route{name: "lake", anyMethod: true, reads: true, serve: (*request).serveLake, policies: (*request).policyOfLake}
	routeLakeChange = &route{name: "lake-change", takes: true, serve: (*request).serveLake, policies: (*request).policyOfLake}
	routeLakeFiles  = &route{name: "lake-files", serve: (*request).lakeFiles, policies: (*request).policyOfLake}
	// Radios tell that they will send.
	routeRegister = &route{name: "register", takes: true, serve: (*request).register, policies: (*request).policyOfRegister}
	// Ways in for collectors of metrics.
	routeCollect     = &route{name: "collect", takes: true, serve: (*request).collect, bodyTells: true}
	routeInfluxPing  = &route{name: "influx-ping", open: true, serve: (*request).influxPing}
	routeInfluxQuery = &route{name: "influx-query", takes: true, serve: (*request).influxQuery, bodyTells: true}
	routeNone        = &route{name: "none", serve: (*request).notFound, check: (*request).notFound}
)

// allRoutes lists them for the counters.
func allRoutes() []*route {
	return []*route{routeIngest, routeUpload, routeStream, routeChunks, routeStreams, routeArray, routeArrays,
		routeBuckets, routeAPI, routeCatalog, routeJobs, routeHealth, routeReady, routeMetrics, routeContract, routePage, routeLake, routeLakeChange, routeLakeFiles,
		routeRegister, routeCollect, routeInfluxPing, routeInfluxQuery, routeNone}
}

// routeFor finds the kind of a request by its method and path.
func routeFor(method string, t target) *route {
	if _, ok := t.policy(); ok {
		return routeIngest
	}
	if name, ok := t.under("/streams"); ok {
		return streamRoute(method, name)
	}
	if key, ok := t.under("/arrays"); ok {
		if key == "" {
			return routeArrays
		}
		return routeArray
	}
	if name, ok := t.under(bucketsFolder); ok && name != "" {
		return routeBuckets
	}
	if _, ok := collectors[t.path]; ok {
		return routeCollect
	}
	if t.isJobs() {
		return routeJobs
	}
	if t.isRegister() {
		return routeRegister
	}
	if found := lakeRoute(method, t); found != nil {
		return found
	}
	if path, ok := t.under("/api"); ok {
		if isCatalog(path) {
			return routeCatalog
		}
		return routeAPI
	}
	switch t.path {
	case "/health":
		return routeHealth
	case "/ready":
		return routeReady
	case "/metrics":
		return routeMetrics
	case "/openapi.json":
		return routeContract
	case "/ping":
		return routeInfluxPing
	case "/query":
		return routeInfluxQuery
	}
	if _, ok := pageFiles[t.path]; ok {
		return routePage
	}
	return routeNone
}

func streamRoute(method, name string) *route {
	switch {
	case name == "":
		return routeStreams
	case method == fasthttp.MethodPut || method == fasthttp.MethodPost:
		return routeUpload
	case strings.HasSuffix(name, chunksSuffix):
		return routeChunks
	default:
		return routeStream
	}
}

// chunksSuffix ends the address of a stream's list of chunks.
const chunksSuffix = "/chunks"

// find sets the request's route and refuses a method that it does not have.
func (r *request) find() error {
	method := string(r.ctx.Method())
	r.route = routeFor(method, r.target)
	if r.route.takes || r.route.anyMethod || r.route == routeNone || method == fasthttp.MethodGet || method == fasthttp.MethodHead {
		return nil
	}
	allow := "GET, HEAD"
	switch {
	case r.route == routeLakeFiles && r.target.isLakeSet():
		allow = "GET, HEAD, POST"
	case r.route == routeStream:
		allow = "GET, HEAD, PUT, POST"
	}
	p := refuse(405, "bad-method", "%s is not possible here; use %s", method, allow)
	p.allow = allow
	return p
}

// expect decides about a body that the client asks leave to send.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	r := s.newRequest(ctx)
	err := r.find()
	if err == nil {
		err = r.authorize()
	}
	if err == nil && r.route.check != nil {
		err = r.route.check(r)
	}
	if err == nil {
		return fasthttp.StatusContinue
	}
	r.fail(err)
	s.count.answer(r.route, ctx.Response.StatusCode())
	return ctx.Response.StatusCode()
}

func (r *request) notFound() error {
	return refuse(404, "not-found", "there is nothing at %s; look at /, /streams/ and /arrays/", r.target.path)
}

const policyFolder = "/portal_ingestion_policies/"

// policy gives the policy, not decoded, of an ingestion address: any prefix,
// then /portal_ingestion_policies/POLICY/ingest, with slashes doubled or not.
func (t target) policy() (string, bool) {
	i := strings.Index(t.path, policyFolder)
	if i < 0 {
		return "", false
	}
	rest := strings.Trim(t.path[i+len(policyFolder):], "/")
	name, ok := strings.CutSuffix(rest, "/ingest")
	if !ok {
		return "", false
	}
	return strings.TrimRight(name, "/"), true
}
