package proc

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestLimited(t *testing.T) {
	t.Parallel()
	if got := Limited(0, "a", "b"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q", got)
	}
	command := Limited(77, "/bin/sh", "-c", `grep "Max processes" /proc/self/limits; echo "$0 $1 $2"`, "it's", "$x", "y z")
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	text := string(out)
	if err != nil || !strings.HasSuffix(text, "it's $x y z\n") {
		t.Errorf("%s, %v", text, err)
	}
	if fields := strings.Fields(text); os.Geteuid() == 0 && (fields[2] != "77" || fields[3] != "77") {
		t.Errorf("%s", text)
	}
}
