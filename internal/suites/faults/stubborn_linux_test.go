package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

// procState is a process's state in /proc, 0 if it is gone, and its parent.
func procState(pid uint32) (state byte, parent int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	text := string(b)
	if _, err := fmt.Sscanf(text[strings.LastIndexByte(text, ')')+1:], " %c %d", &state, &parent); err != nil {
		return 0, 0
	}
	return state, parent
}

// TestStubbornProgram: a program in uninterruptible sleep cannot be ended. Who
// asks for it is told so, in time; it stays counted and is listed as what it is;
// neither the stop nor the start of a daemon hangs on it; and once it dies, its
// exit is recorded.
func TestStubbornProgram(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	h := mountHanging(t, filepath.Join(s.Witness(), "mnt"))
	d := s.Start(t)
	d.Ready(t)
	drive(t, s, s.Program("background", "stubborn", `echo start >>"$WITNESS/$0"; exec cat "$WITNESS/mnt/hang"`))
	before := only(t, s, false)
	daemontest.Eventually(t, "it reads", func() bool { return h.waiting() > 0 })

	began := time.Now()
	_, err := s.Client.Stop(t.Context(), &control.StopRequest{ID: before.ID, GraceNano: new(int64(100 * time.Millisecond))})
	var refused *control.Error
	if !errors.As(err, &refused) || refused.Code != control.CodeDeadline || !strings.Contains(refused.Message, "not dead yet") {
		t.Fatalf("the stop of what cannot be ended: %v", err)
	}
	if took := time.Since(began); took > daemontest.Patience {
		t.Errorf("that took %s", took)
	}
	now := only(t, s, false)
	if state, _ := procState(now.PID); state != 'D' {
		t.Errorf("the test's program is in state %c", state)
	}
	if now.Phase != "started" || now.Ending != "stop" || now.Trouble != control.TroubleDying {
		t.Errorf("ps shows %+v", now)
	}
	if text, _ := ctl(t, s, 0, "ps"); !strings.Contains(text, "not dead yet") {
		t.Errorf("astridctl ps shows\n%s", text)
	}
	st, err := s.Client.Status(t.Context())
	if err != nil || st.Live != 1 {
		t.Errorf("counted: %+v, %v", st, err)
	}
	stopBounded(t, d)
	if state, _ := procState(now.PID); state != 'D' {
		t.Fatalf("the program is in state %c", state)
	}
	d = s.Start(t)
	d.Ready(t)
	if again := only(t, s, false); again.ID != before.ID || again.Phase != "started" || again.PID != before.PID {
		t.Errorf("after a restart ps shows %+v", again)
	}
	h.release()
	daemontest.Eventually(t, "its exit is recorded", func() bool {
		return len(ofHandle[*event.ProcessExited](t, s, event.KindProcessExited, before.ID)) == 1
	})
	exit := ofHandle[*event.ProcessExited](t, s, event.KindProcessExited, before.ID)[0].Body.(*event.ProcessExited)
	if exit.Exit.Signal == nil || exit.Cause == "self" {
		t.Errorf("it is recorded as %+v", exit)
	}
	daemontest.Eventually(t, "it is released", func() bool { return len(handles(t, s, true)) == 0 })
	d.Stop(t)
}

// stopBounded stops a daemon that waits for what does not die: the grace, and the
// bounds of the KILL and of the guests, less than a service manager's minute and
// a half.
func stopBounded(t *testing.T, d *daemontest.Daemon) {
	t.Helper()
	d.Signal(t, syscall.SIGTERM)
	select {
	case <-d.Done:
	case <-time.After(80 * time.Second):
		t.Fatal("the daemon waits for what does not die")
	}
	if code := d.Wait(t); code != 0 {
		t.Errorf("it left with %d", code)
	}
}

// TestSilentShim: a shim that is stopped does not answer. It is listed as that,
// and its program is ended all the same, in time, with its true exit.
func TestSilentShim(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.Start(t)
	d.Ready(t)
	drive(t, s, s.Program("persistent", "mute", daemontest.Lasting))
	h := only(t, s, false)
	daemontest.Eventually(t, "it runs", func() bool { return s.Wrote("mute", "start") })
	_, shim := procState(h.PID)
	if shim <= 1 {
		t.Fatalf("the shim of %d is %d", h.PID, shim)
	}
	if err := syscall.Kill(shim, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	daemontest.Eventually(t, "ps tells of it", func() bool { return only(t, s, false).Trouble == control.TroubleSilent })
	if text, _ := ctl(t, s, 0, "ps"); !strings.Contains(text, "does not answer") {
		t.Errorf("astridctl ps shows\n%s", text)
	}
	a, err := s.Client.Stop(t.Context(), &control.StopRequest{ID: h.ID, GraceNano: new(int64(100 * time.Millisecond))})
	if err != nil {
		t.Fatal(err)
	}
	if a.Exit == nil || a.Cause != "stop" {
		t.Errorf("it ended as %+v", a)
	}
	undelivered := 0
	for _, e := range ofHandle[*event.SignalSent](t, s, event.KindSignalSent, h.ID) {
		if b := e.Body.(*event.SignalSent); !b.Delivered && b.Detail != "" {
			undelivered++
		}
	}
	if undelivered == 0 {
		t.Error("the ledger does not tell that the shim was silent")
	}
	d.Stop(t)
}
