package main

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

// TestStartStopStart holds what two ordinary runs leave in the ledger.
func TestStartStopStart(t *testing.T) {
	s := newSite(t)
	first := s.Start(t)
	if st := first.Ready(t); len(st.Problems) > 0 || st.Data != s.Data || st.Config != s.Config {
		t.Errorf("status: %+v", st)
	}
	first.Stop(t)
	if _, err := os.Lstat(s.Client.Socket()); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	s.Configure(t, `[quotas]`, `max_sync_processes = 2`)
	second := s.Start(t)
	second.Ready(t)
	if n := len(events[*event.DaemonStarted](t, s, event.KindDaemonStarted)); n != 2 {
		t.Errorf("%d daemon.started", n)
	}
	if stops := events[*event.DaemonStopped](t, s, event.KindDaemonStopped); len(stops) != 1 || stops[0].Reason != "signal: terminated" {
		t.Errorf("daemon.stopped: %+v", stops)
	}
	policies := events[*event.PolicyChanged](t, s, event.KindPolicyChanged)
	if len(policies) != 2 || !strings.Contains(policies[1].Text, "max_sync_processes = 2") {
		t.Errorf("policy.changed: %+v", policies)
	}
	second.Stop(t)
	third := s.Start(t)
	third.Ready(t)
	if n := len(events[*event.PolicyChanged](t, s, event.KindPolicyChanged)); n != 2 {
		t.Errorf("the same policy is recorded again: %d", n)
	}
	third.Stop(t)
}

// TestOneDaemonADirectory holds that the second fails at once and says why, and
// leaves the first alone.
func TestOneDaemonADirectory(t *testing.T) {
	s := newSite(t)
	first := s.Start(t)
	pid := first.Ready(t).PID
	second := s.Start(t)
	if code := second.Wait(t); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if log := second.Tail(); !strings.Contains(log, "is in use by astridd") || !strings.Contains(log, "pid "+strconv.Itoa(pid)) {
		t.Errorf("it says:\n%s", log)
	}
	first.Ready(t)
	first.Stop(t)
}

// TestSocketOfAKilledDaemon holds that it is no obstacle.
func TestSocketOfAKilledDaemon(t *testing.T) {
	s := newSite(t)
	first := s.Start(t)
	first.Ready(t)
	first.Kill(t)
	if _, err := os.Lstat(s.Client.Socket()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client.Status(t.Context()); control.ExitCode(err) != 4 {
		t.Errorf("a dead daemon's socket: %v", err)
	}
	second := s.Start(t)
	second.Ready(t)
	second.Stop(t)
}

// TestSocketInUse holds that neither a served socket nor a file is removed.
func TestSocketInUse(t *testing.T) {
	s := newSite(t)
	path := filepath.Join(s.Dir, "busy")
	s.Configure(t, `socket = "`+path+`"`)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	busy := s.Start(t)
	if code := busy.Wait(t); code != 1 || !strings.Contains(busy.Tail(), "another process serves it") {
		t.Errorf("code %d:\n%s", code, busy.Tail())
	}
	l.Close()
	write(t, path, "precious")
	file := s.Start(t)
	if code := file.Wait(t); code != 1 || !strings.Contains(file.Tail(), "is no socket") {
		t.Errorf("code %d:\n%s", code, file.Tail())
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Error("the file is gone")
	}
	s.Configure(t, `socket = "`+s.Dir+`/no/such/dir/s"`)
	none := s.Start(t)
	if code := none.Wait(t); code != 1 || !strings.Contains(none.Tail(), "make the directory") {
		t.Errorf("code %d:\n%s", code, none.Tail())
	}
}

// TestPermissions holds who may enter.
func TestPermissions(t *testing.T) {
	s := newSite(t)
	d := s.Start(t)
	d.Ready(t)
	for path, want := range map[string]os.FileMode{
		"": 0o700, "control.sock": 0o600, "lock": 0o600, "keys": 0o700, "keys/redaction": 0o600, "keys/process-ids": 0o600,
	} {
		info, err := os.Lstat(filepath.Join(s.Data, path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want %v", path, info.Mode(), err, want)
		}
	}
	before, _ := os.ReadFile(filepath.Join(s.Data, "keys/redaction"))
	d.Stop(t)
	s.Configure(t, `operators = [12345]`)
	d = s.Start(t)
	d.Ready(t)
	if info, err := os.Lstat(s.Client.Socket()); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("with operators: %v, %v", info.Mode(), err)
	}
	if after, _ := os.ReadFile(filepath.Join(s.Data, "keys/redaction")); string(after) != string(before) || len(after) != 65 {
		t.Errorf("the key is %q, was %q", after, before)
	}
	d.Stop(t)
}

// TestDamagedKeyIsNotReplaced holds that a key is never made anew over one that
// was there: old digests would not compare any more.
func TestDamagedKeyIsNotReplaced(t *testing.T) {
	s := newSite(t)
	d := s.Start(t)
	d.Ready(t)
	d.Stop(t)
	write(t, filepath.Join(s.Data, "keys/redaction"), "abc\n")
	d = s.Start(t)
	if code := d.Wait(t); code != 1 || !strings.Contains(d.Tail(), "does not hold 32 bytes in hex") {
		t.Errorf("code %d:\n%s", code, d.Tail())
	}
}

// TestTwoSignals holds that a second signal at any time is as safe as one.
func TestTwoSignals(t *testing.T) {
	s := newSite(t)
	for i := range 5 {
		d := s.Start(t)
		if i > 0 {
			d.Ready(t)
		}
		daemontest.Eventually(t, "the socket is open", func() bool { _, err := s.Client.Status(t.Context()); return err == nil })
		d.Signal(t, syscall.SIGTERM)
		time.Sleep(time.Duration(i) * time.Millisecond) // no luck is needed: any time will do
		_ = d.Cmd.Process.Signal(syscall.SIGINT)
		if code := d.Wait(t); code != 0 {
			t.Fatalf("run %d: code %d:\n%s", i, code, d.Tail())
		}
	}
}
