package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Client speaks to weirs. HTTP must be set.
type Client struct {
	HTTP           *http.Client
	User, Password string // sent when the URL names no user
	Token          string // sent instead, when set
}

// A Refusal is an answer that says no.
type Refusal struct {
	Status int
	Text   string
	Wait   time.Duration // after which a repetition makes sense, if the server said so
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%d %s: %s", r.Status, http.StatusText(r.Status), r.Text)
}

// errMoved: the stream is not as long as it was thought to be.
var errMoved = errors.New("the stream has other bytes than expected")

// errLocal marks an error of the file that is read.
var errLocal = errors.New("the file cannot be read on")

// passing tells whether a repetition may help.
func passing(err error) bool {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Status >= 500 || r.Status == http.StatusRequestTimeout || r.Status == http.StatusTooManyRequests
	}
	return !errors.Is(err, errLocal) && !errors.Is(err, context.Canceled)
}

// A stream is one at a server.
type stream struct {
	c   *Client
	url string
}

// A state is what a stream is: "" for etag where it does not exist.
type state struct {
	length int64
	etag   string
	begin  int64 // of the first byte that was not trimmed
}

// answer does a request; the answer's body is to be closed. What is no 2xx, and
// no status among also, is a Refusal.
func (s stream) answer(ctx context.Context, method, suffix string, body io.Reader, size int64, headers map[string]string, also ...int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+suffix, body)
	if err != nil {
		return nil, errors.Join(errLocal, err)
	}
	if body != nil {
		req.ContentLength = size
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	switch {
	case s.c.Token != "":
		req.Header.Set("Authorization", "Bearer "+s.c.Token)
	case s.c.User != "" && req.URL.User == nil:
		req.SetBasicAuth(s.c.User, s.c.Password)
	}
	resp, err := s.c.HTTP.Do(req)
	if err != nil {
		return nil, plain(err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	for _, status := range also {
		if resp.StatusCode == status {
			return resp, nil
		}
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // what came of it will do
	r := &Refusal{Status: resp.StatusCode, Text: strings.TrimSpace(string(text))}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		r.Wait = time.Duration(n) * time.Second
	}
	if resp.Header.Get("X-Explanation") == "Can only append data" || r.Status == http.StatusPreconditionFailed {
		return nil, errors.Join(errMoved, r)
	}
	return nil, r
}

// plain is an error without the address, which may hold a password.
func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// state asks what the stream is.
func (s stream) state(ctx context.Context) (state, error) {
	resp, err := s.answer(ctx, http.MethodHead, "", nil, 0, nil, http.StatusNotFound)
	if err != nil {
		return state{}, err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return state{}, nil
	}
	begin, _ := strconv.ParseInt(resp.Header.Get("Weir-Begin"), 10, 64) // none is 0
	return state{max(0, resp.ContentLength), resp.Header.Get("ETag"), begin}, nil
}

// A chunk is a range of a stream, with its SHA-256 where the server knows it.
type chunk struct {
	Offset int64  `json:"offset"`
	Length int64  `json:"length"`
	SHA256 string `json:"sha256"`
}

// chunks lists a stream's.
func (s stream) chunks(ctx context.Context) ([]chunk, error) {
	resp, err := s.answer(ctx, http.MethodGet, "/chunks", nil, 0, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var list struct{ Chunks []chunk }
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, fmt.Errorf("the list of chunks: %w", err)
	}
	return list.Chunks, nil
}

// read reads the bytes [from, to).
func (s stream) read(ctx context.Context, from, to int64) (io.ReadCloser, error) {
	resp, err := s.answer(ctx, http.MethodGet, "", nil, 0, map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", from, to-1)})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusPartialContent {
		resp.Body.Close()
		return nil, errMoved
	}
	return resp.Body, nil
}

// A kept is what the server says that it kept.
type kept struct {
	etag, sha256, text string
}

// replace makes n bytes the whole of the stream.
func (s stream) replace(ctx context.Context, body io.Reader, n int64, was state) (kept, error) {
	h := map[string]string{"Expect": "100-continue"}
	switch {
	case n < 0: // from a pipe: nothing was looked at
	case was.etag == "":
		h["If-None-Match"] = "*"
	default:
		h["If-Match"] = was.etag
	}
	return s.send(ctx, body, n, h)
}

// add appends n bytes at an offset, which must be the stream's length.
func (s stream) add(ctx context.Context, body io.Reader, at, n int64, etag string) (kept, error) {
	h := map[string]string{"Expect": "100-continue", "Content-Range": fmt.Sprintf("bytes %d-%d/%d", at, at+n-1, at+n)}
	if etag != "" {
		h["If-Match"] = etag
	}
	return s.send(ctx, body, n, h)
}

func (s stream) send(ctx context.Context, body io.Reader, n int64, h map[string]string) (kept, error) {
	resp, err := s.answer(ctx, http.MethodPut, "", io.NopCloser(body), n, h)
	if err != nil {
		return kept{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return kept{}, fmt.Errorf("the answer broke off: %w", err)
	}
	return kept{resp.Header.Get("ETag"), resp.Header.Get("Weir-SHA256"), string(text)}, nil
}
