//go:build linux

package worldcheck_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/worldcheck"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// TestEveryFieldIsCompared changes each field of the shim's records in turn.
func TestEveryFieldIsCompared(t *testing.T) {
	for name, change := range map[string]func(*shim.Exit){
		"exit": func(x *shim.Exit) { x.Code++ }, "exit by": func(x *shim.Exit) { x.Signaled, x.Signal = true, 3 },
		"core dump": func(x *shim.Exit) { x.Core = true }, "cause": func(x *shim.Exit) { x.Cause = "kill" },
		"user time": func(x *shim.Exit) { x.UserNano++ }, "system time": func(x *shim.Exit) { x.SystemNano++ }, "memory": func(x *shim.Exit) { x.MaxRSSKiB++ },
		"stdout, bytes": func(x *shim.Exit) { x.Stdout.Bytes++ }, "stdout, SHA-256": func(x *shim.Exit) { x.Stdout.SHA256 = []byte{1} },
		"stdout, dropped": func(x *shim.Exit) { x.Stdout.Dropped++ }, "stderr, bytes": func(x *shim.Exit) { x.Stderr.Bytes++ },
		"rest killed": func(x *shim.Exit) { x.RestKilled++ }, "end by": func(x *shim.Exit) { x.Boot++ }, "end by the ledger and by the record, ns since 1970": func(x *shim.Exit) { x.Wall++ },
	} {
		s := endedScene(t)
		change(s.exit)
		s.record("exit", shim.EncodeExit(s.exit))
		s.expect(name)
	}
	for name, change := range map[string]func(*shim.Started){
		"program, pid": func(x *shim.Started) { x.Program.PID++ }, "program, start time": func(x *shim.Started) { x.Program.StartTicks++ },
		"program, pidfs handle": func(x *shim.Started) { x.Program.PidfsHandle = nil }, "program, PID namespace": func(x *shim.Started) { x.Program.PidNamespace++ },
		"shim, pid": func(x *shim.Started) { x.Shim.PID++ }, "isolation": func(x *shim.Started) { x.Isolation = "none" },
		"executable, path": func(x *shim.Started) { x.Executable.Path = "/bin/true" }, "executable, device": func(x *shim.Started) { x.Executable.Device++ },
		"executable, inode": func(x *shim.Started) { x.Executable.Inode++ }, "executable, SHA-256": func(x *shim.Started) { x.Executable.SHA256 = nil },
		"there is an interpreter": func(x *shim.Started) { x.Interpreter = nil }, "interpreter, inode": func(x *shim.Started) { x.Interpreter.Inode++ },
		"start by": func(x *shim.Started) { x.Boot++ }, "start by the ledger and by the record, ns since 1970": func(x *shim.Started) { x.Wall++ },
	} {
		s := endedScene(t)
		s.records()
		change(s.started)
		s.record("started", shim.EncodeStarted(s.started))
		s.expect(name)
	}
	for name, change := range map[string]func(*shim.Failed){
		"failed step": func(x *shim.Failed) { x.Step = "jail" }, "error number": func(x *shim.Failed) { x.Errno++ }, "detail": func(x *shim.Failed) { x.Detail = "x" },
	} {
		s := newScene(t)
		s.spawn(event.TierPersistent)
		s.add(&event.SpawnFailed{Step: "exec", Errno: 2, Detail: "no such file"})
		f := &shim.Failed{Step: "exec", Errno: 2, Detail: "no such file"}
		s.record("failed", shim.EncodeFailed(f))
		if p := s.look(); len(p) > 0 {
			t.Fatalf("nothing is wrong, and it says %q", p)
		}
		change(f)
		s.record("failed", shim.EncodeFailed(f))
		s.expect(name)
	}
}

// TestACheckerGoesOn: a second look reads only what is new, and what was wrong
// stays so.
func TestACheckerGoesOn(t *testing.T) {
	s := endedScene(t)
	var c worldcheck.Checker
	all := s.ledger.all
	s.ledger.all = all[:2]
	c.CheckWorld(t.Context(), s.world)
	s.ledger.all = all
	if p := c.CheckWorld(t.Context(), s.world); len(p) > 0 {
		t.Errorf("nothing is wrong, and it says %q", p)
	}
	if c.State().Seq() != 4 || c.Lost() != 0 {
		t.Errorf("it has read up to %d, %d lost", c.State().Seq(), c.Lost())
	}
	s.ledger.all = all[:3]
	if p := c.CheckWorld(t.Context(), s.world); !slices.ContainsFunc(p, func(p string) bool { return strings.Contains(p, "held event 4 before") }) {
		t.Errorf("the ledger got shorter, and it says %q", p)
	}
	s.ledger.all = all
	if p := c.CheckWorld(t.Context(), s.world); len(p) == 0 {
		t.Error("it forgot that the ledger had got shorter")
	}
}

// look checks the scene.
func (s *scene) look() []string {
	if s.check != nil {
		return s.check(s.t.Context(), s.world)
	}
	return worldcheck.CheckWorld(s.t.Context(), s.world)
}

// expect looks, and wants something said.
func (s *scene) expect(want string) {
	s.t.Helper()
	problems := s.look()
	if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, want) }) {
		s.t.Errorf("reported are %q, want %q", problems, want)
	}
}

// table has a daemon answer what a replay gives, but for change.
func (s *scene) table(change func(*control.Handle)) {
	at := projector.New()
	for _, e := range s.ledger.all {
		must(s.t, at.Apply(e))
	}
	s.world.Table = control.TableOf(at, true)
	s.world.Status = &control.Status{Usage: control.UsageOf(at), Ledger: control.LedgerStatus{Last: at.Seq()}}
	if p := s.look(); len(p) > 0 {
		s.t.Fatalf("nothing is wrong, and it says %q", p)
	}
	if change != nil {
		change(&s.world.Table.Handles[0])
	}
}

// signalled has the ledger say that INT was sent, long before the end.
func (s *scene) signalled() {
	end := s.ended()
	s.ledger.all = s.ledger.all[:3]
	s.add(&event.SignalRequested{Signal: 2, Target: event.TargetTree, Cause: "signal"})
	s.add(&event.SignalSent{Request: 4, Signal: 2, Delivered: true}, end)
}

// again has ledger and records tell of the identity as it is now.
func (s *scene) again() {
	s.ledger.all[2].Body = s.began()
	s.records()
}

// leave leaves a process behind, and returns its number.
func (s *scene) leave(env, program string) int {
	s.t.Helper()
	cmd := exec.Command(program, "100")
	cmd.Env = []string{env, "PATH=" + os.Getenv("PATH")}
	must(s.t, cmd.Start())
	s.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

// state is the rest of a process's stat from its state on, empty if it is gone.
func (s *scene) state(pid int) string {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, _ := strings.Cut(string(b), ") ")
	return rest[:min(len(rest), 1)]
}

// copyOf copies a program to where its processes can be told from others.
func (s *scene) copyOf(program string) string {
	s.t.Helper()
	from, err := exec.LookPath(program)
	must(s.t, err)
	b, err := os.ReadFile(from)
	must(s.t, err)
	to := filepath.Join(s.t.TempDir(), "astrid-shim")
	must(s.t, os.WriteFile(to, b, 0o755))
	return to
}
