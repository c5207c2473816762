//go:build linux

package capsule_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/host/capsule/capsuletest"
	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/ledger/event"
)

// program is testdata/program, built once.
var program = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "program-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "program.wasm")
	cmd := exec.Command("go", "build", "-o", path, "./testdata/program")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.New(string(text))
	}
	return os.ReadFile(path)
})

// TestProgram runs a WASI program: its arguments, its three streams, its exit
// codes, what it may run, and what is left of it.
func TestProgram(t *testing.T) {
	module, err := program()
	if err != nil {
		t.Fatal(err)
	}
	w := capsuletest.Open(t, capsuletest.Options{
		Dir: t.TempDir(), Config: policy.DefaultConfig(),
		Run: capsule.RunOptions{Grace: 3 * time.Second},
	})
	run := func(ctx context.Context, g capsule.Grant, stdin io.Reader, args ...string) (code uint32, stdout, stderr string, err error) {
		t.Helper()
		var out, errs strings.Builder
		code, err = w.RunProgram(t, ctx, "Prog.wasm", module, g, capsule.Command{
			Principal: "alice", Args: args, Stdin: stdin, Stdout: &out, Stderr: &errs, CallID: "call-" + args[0],
			Actor: event.Actor{Kind: event.ActorOperator, UID: 1000},
		})
		return code, out.String(), errs.String(), err
	}
	text := strings.Repeat("line\n", 100_000)
	if code, out, errs, err := run(t.Context(), capsule.Grant{}, strings.NewReader(text), "cat"); code != 0 || err != nil || out != text || errs != "500000 <nil> [] []\n" {
		t.Errorf("cat: %d, %v; %d bytes, %q", code, err, len(out), errs)
	}
	if code, out, errs, err := run(t.Context(), capsule.Grant{}, nil, "cat", "a b"); code != 3 || err != nil || out != "" || errs != "0 <nil> [a b] []\n" {
		t.Errorf("cat with an argument: %d, %v; %q, %q", code, err, out, errs)
	}
	if code, out, _, err := run(t.Context(), capsule.Grant{}, nil, "spawn", "echo", "hi"); code != 4 || err != nil || !strings.Contains(out, "capability-denied") {
		t.Errorf("spawn without a grant: %d, %v; %q", code, err, out)
	}
	echo := capsule.Grant{HostProcess: []string{"echo", "sleep"}}
	if code, out, _, err := run(t.Context(), echo, nil, "spawn", "echo", "hi"); code != 0 || err != nil || out != "hi\n" {
		t.Errorf("spawn: %d, %v; %q", code, err, out)
	}
	if code, _, _, err := run(t.Context(), echo, nil, "leave"); code != 0 || err != nil {
		t.Errorf("leave: %d, %v", code, err)
	}
	if n := w.Live.Snapshot().LivePrincipal("alice").Background; n != 0 {
		t.Errorf("%d processes outlive their program", n)
	}
	if code, _, errs, err := run(t.Context(), capsule.Grant{}, nil, "panic"); code != 2 || err != nil || !strings.Contains(errs, "the program gives up") {
		t.Errorf("panic: %d, %v; %q", code, err, errs)
	}
	for _, what := range []string{"spin", "sleep"} {
		var call *capsule.CallError
		if _, _, _, err := run(onceItRuns(t, w), capsule.Grant{}, nil, what); !errors.As(err, &call) || call.Outcome != capsule.OutcomeCancelled {
			t.Errorf("%s: %v", what, err)
		}
	}
	hangs, hold := io.Pipe()
	defer hold.Close()
	if code, _, errs, err := run(onceItRuns(t, w), capsule.Grant{}, hangs, "cat"); code != 0 || err != nil || errs != "0 <nil> [] []\n" {
		t.Errorf("a cancelled program that reads: %d, %v; %q", code, err, errs)
	}
	var ends []string
	for _, e := range w.Events(t, event.KindInvocationFinished) {
		b := e.Body.(*event.InvocationFinished)
		ends = append(ends, b.Outcome+" "+b.Returned)
	}
	want := "ok exit code 0,error exit code 3,error exit code 4,ok exit code 0,ok exit code 0,error exit code 2,cancelled ,cancelled ,cancelled exit code 0"
	if got := strings.Join(ends, ","); got != want {
		t.Errorf("the ledger says %s, want %s", got, want)
	}
}

// stalled is a stream that nobody reads until it is cut.
type stalled struct {
	writes chan struct{} // closed when a write blocks
	once   sync.Once
	cut    chan struct{}
}

func (s *stalled) Write([]byte) (int, error) {
	s.once.Do(func() { close(s.writes) })
	<-s.cut
	return 0, io.ErrClosedPipe
}

func (s *stalled) Cut() { close(s.cut) }

// TestProgramWithoutReader: the end of the daemon does not wait for whoever has
// stopped reading what a program prints.
func TestProgramWithoutReader(t *testing.T) {
	module, err := program()
	if err != nil {
		t.Fatal(err)
	}
	w := capsuletest.Open(t, capsuletest.Options{
		Dir: t.TempDir(), Config: policy.DefaultConfig(),
		Run: capsule.RunOptions{Grace: 100 * time.Millisecond},
	})
	out := &stalled{writes: make(chan struct{}), cut: make(chan struct{})}
	ended := make(chan error, 1)
	go func() {
		_, err := w.RunProgram(t, t.Context(), "Prog.wasm", module, capsule.Grant{}, capsule.Command{
			Principal: "alice", Args: []string{"cat"}, Stdin: strings.NewReader("text"), Stdout: out, CallID: "c",
		})
		ended <- err
	}()
	<-out.writes
	closed := make(chan struct{})
	go func() {
		w.Runner.Close(context.Background())
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Fatal("the end waits for the write")
	}
	var call *capsule.CallError
	if err := <-ended; !errors.As(err, &call) || call.Outcome != capsule.OutcomeCancelled {
		t.Error(err)
	}
}

// onceItRuns returns a context that ends when an invocation has begun and had a
// moment to get somewhere.
func onceItRuns(t *testing.T, w *capsuletest.World) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		until("a program runs", func() bool { return len(w.Live.Snapshot().Invocations()) > 0 })
		time.AfterFunc(100*time.Millisecond, cancel)
	}()
	return ctx
}

// TestNoProgram: what cannot be run is refused with why.
func TestNoProgram(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "run-taken", honest())
	s, err := capsule.Load(t.Context(), capsule.LoadOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	for name, c := range map[string]struct {
		module []byte
		want   string
	}{
		"taken": {honest(), `an installed capsule is called "run-taken"`},
		"hook":  {honest(), "exports no _start"},
		"text":  {[]byte("#!/bin/sh"), "is a script"},
	} {
		if _, err := s.Program(t.Context(), name, c.module, capsule.Grant{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
