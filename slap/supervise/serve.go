package supervise

import (
	"context"
	"errors"
	"log/slog"
)

// Options of a supervisor.
type Options struct {
	// Dir is a folder of its own, 0700: socket, records, pipes.
	Dir string
	// Exec is the command line that ends in a call of Exec: how a program's
	// process is made. It is run as the supervisor's user.
	Exec []string
	Log  *slog.Logger
}

// Serve runs a supervisor until the context ends or a client asks for
// Shutdown; then it stops all programs. ErrTaken: one runs already.
func Serve(ctx context.Context, o Options) error {
	return errors.ErrUnsupported
}

// Exec becomes a program: it waits until the supervisor has written down the
// process that it is, takes on limits and user, and executes the command. It
// returns only when it cannot; the supervisor was told why.
func Exec() error {
	return errors.ErrUnsupported
}
