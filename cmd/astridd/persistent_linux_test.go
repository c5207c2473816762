package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/ledger/event"
)

// echoing is a server: it says each line of its input again, and leaves with 7
// once that ends. TERM ends it with 4.
const echoing = `trap 'echo told >>"$WITNESS/$0"; exit 4' TERM
echo start >>"$WITNESS/$0"
echo ready
while read line; do echo "heard $line"; done
echo end >>"$WITNESS/$0"
exit 7`

// one drives a single step that must not fail.
func (s *site) one(t *testing.T, st step) outcome {
	t.Helper()
	out, err := s.Drive(t.Context(), "alice", "call", st)
	if err != nil {
		t.Fatalf("%+v: %v", st, err)
	}
	if out[0].Err != "" {
		t.Fatalf("%+v: %s", st, out[0].Err)
	}
	return out[0]
}

// readOn reads from a cursor on until the text has come, and returns it with
// the cursor behind it.
func (s *site) readOn(t *testing.T, name, cursor, want string) (next string) {
	t.Helper()
	var got strings.Builder
	daemontest.Eventually(t, "it writes "+want, func() bool {
		o := s.one(t, step{Op: "read", Name: name, Cursor: cursor})
		if o.Dropped != 0 {
			t.Errorf("%d bytes are lost", o.Dropped)
		}
		got.WriteString(o.Stdout)
		cursor = o.Cursor
		return got.Len() >= len(want)
	})
	if got.String() != want {
		t.Errorf("read %q, want %q", got.String(), want)
	}
	return cursor
}

// TestPersistentProcessOutlivesTheDaemon: a guest starts a server, the daemon is
// killed at once, and after its next start a new instance of the capsule finds
// the server by its label, reads on from the cursor of before, writes to it,
// watches it, and stops it. The operator sees the same.
func TestPersistentProcessOutlivesTheDaemon(t *testing.T) {
	s := newSite(t)
	s.WithDriver(t)
	s.withWitness(t)
	first := s.Start(t)
	first.Ready(t)
	s.one(t, s.Program("persistent", "server", echoing))
	s.one(t, step{Op: "write", Name: "server", Text: "one\n"})
	cursor := s.readOn(t, "server", "", "ready\nheard one\n")
	before := s.onlyHandle(t)

	first.Kill(t)
	second := s.Start(t)
	if st := second.Ready(t); st.Recovery == nil || st.Recovery.Adopted != 1 {
		t.Errorf("recovery: %+v", st.Recovery)
	}
	if after := s.onlyHandle(t); after.ID != before.ID || after.PID != before.PID || after.Phase != "started" || after.Label != "server" || after.Stdin != "open" {
		t.Errorf("the operator sees %+v, saw %+v", after, before)
	}
	if o := s.one(t, step{Op: "status", Name: "server"}); o.Phase != "running" || !o.StdinOpen {
		t.Errorf("status %+v", o)
	}
	s.readOn(t, "server", cursor, "")
	s.one(t, step{Op: "write", Name: "server", Text: "two\n"})
	cursor = s.readOn(t, "server", cursor, "heard two\n")
	s.one(t, step{Op: "attach", Name: "server"})
	s.one(t, step{Op: "drop", Name: "server"})

	second.Kill(t)
	third := s.Start(t)
	third.Ready(t)
	s.readOn(t, "server", cursor, "")
	if o := s.one(t, step{Op: "stop", Name: "server", MS: 5000}); o.Exit.Code == nil || *o.Exit.Code != 4 {
		t.Errorf("stopped with %+v", o.Exit)
	}
	if o := s.one(t, step{Op: "list"}); o.Listed != 0 {
		t.Errorf("%d are listed after the stop", o.Listed)
	}
	s.oneLife(t, before.ID)
	third.Stop(t)
}

// onlyHandle is the one process that is held.
func (s *site) onlyHandle(t *testing.T) control.Handle {
	t.Helper()
	ps, err := s.Client.Ps(t.Context(), true)
	if err != nil || len(ps.Handles) != 1 {
		t.Fatalf("held: %+v, %v", ps, err)
	}
	return ps.Handles[0]
}

// oneLife holds what the ledger tells: one start, two adoptions, one end.
func (s *site) oneLife(t *testing.T, id string) {
	t.Helper()
	for kind, want := range map[event.Kind]int{
		event.KindProcessStarted: 1, event.KindProcessAdopted: 2, event.KindHandleAttached: 1, event.KindStopRequested: 1,
		event.KindProcessExited: 1, event.KindProcessLost: 0, event.KindHandleReleased: 1,
	} {
		if got := s.count(t, kind, id); got != want {
			t.Errorf("%d %v, want %d", got, kind, want)
		}
	}
	if !s.Wrote("server", "told") || s.Wrote("server", "end") {
		t.Error("the server did not end by TERM")
	}
}

// count is how many events of a kind a handle has.
func (s *site) count(t *testing.T, kind event.Kind, id string) (n int) {
	t.Helper()
	stream, err := s.Client.Events(t.Context(), &control.EventsQuery{Filter: query.Filter{Kinds: []event.Kind{kind}, Handles: []string{id}}})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for _, err := range stream.All() {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// TestInputEndsOverARestart: the end of the input, given after a restart,
// reaches the program, and its exit and last output can be read until it is
// released.
func TestInputEndsOverARestart(t *testing.T) {
	s := newSite(t)
	s.WithDriver(t)
	s.withWitness(t)
	d := s.Start(t)
	d.Ready(t)
	s.one(t, s.Program("persistent", "server", echoing))
	d.Kill(t)
	d = s.Start(t)
	d.Ready(t)
	s.one(t, step{Op: "write", Name: "server", Text: "last\n"})
	for range 2 {
		s.one(t, step{Op: "eof", Name: "server"})
	}
	if o := s.one(t, step{Op: "await", Name: "server", MS: patience.Milliseconds()}); o.Exit.Code == nil || *o.Exit.Code != 7 {
		t.Errorf("it left with %+v", o.Exit)
	}
	d.Kill(t)
	d = s.Start(t)
	d.Ready(t)
	o := s.one(t, step{Op: "read", Name: "server"})
	if o.Stdout != "ready\nheard last\n" || !o.EOF {
		t.Errorf("kept after its end: %+v", o)
	}
	s.one(t, step{Op: "release", Name: "server"})
	if o := s.one(t, step{Op: "list"}); o.Listed != 0 {
		t.Errorf("%d are listed after the release", o.Listed)
	}
	if n := len(events[*event.StdinClosed](t, s, event.KindStdinClosed)); n != 1 {
		t.Errorf("%d stdin.closed", n)
	}
	d.Stop(t)
}

// TestWatchedProcessTellsTheOperator: what becomes of a watched process is on
// the bus that the operator listens to, also after a restart.
func TestWatchedProcessTellsTheOperator(t *testing.T) {
	s := newSite(t)
	s.WithDriver(t)
	s.withWitness(t)
	d := s.Start(t)
	d.Ready(t)
	s.one(t, s.Program("persistent", "server", echoing))
	s.one(t, step{Op: "watch", Name: "server", Text: "web"})
	d.Kill(t)
	d = s.Start(t)
	d.Ready(t)
	lines, err := s.Client.Bus(t.Context(), "astrid.process.v1.exited.*")
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	h := s.onlyHandle(t)
	if h.Watch == nil || *h.Watch != "web" {
		t.Errorf("it is not watched any more: %+v", h)
	}
	a, err := s.Client.Stop(t.Context(), &control.StopRequest{ID: h.ID})
	if err != nil || a.Exit == nil || !a.Released || a.Cause != "stop" {
		t.Errorf("stopped: %+v, %v", a, err)
	}
	for m, err := range lines.All() {
		if err != nil {
			t.Fatal(err)
		}
		if m.Topic != "astrid.process.v1.exited.web" || m.Principal != (control.BusPrincipal{Kind: "verified", Name: "alice"}) {
			t.Errorf("told %+v", m)
		}
		break
	}
	d.Stop(t)
}

// TestLostProcessIDKey: with a persistent process in the ledger, a daemon that
// lost the key of its ids does not start, and does again once it is back.
func TestLostProcessIDKey(t *testing.T) {
	s := newSite(t)
	s.WithDriver(t)
	s.withWitness(t)
	d := s.Start(t)
	d.Ready(t)
	s.one(t, s.Program("persistent", "server", echoing))
	d.Kill(t)
	key := filepath.Join(s.Data, "keys", "process-ids")
	if err := os.Rename(key, key+".lost"); err != nil {
		t.Fatal(err)
	}
	d = s.Start(t)
	if code := d.Wait(t); code != 1 || !strings.Contains(d.Tail(), "is missing, and the ledger holds 1 persistent") {
		t.Errorf("code %d:\n%s", code, d.Tail())
	}
	if err := os.Rename(key+".lost", key); err != nil {
		t.Fatal(err)
	}
	d = s.Start(t)
	d.Ready(t)
	s.one(t, step{Op: "stop", Name: "server", MS: 5000})
	d.Stop(t)
}
