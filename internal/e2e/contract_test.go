package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestContract has schemathesis ask what it likes, as the served contract
// allows and as it does not: there is never a 500, and every answer's status,
// type and form are told. WEIR_CONTRACT_EXAMPLES asks for more than a few of
// each operation.
//
// Two of its checks are left out: a contract cannot tell by types that a stream
// does not exist, a range lies outside, or a key was used before, which is what
// positive_data_acceptance would need; and what a header or a query has beside
// what is read is nothing to refuse, as negative_data_rejection asks.
func TestContract(t *testing.T) {
	t.Parallel()
	python := registryPeer(t, "WEIR_PYTHON_CONTRACT", "Python with schemathesis")
	w := start(t, acceptance()...)
	w.put("numbers.some", []byte("1\n2\n3\n"))
	w.awaitRows("numbers.some", "value", 3)
	examples := os.Getenv("WEIR_CONTRACT_EXAMPLES")
	if examples == "" {
		examples = "2"
	}
	// One worker: with more, Python 3.11 fails now and then in its own parser.
	config, err := filepath.Abs("testdata/schemathesis.toml")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(filepath.Dir(python), "st"), "--config-file", config, "run", w.url("/openapi.json"),
		"--phases", "examples,coverage,fuzzing", "--max-examples", examples, "--seed", "1", "--no-shrink", "--workers", "1",
		"--request-timeout", "10", "--continue-on-failure", "--generation-database", "none", "--no-color",
		"--exclude-checks", "positive_data_acceptance,negative_data_rejection")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Dir(config), "SCHEMATHESIS_HOOKS=contract_hooks")
	out, err := cmd.CombinedOutput()
	tested := regexp.MustCompile(`Tested: ([0-9]+)`).FindSubmatch(out)
	if err != nil || tested == nil || len(tested[1]) < 2 {
		t.Errorf("schemathesis: %v\n%s", err, out)
	}
	if w.status("/health") != 200 {
		t.Error("it does not answer any more")
	}
}
