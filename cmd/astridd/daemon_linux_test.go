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
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/ledger/event"
)

// events asks the daemon for the bodies of one kind.
func events[B event.Body](t *testing.T, s *site, kind event.Kind) (out []B) {
	t.Helper()
	stream, err := s.client.Events(t.Context(), &control.EventsQuery{Filter: query.Filter{Kinds: []event.Kind{kind}}})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for e, err := range stream.All() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e.Body.(B))
	}
	return out
}

// TestStartStopStart holds what two ordinary runs leave in the ledger.
func TestStartStopStart(t *testing.T) {
	s := newSite(t)
	first := s.start(t)
	if st := first.ready(t); len(st.Problems) > 0 || st.Data != s.data || st.Config != s.config {
		t.Errorf("status: %+v", st)
	}
	first.stop(t)
	if _, err := os.Lstat(s.client.Socket()); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	s.configure(t, `[quotas]`, `max_sync_processes = 2`)
	second := s.start(t)
	second.ready(t)
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
	second.stop(t)
	third := s.start(t)
	third.ready(t)
	if n := len(events[*event.PolicyChanged](t, s, event.KindPolicyChanged)); n != 2 {
		t.Errorf("the same policy is recorded again: %d", n)
	}
	third.stop(t)
}

// TestOneDaemonADirectory holds that the second fails at once and says why, and
// leaves the first alone.
func TestOneDaemonADirectory(t *testing.T) {
	s := newSite(t)
	first := s.start(t)
	pid := first.ready(t).PID
	second := s.start(t)
	if code := second.wait(t); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if log := second.tail(); !strings.Contains(log, "is in use by astridd") || !strings.Contains(log, "pid "+strconv.Itoa(pid)) {
		t.Errorf("it says:\n%s", log)
	}
	first.ready(t)
	first.stop(t)
}

// TestSocketOfAKilledDaemon holds that it is no obstacle.
func TestSocketOfAKilledDaemon(t *testing.T) {
	s := newSite(t)
	first := s.start(t)
	first.ready(t)
	first.kill(t)
	if _, err := os.Lstat(s.client.Socket()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Status(t.Context()); control.ExitCode(err) != 4 {
		t.Errorf("a dead daemon's socket: %v", err)
	}
	second := s.start(t)
	second.ready(t)
	second.stop(t)
}

// TestSocketInUse holds that neither a served socket nor a file is removed.
func TestSocketInUse(t *testing.T) {
	s := newSite(t)
	path := filepath.Join(s.dir, "busy")
	s.configure(t, `socket = "`+path+`"`)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	busy := s.start(t)
	if code := busy.wait(t); code != 1 || !strings.Contains(busy.tail(), "another process serves it") {
		t.Errorf("code %d:\n%s", code, busy.tail())
	}
	l.Close()
	write(t, path, "precious")
	file := s.start(t)
	if code := file.wait(t); code != 1 || !strings.Contains(file.tail(), "is no socket") {
		t.Errorf("code %d:\n%s", code, file.tail())
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Error("the file is gone")
	}
	s.configure(t, `socket = "`+s.dir+`/no/such/dir/s"`)
	none := s.start(t)
	if code := none.wait(t); code != 1 || !strings.Contains(none.tail(), "make the directory") {
		t.Errorf("code %d:\n%s", code, none.tail())
	}
}

// TestPermissions holds who may enter.
func TestPermissions(t *testing.T) {
	s := newSite(t)
	d := s.start(t)
	d.ready(t)
	for path, want := range map[string]os.FileMode{
		"": 0o700, "control.sock": 0o600, "lock": 0o600, "keys": 0o700, "keys/redaction": 0o600, "keys/process-ids": 0o600,
	} {
		info, err := os.Lstat(filepath.Join(s.data, path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want %v", path, info.Mode(), err, want)
		}
	}
	before, _ := os.ReadFile(filepath.Join(s.data, "keys/redaction"))
	d.stop(t)
	s.configure(t, `operators = [12345]`)
	d = s.start(t)
	d.ready(t)
	if info, err := os.Lstat(s.client.Socket()); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("with operators: %v, %v", info.Mode(), err)
	}
	if after, _ := os.ReadFile(filepath.Join(s.data, "keys/redaction")); string(after) != string(before) || len(after) != 65 {
		t.Errorf("the key is %q, was %q", after, before)
	}
	d.stop(t)
}

// TestDamagedKeyIsNotReplaced holds that a key is never made anew over one that
// was there: old digests would not compare any more.
func TestDamagedKeyIsNotReplaced(t *testing.T) {
	s := newSite(t)
	d := s.start(t)
	d.ready(t)
	d.stop(t)
	write(t, filepath.Join(s.data, "keys/redaction"), "abc\n")
	d = s.start(t)
	if code := d.wait(t); code != 1 || !strings.Contains(d.tail(), "does not hold 32 bytes in hex") {
		t.Errorf("code %d:\n%s", code, d.tail())
	}
}

// TestTwoSignals holds that a second signal at any time is as safe as one.
func TestTwoSignals(t *testing.T) {
	s := newSite(t)
	for i := range 5 {
		d := s.start(t)
		if i > 0 {
			d.ready(t)
		}
		eventually(t, "the socket is open", func() bool { _, err := s.client.Status(t.Context()); return err == nil })
		d.signal(t, syscall.SIGTERM)
		time.Sleep(time.Duration(i) * time.Millisecond) // no luck is needed: any time will do
		_ = d.cmd.Process.Signal(syscall.SIGINT)
		if code := d.wait(t); code != 0 {
			t.Fatalf("run %d: code %d:\n%s", i, code, d.tail())
		}
	}
}
