package cimi

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"weir/jobs"
)

// A Client is a program's side of a server's job resources, SlipStream's or
// weir's. It logs in when it must. It is safe for concurrent use.
type Client struct {
	base, user, password string
	http                 *http.Client
	attempts             atomic.Bool // the server counts them, as weir does
}

var _ jobs.API = (*Client)(nil)

// ClientOptions of a Client.
type ClientOptions struct {
	URL            string // such as https://nuv.la
	User, Password string // of a session; without a user none is made
	Insecure       bool   // accepts any certificate
}

// requestTime bounds a request, as it does with SlipStream's client.
const requestTime = 2 * time.Minute

// maxIdle is how many connections are kept for the next request: each thread of
// an executor has one.
const maxIdle = 100

// NewClient makes a client.
func NewClient(o ClientOptions) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("cimi: %q is no URL of a server: write http://HOST:PORT", o.URL)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = maxIdle
	if o.Insecure {
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
	return &Client{base: strings.TrimRight(o.URL, "/") + "/api/", user: o.User, password: o.Password,
		http: &http.Client{Transport: t, Jar: jar, Timeout: requestTime}}, nil
}

// Login makes a session; it tells whether the server is there and knows the user.
func (c *Client) Login(ctx context.Context) error {
	if c.user == "" {
		return nil
	}
	body := encode(map[string]any{"sessionTemplate": map[string]string{"href": "session-template/internal", "username": c.user, "password": c.password}})
	status, answer, err := c.send(ctx, http.MethodPost, "session", "application/json", body)
	if err != nil {
		return err
	}
	if status != 201 {
		return fmt.Errorf("cimi: log in as %s: %s", c.user, message(status, answer))
	}
	return nil
}

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 256 << 20

func (c *Client) send(ctx context.Context, method, path, contentType string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("cimi: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("cimi: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("cimi: %s %s: %w", method, path, err)
	}
	return resp.StatusCode, answer, nil
}

// do asks, and reads the answer to out.
func (c *Client) do(ctx context.Context, method, path, contentType string, body []byte, out any) error {
	answer, err := c.ask(ctx, method, path, contentType, body)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("cimi: %s %s: the answer is not what it should be: %w", method, path, err)
	}
	return nil
}

// text gives an answer as it is.
func (c *Client) text(ctx context.Context, path string) ([]byte, error) {
	return c.ask(ctx, http.MethodGet, path, "", nil)
}

// ask sends a request, logs in once when it is asked to, and gives the answer.
func (c *Client) ask(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	status, answer, err := c.send(ctx, method, path, contentType, body)
	if err == nil && (status == 401 || status == 403) && c.user != "" {
		if err := c.Login(ctx); err != nil {
			return nil, err
		}
		status, answer, err = c.send(ctx, method, path, contentType, body)
	}
	if err != nil {
		return nil, err
	}
	if status/100 != 2 {
		return nil, fmt.Errorf("cimi: %s %s: %s%w", method, path, message(status, answer), kind(status))
	}
	return answer, nil
}

// A kindError says by errors.Is what a status means.
type kindError struct{ error }

func (k kindError) Error() string { return "" }
func (k kindError) Unwrap() error { return k.error }

func kind(status int) error {
	for s, err := range map[int]error{404: jobs.ErrNotFound, 409: jobs.ErrConflict, 400: jobs.ErrInvalid} {
		if s == status {
			return kindError{err}
		}
	}
	return kindError{}
}

// message takes the server's words from an answer.
func message(status int, answer []byte) string {
	var m struct{ Message string }
	if json.Unmarshal(answer, &m) == nil && m.Message != "" {
		return fmt.Sprintf("%d %s", status, m.Message)
	}
	return fmt.Sprintf("%d %.200s", status, answer)
}

// Get implements jobs.API.
func (c *Client) Get(ctx context.Context, id string) (jobs.Job, error) {
	var answer struct {
		jobs.Job
		Attempt *int `json:"attempt"`
	}
	err := c.do(ctx, http.MethodGet, id, "", nil, &answer)
	if answer.Attempt != nil {
		answer.Job.Attempt = *answer.Attempt
		c.attempts.Store(true)
	}
	return answer.Job, err
}

// Edit implements jobs.API. A server that counts no attempts is not told one.
func (c *Client) Edit(ctx context.Context, id string, change jobs.Change) (jobs.Job, error) {
	if !c.attempts.Load() {
		change.Attempt, change.Executor = nil, "" // SlipStream's server refuses what it does not know
	}
	var j jobs.Job
	err := c.do(ctx, http.MethodPut, id, "application/json", encode(change), &j)
	return j, err
}

// Create makes a job of a JSON object.
func (c *Client) Create(ctx context.Context, body []byte) (id string, err error) {
	var answer struct {
		ID string `json:"resource-id"`
	}
	err = c.do(ctx, http.MethodPost, "job", "application/json", body, &answer)
	return answer.ID, err
}

// Delete forgets a job.
func (c *Client) Delete(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, id, "", nil, nil)
}

// Cancel gives a job up.
func (c *Client) Cancel(ctx context.Context, id string) (jobs.Job, error) {
	var j jobs.Job
	err := c.do(ctx, http.MethodPost, id+"/cancel", "", nil, &j)
	return j, err
}

// Query finds jobs. Fields of the query that are the server's own are ignored.
func (c *Client) Query(ctx context.Context, q jobs.Query) (jobs.Page, error) {
	form := url.Values{}
	for name, list := range map[string][]string{"$filter": q.Filters, "$orderby": q.OrderBy, "$first": {q.First}, "$last": {q.Last}} {
		for _, v := range list {
			if v != "" {
				form.Add(name, v)
			}
		}
	}
	var answer struct {
		Count int        `json:"count"`
		Jobs  []jobs.Job `json:"jobs"`
	}
	err := c.do(ctx, http.MethodPut, "job", "application/x-www-form-urlencoded", []byte(form.Encode()), &answer)
	return jobs.Page{Count: answer.Count, Jobs: answer.Jobs}, err
}
