package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// program is the weir binary under test, built once for the run.
var program string

// root is the folder of the checkout.
var root string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weir-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e: temp folder:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if root, err = filepath.Abs("../.."); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	// buildout builds recipes by pip, which would get setuptools from the network
	// for it, though it is there. pip reads 0 as: no isolation.
	os.Setenv("PIP_NO_BUILD_ISOLATION", "0")
	program = filepath.Join(dir, "weir")
	args, env := []string{"build", "-o", program}, append(os.Environ(), "CGO_ENABLED=0") // as it is delivered
	if os.Getenv("WEIR_RACE") != "" {
		args, env = append(args, "-race"), os.Environ()
	}
	build := exec.Command("go", append(args, "./cmd/weir")...)
	build.Dir, build.Env = root, env
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: building weir: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// registryPeer gives the value of a variable that peers.sh sets, or ends the
// test: skipped, and failed with CI=true since a registry has the program.
func registryPeer(t testing.TB, variable, what string) string {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		missing(t, fmt.Sprintf("%s is not set: no %s here; internal/e2e/peers.sh installs it", variable, what))
	}
	return v
}

// command gives the path of a program, or ends the test as registryPeer does.
func command(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, fmt.Sprintf("no %s on PATH", name))
	}
	return path
}

func missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// shared gives a path in the folder of captured traffic and load generators
// beside the checkout, or skips the test.
func shared(t testing.TB, elem ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{root, "..", "shared"}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("not beside the checkout: shared/%s", filepath.Join(elem...))
	}
	return path
}
