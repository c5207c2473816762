//go:build linux

package daemontest

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/astrid-os/processledger/internal/control"
)

//go:embed testdata/driver/Capsule.toml
var driverManifest string

// WithDriver has the site begin as one on which a daemon ran once, with the
// tests' capsule and its compiled form.
func (s *Site) WithDriver(t testing.TB) {
	t.Helper()
	if err := copyTree(Template(t), s.Data); err != nil {
		t.Fatal(err)
	}
}

// copyTree copies a directory. The files that nobody writes, which are the
// large ones, are linked.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(from, path)
		dest := filepath.Join(to, name)
		switch {
		case d.IsDir():
			return os.Mkdir(dest, 0o700)
		case strings.HasPrefix(name, "cache/") || strings.HasSuffix(name, ".wasm"):
			return os.Link(path, dest)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(dest, b, 0o600)
	})
}

var templateMu sync.Mutex // held while the first test makes the template

// Template is the data directory that WithDriver copies.
func Template(t testing.TB) string {
	t.Helper()
	templateMu.Lock()
	defer templateMu.Unlock()
	bin, err := Binaries()
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
	s := NewSite(t)
	dir := filepath.Join(s.Data, "capsules", "driver")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	CopyFile(t, module, filepath.Join(dir, "driver.wasm"))
	WriteFile(t, filepath.Join(dir, "Capsule.toml"), driverManifest)
	d := s.Start(t)
	d.Ready(t)
	d.Stop(t)
	if err := os.Rename(s.Data, kept); err != nil {
		t.Fatal(err)
	}
	return kept
}

// CopyFile copies a file; the copy is 0600.
func CopyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Step is one call that the driver makes; see testdata/driver, which has the
// same type, for what each does.
type Step struct {
	Op      string   `json:"op"`
	Name    string   `json:"name,omitempty"`
	Cmd     string   `json:"cmd,omitempty"`
	Args    []string `json:"args,omitempty"`
	Witness string   `json:"witness,omitempty"`
	Signal  uint8    `json:"signal,omitempty"`
	MS      int64    `json:"ms,omitempty"`
	Text    string   `json:"text,omitempty"`
	Cursor  string   `json:"cursor,omitempty"`

	LifetimeMS  int64 `json:"lifetime_ms,omitempty"`
	IdleMS      int64 `json:"idle_ms,omitempty"`
	RetentionMS int64 `json:"retention_ms,omitempty"`
	Pressure    bool  `json:"pressure,omitempty"`
}

// Outcome is what a step came to.
type Outcome struct {
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
// second argument of a Lasting one is the file that lets it end.
const (
	Quick   = `echo start >>"$WITNESS/$0"; echo end >>"$WITNESS/$0"`
	Lasting = `trap 'echo told >>"$WITNESS/$0"; exit 9' INT TERM
echo start >>"$WITNESS/$0"
while [ ! -e "$WITNESS/$1" ]; do sleep 0.02; done
echo end >>"$WITNESS/$0"`
)

// Program is a step that runs one.
func (s *Site) Program(op, name, script string) Step {
	return Step{
		Op: op, Name: name, Cmd: "sh", Args: []string{"-c", script, "nonce-" + name, "gate-" + name}, Witness: s.Witness(),
	}
}

// Witness is the directory in which programs note what they did.
func (s *Site) Witness() string { return filepath.Join(s.Dir, "witness") }

// Release lets a Lasting program end by itself.
func (s *Site) Release(t testing.TB, name string) {
	t.Helper()
	WriteFile(t, filepath.Join(s.Witness(), "gate-"+name), "")
}

// Wrote tells whether the program noted that.
func (s *Site) Wrote(name, line string) bool {
	b, _ := os.ReadFile(filepath.Join(s.Witness(), "nonce-"+name))
	return slices.Contains(strings.Split(string(b), "\n"), line)
}

// Drive has the driver take the steps.
func (s *Site) Drive(ctx context.Context, principal, call string, steps ...Step) ([]Outcome, error) {
	return s.DriveCapsule(ctx, "driver", principal, call, steps...)
}

// DriveCapsule is Drive for the driver under another capsule's name.
func (s *Site) DriveCapsule(ctx context.Context, capsule, principal, call string, steps ...Step) ([]Outcome, error) {
	payload, err := json.Marshal(steps)
	if err != nil {
		return nil, err
	}
	a, err := s.Client.Invoke(ctx, &control.Invocation{
		Principal: principal, Capsule: capsule, Action: "run", Payload: payload, CallID: call,
	})
	if err != nil {
		return nil, err
	}
	if a.Data == nil {
		return nil, errors.New("the driver gave no data")
	}
	var out []Outcome
	err = json.Unmarshal([]byte(*a.Data), &out)
	return out, err
}
