package master

import (
	"errors"
	"fmt"
	"net/http"

	"weir/slap"
	"weir/streams"
)

// A problem is an answer that is no success: its status, and a text that
// names the thing.
type problem struct {
	status int
	text   string
}

func (p *problem) Error() string { return p.text }

// Refuse is an error that is answered with a status and a text that names the
// thing.
func Refuse(status int, text string) error { return &problem{status, text} }

// statusUnreachable is what SLAP says when another master does not answer.
const statusUnreachable = 523

func badRequest(format string, args ...any) error {
	return &problem{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &problem{http.StatusNotFound, fmt.Sprintf(format, args...)}
}

// notReady is "please wait".
func notReady(format string, args ...any) error {
	return &problem{http.StatusRequestTimeout, fmt.Sprintf(format, args...)}
}

// statusOf gives an error's status and text.
func statusOf(err error) (int, string) {
	var p *problem
	switch {
	case errors.As(err, &p):
		return p.status, p.text
	case errors.Is(err, slap.ErrMarshal):
		return http.StatusBadRequest, err.Error()
	case errors.Is(err, streams.ErrNoSpace):
		return http.StatusInsufficientStorage, err.Error()
	case errors.Is(err, streams.ErrUnknown), errors.Is(err, streams.ErrClosed):
		return http.StatusServiceUnavailable, err.Error()
	}
	return http.StatusInternalServerError, err.Error()
}

func isNotFound(err error) bool {
	var p *problem
	return errors.As(err, &p) && p.status == http.StatusNotFound
}
