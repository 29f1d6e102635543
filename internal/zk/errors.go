package zk

import (
	"errors"
	"fmt"
)

// Errors that callers test for.
var (
	// ErrNoNode: there is no such node.
	ErrNoNode = errors.New("zk: there is no such node")
	// ErrNodeExists: there is such a node already.
	ErrNodeExists = errors.New("zk: the node is there already")
	// ErrNotEmpty: the node has children.
	ErrNotEmpty = errors.New("zk: the node has children")
	// ErrUnanswered: the connection ended before the answer, or the server was
	// at a loss. It is open what was done.
	ErrUnanswered = errors.New("zk: no answer, so that it is open what was done")
	// ErrOver: the session is over; what it held is gone, or will be.
	ErrOver = errors.New("zk: the session is over")
	// ErrLease: no answer came for two thirds of the session's timeout.
	ErrLease = errors.New("zk: no answer within the lease")
)

// Codes of errors. Those above codeAPI are the server's own troubles.
const (
	codeAPI        = -100
	codeNoNode     = -101
	codeNodeExists = -110
	codeNotEmpty   = -111
	codeExpired    = -112
	codeMoved      = -118
)

// kindOf gives the error of a code.
func kindOf(code int32) error {
	switch {
	case code == 0:
		return nil
	case code == codeNoNode:
		return ErrNoNode
	case code == codeNodeExists:
		return ErrNodeExists
	case code == codeNotEmpty:
		return ErrNotEmpty
	case code == codeExpired:
		return ErrOver
	case code > codeAPI || code == codeMoved:
		return fmt.Errorf("%w: the server's error %d", ErrUnanswered, code)
	}
	return fmt.Errorf("zk: the server refuses with error %d", code)
}
