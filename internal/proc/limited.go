package proc

import (
	"os"
	"strconv"
)

// limiting is run by the shells of the systems that there are: the one of
// Debian has the option p for processes, bash u.
const limiting = `ulimit -u "$0" 2>/dev/null || ulimit -p "$0" 2>/dev/null; exec "$@"`

// Limited gives the command that runs another with so many processes of its
// user at most, threads counted. Root is not limited by that, and a user who
// runs other things than this would be hindered: 0, and a caller who is not
// root, give the command itself.
func Limited(processes int64, command ...string) []string {
	if processes <= 0 || os.Geteuid() != 0 {
		return command
	}
	return append([]string{"/bin/sh", "-c", limiting, strconv.FormatInt(processes, 10)}, command...)
}
