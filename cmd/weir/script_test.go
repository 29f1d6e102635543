package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"weir/internal/server"
)

// code runs a command that must end with an exit code: code 78 weir check x.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command [args]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var e *exec.ExitError
	if errors.As(err, &e) {
		got = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// ready waits for the gateway of a data folder and sets HTTP and FORWARD to
// where it listens.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready FOLDER")
	}
	deadline := time.Now().Add(2 * time.Minute)
	for ; time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(ts.MkAbs(args[0] + "/addresses.json"))
		if err != nil {
			continue
		}
		var at server.Addresses
		if json.Unmarshal(b, &at) != nil || len(at.Forward) == 0 {
			continue
		}
		answer, err := http.Get("http://" + at.HTTP + "/ready")
		if err != nil {
			continue
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			ts.Setenv("HTTP", at.HTTP)
			ts.Setenv("FORWARD", at.Forward[0])
			return
		}
	}
	ts.Fatalf("the gateway did not become ready")
}

// flip changes the first byte of a text in the one file of a folder that
// holds it.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FOLDER TEXT")
	}
	files, err := filepath.Glob(ts.MkAbs(args[0]) + "/*")
	ts.Check(err)
	for _, name := range files {
		b, err := os.ReadFile(name)
		ts.Check(err)
		if at := bytes.Index(b, []byte(args[1])); at >= 0 {
			b[at] ^= 0xff
			ts.Check(os.WriteFile(name, b, 0o644))
			return
		}
	}
	ts.Fatalf("no file in %s holds %q", args[0], args[1])
}
