package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/internal/control"
)

// weaker has the tests run without namespaces although the machine has them.
var weaker = flag.Bool("weaker", false, "run in the weaker mode, isolation = \"none\"")

// isolation is the best that this machine allows. Where that is the weaker
// mode, the tests run in it and say so.
var isolation = sync.OnceValues(func() (string, error) {
	if *weaker {
		return act.IsolationNone, nil
	}
	dir, err := binaries()
	if err != nil {
		return "", err
	}
	r, err := act.Probe(filepath.Join(dir, "astrid-shim"))
	if r.Reason != "" {
		fmt.Fprintf(os.Stderr, "the tests of astridd run in the weaker mode: %s\n", r.Reason)
	}
	return r.Isolation, err
})

// driver builds the tests' capsule from source, once, and returns its module.
var driver = sync.OnceValues(func() (string, error) {
	dir, err := binaries()
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "driver.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, "./testdata/driver")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build of the capsule: %w\n%s", err, text)
	}
	return out, nil
})

// withDriver has the site begin as one on which a daemon ran once, with the
// tests' capsule and its compiled form.
func (s *site) withDriver(t *testing.T) {
	t.Helper()
	if err := os.CopyFS(s.data, os.DirFS(template(t))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.data, 0o700); err != nil {
		t.Fatal(err)
	}
}

var templateMu sync.Mutex // held while the first test makes the template

// template is the data directory that withDriver copies.
func template(t *testing.T) string {
	t.Helper()
	templateMu.Lock()
	defer templateMu.Unlock()
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(bin, "template")
	if _, err := os.Stat(kept); err == nil {
		return kept
	}
	module, err := driver()
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	dir := filepath.Join(s.data, "capsules", "driver")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	copyFile(t, module, filepath.Join(dir, "driver.wasm"))
	copyFile(t, "testdata/driver/Capsule.toml", filepath.Join(dir, "Capsule.toml"))
	d := s.start(t)
	d.ready(t)
	d.stop(t)
	if err := os.Rename(s.data, kept); err != nil {
		t.Fatal(err)
	}
	return kept
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// step and outcome are the driver's own; see testdata/driver.
type step struct {
	Op      string   `json:"op"`
	Name    string   `json:"name,omitempty"`
	Cmd     string   `json:"cmd,omitempty"`
	Args    []string `json:"args,omitempty"`
	Witness string   `json:"witness,omitempty"`
	Signal  uint8    `json:"signal,omitempty"`
	MS      int64    `json:"ms,omitempty"`
	Text    string   `json:"text,omitempty"`
	Cursor  string   `json:"cursor,omitempty"`
}

type outcome struct {
	Err    string       `json:"err"`
	Exit   control.Exit `json:"exit"`
	Stdout string       `json:"stdout"`

	Cursor    string `json:"cursor"`
	Dropped   uint64 `json:"dropped"`
	EOF       bool   `json:"eof"`
	Phase     string `json:"phase"`
	StdinOpen bool   `json:"stdin_open"`
	Listed    int    `json:"listed"`
}

// The programs. Each notes its start, and its end if it gets there, in a file
// named by its first argument: a witness that no part of ours has written. The
// second argument of a lasting one is the file that lets it end.
const (
	quick   = `echo start >>"$WITNESS/$0"; echo end >>"$WITNESS/$0"`
	lasting = `trap 'echo told >>"$WITNESS/$0"; exit 9' INT TERM
echo start >>"$WITNESS/$0"
while [ ! -e "$WITNESS/$1" ]; do sleep 0.02; done
echo end >>"$WITNESS/$0"`
)

// program is a step that runs one.
func (s *site) program(op, name, script string) step {
	return step{
		Op: op, Name: name, Cmd: "sh", Args: []string{"-c", script, "nonce-" + name, "gate-" + name}, Witness: s.witness(),
	}
}

// witness is the directory in which programs note what they did.
func (s *site) witness() string { return filepath.Join(s.dir, "witness") }

// release lets a lasting program end by itself.
func (s *site) release(t *testing.T, name string) {
	t.Helper()
	write(t, filepath.Join(s.witness(), "gate-"+name), "")
}

// wrote tells whether the program noted that.
func (s *site) wrote(name, line string) bool {
	b, _ := os.ReadFile(filepath.Join(s.witness(), "nonce-"+name))
	return containsLine(string(b), line)
}

// drive has the driver take the steps.
func (s *site) drive(ctx context.Context, principal, call string, steps ...step) ([]outcome, error) {
	payload, err := json.Marshal(steps)
	if err != nil {
		return nil, err
	}
	a, err := s.client.Invoke(ctx, &control.Invocation{
		Principal: principal, Capsule: "driver", Action: "run", Payload: payload, CallID: call,
	})
	if err != nil {
		return nil, err
	}
	if a.Data == nil {
		return nil, errors.New("the driver gave no data")
	}
	var out []outcome
	err = json.Unmarshal([]byte(*a.Data), &out)
	return out, err
}
