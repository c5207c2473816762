//go:build linux

package daemontest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
)

// Daemon is a run of astridd.
type Daemon struct {
	Site *Site
	Cmd  *exec.Cmd
	Log  string        // path of what it wrote on stderr
	Done chan struct{} // closed once it has ended
	Err  error         // of the wait for it, once Done is closed
}

// Start starts astridd with more environment; it does not wait until it is
// ready. It is killed at the end of the test, at the latest.
func (s *Site) Start(t testing.TB, env ...string) *Daemon {
	t.Helper()
	cmd := exec.Command(filepath.Join(s.Bin, "astridd"), "--config", s.Config)
	cmd.Env = append(os.Environ(), env...)
	return s.StartCommand(t, cmd)
}

// StartCommand is start for a command that becomes astridd.
func (s *Site) StartCommand(t testing.TB, cmd *exec.Cmd) *Daemon {
	t.Helper()
	log, err := os.CreateTemp(s.Dir, "log-")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d := &Daemon{Site: s, Cmd: cmd, Log: log.Name(), Done: make(chan struct{})}
	d.Cmd.Stdout, d.Cmd.Stderr = log, log
	if err := d.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.Err = d.Cmd.Wait(); close(d.Done) }()
	t.Cleanup(func() {
		d.Kill(t)
		if t.Failed() {
			t.Logf("log of astridd %d:\n%s", d.Cmd.Process.Pid, d.Tail())
		}
	})
	return d
}

// Ready waits until the daemon is.
func (d *Daemon) Ready(t testing.TB) *control.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	go func() { // a daemon that died will not become ready
		select {
		case <-d.Done:
			cancel()
		case <-ctx.Done():
		}
	}()
	s, err := d.Site.Client.WaitReady(ctx)
	if err != nil {
		t.Fatalf("the daemon is not ready: %v\n%s", err, d.Tail())
	}
	return s
}

// Kill has the daemon gone at once, if it is not.
func (d *Daemon) Kill(t testing.TB) {
	t.Helper()
	select {
	case <-d.Done:
		return
	default:
	}
	_ = d.Cmd.Process.Kill()
	d.Wait(t)
}

// Signal sends a signal.
func (d *Daemon) Signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := d.Cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// Stop stops the daemon in order and expects exit code 0.
func (d *Daemon) Stop(t testing.TB) {
	t.Helper()
	d.Signal(t, syscall.SIGTERM)
	if code := d.Wait(t); code != 0 {
		t.Errorf("astridd left with %d after TERM:\n%s", code, d.Tail())
	}
}

// Wait waits for the end of the daemon and returns its exit code, −1 after a
// signal.
func (d *Daemon) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-d.Done:
		return d.Cmd.ProcessState.ExitCode()
	case <-time.After(Patience):
		t.Fatalf("astridd %d does not end:\n%s", d.Cmd.Process.Pid, d.Tail())
		return 0
	}
}

// DiedByKill tells whether the daemon ended by SIGKILL.
func (d *Daemon) DiedByKill() bool {
	var exit *exec.ExitError
	if !errors.As(d.Err, &exit) {
		return false
	}
	ws, ok := exit.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// Tail is the end of the daemon's log.
func (d *Daemon) Tail() string {
	b, _ := os.ReadFile(d.Log)
	return string(b[max(0, len(b)-8000):])
}
