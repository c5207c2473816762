package upgrade

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

// call is a call under way of a program that lasts until its gate opens.
type call struct {
	out []daemontest.Outcome
	err error
	end chan struct{}
}

func (w *world) call(t testing.TB, principal, name string) *call {
	t.Helper()
	c := &call{end: make(chan struct{})}
	go func() {
		defer close(c.end)
		c.out, c.err = w.Drive(t.Context(), principal, name, w.Program("spawn", name, daemontest.Lasting))
	}()
	return c
}

// phase waits until the daemon is in that phase.
func (w *world) phase(t testing.TB, p control.Phase) {
	t.Helper()
	daemontest.Eventually(t, "the daemon is "+string(p), func() bool {
		st, err := w.Client.Status(t.Context())
		return err == nil && st.Phase == p
	})
}

// TestCallsDrain: a call under way ends and is answered, one that comes meanwhile
// waits and is answered by the next daemon, and nobody who connects at any time is
// refused. What ends with the daemon ends as daemon-restart.
func TestCallsDrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin(t, "background", "ends", daemontest.Lasting)
	early := w.call(t, "alice", "early")
	daemontest.Eventually(t, "the call is under way", func() bool { return w.Wrote("early", "start") })
	crowd := w.crowd(t)

	a, err := w.Client.Restart(t.Context(), &control.RestartRequest{Binary: w.next})
	if err != nil {
		t.Fatal(err)
	}
	w.phase(t, control.PhaseRestarting)
	late := w.call(t, "bob", "late")
	w.Release(t, "late")
	if _, err := w.Client.Restart(t.Context(), &control.RestartRequest{}); code(err) != control.CodeUnavailable {
		t.Errorf("a restart during a restart: %v", err)
	}
	if st, err := w.Client.Status(t.Context()); err != nil || st.Phase != control.PhaseRestarting {
		t.Errorf("while a call is under way: %+v, %v", st, err)
	}
	select {
	case <-late.end:
		t.Errorf("a call that came later was answered: %v, %v", late.out, late.err)
	default:
	}
	w.Release(t, "early")
	<-early.end
	if early.err != nil || early.out[0].Exit.Code == nil || *early.out[0].Exit.Code != 0 {
		t.Errorf("the call under way: %+v, %v", early.out, early.err)
	}
	st, err := w.Client.WaitRestarted(t.Context(), a)
	if err != nil || st.Version != "next" {
		t.Fatalf("%+v, %v", st, err)
	}
	<-late.end
	if late.err != nil || !w.Wrote("late", "end") {
		t.Errorf("the call that came meanwhile: %+v, %v", late.out, late.err)
	}
	crowd()
	for _, b := range daemontest.Events[*event.ProcessExited](t, w.Site, event.KindProcessExited) {
		if b.Cause != "self" && b.Cause != "daemon-restart" {
			t.Errorf("a process ended by %s", b.Cause)
		}
	}
	if !w.Wrote("ends", "told") {
		t.Error("the background program had no TERM")
	}
	w.daemon.Stop(t)
}

// crowd asks without a pause until the function it returns is called: each time by
// a new connection, of which none may fail.
func (w *world) crowd(t testing.TB) (leave func()) {
	var asked atomic.Int64
	var group sync.WaitGroup
	over := make(chan struct{})
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				c := control.NewClient(filepath.Join(w.Data, "control.sock"))
				if _, err := c.Ps(t.Context(), true); err != nil {
					t.Errorf("somebody who asked was turned away: %v", err)
				}
				c.Close()
				asked.Add(1)
			}
		})
	}
	return func() {
		close(over)
		group.Wait()
		t.Logf("%d were answered", asked.Load())
	}
}

// TestDrainIsBounded: a call that does not end is cancelled, and the restart goes
// on; its caller learns of the cancel and may not take it for "ask again".
func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `shutdown_timeout = "1s"`)
	stays := w.call(t, "alice", "stays")
	daemontest.Eventually(t, "the call is under way", func() bool { return w.Wrote("stays", "start") })
	if st := w.restart(t, w.next); st.Restart.DrainNano < time.Second.Nanoseconds() {
		t.Errorf("calls had %d ns", st.Restart.DrainNano)
	}
	<-stays.end
	if stays.err == nil && (len(stays.out) == 0 || stays.out[0].Err == "") || code(stays.err) == control.CodeRestarting {
		t.Errorf("the call that did not end: %+v, %v", stays.out, stays.err)
	}
	w.daemon.Stop(t)
}

// TestStopDuringARestart: a stop that comes while calls end is a stop.
func TestStopDuringARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stays := w.call(t, "alice", "stays")
	daemontest.Eventually(t, "the call is under way", func() bool { return w.Wrote("stays", "start") })
	if _, err := w.Client.Restart(t.Context(), &control.RestartRequest{Binary: w.next}); err != nil {
		t.Fatal(err)
	}
	w.phase(t, control.PhaseRestarting)
	w.daemon.Stop(t)
	<-stays.end
	w.daemon = w.Start(t)
	w.daemon.Ready(t)
	for _, b := range daemontest.Events[*event.DaemonStopped](t, w.Site, event.KindDaemonStopped) {
		if b.Successor != "" {
			t.Errorf("the ledger tells of a restart: %+v", b)
		}
	}
	w.daemon.Stop(t)
}

// TestSignalsAreNotLost: a TERM that comes at any moment of a restart ends the
// daemon, whichever of the two gets it.
func TestSignalsAreNotLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 6 {
		if _, err := w.Client.Restart(t.Context(), &control.RestartRequest{Binary: w.next}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 7 * time.Millisecond) // another moment each time
		w.daemon.Signal(t, syscall.SIGTERM)
		w.daemon.Wait(t)
		w.daemon = w.Start(t)
		w.daemon.Ready(t)
	}
	w.daemon.Stop(t)
}

// TestUnfitProgramsAreRefused: nothing happens to a daemon whose successor could
// not start, and the error says why.
func TestUnfitProgramsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin(t, "background", "stays", daemontest.Lasting)
	script := func(name, text string) string {
		path := filepath.Join(w.Bin, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fit := `{"version":"other","handover":1,"layout":1000,"segment":1000,"state":1000,"data":"` + w.Data + `","socket":"x"}`
	for _, c := range []struct{ name, binary, want string }{
		{"missing", filepath.Join(w.Bin, "nobody"), "no such file"},
		{"directory", w.Bin, "is no program"},
		{"another program", "/bin/true", "is no astridd"},
		{"one that fails", script("fails", "echo the disk is made of cheese >&2; exit 3"), "made of cheese"},
		{"much to say", script("yes", "yes"), "--check"},
		{"an older layout", script("older", "echo '"+strings.Replace(fit, `"layout":1000`, `"layout":0`, 1)+"'"), "reads the data directory up to layout 0"},
		{"an older state", script("state", "echo '"+strings.Replace(fit, `"state":1000`, `"state":1`, 1)+"'"), "reads states up to format 1"},
		{"another handover", script("handover", "echo '"+strings.Replace(fit, `"handover":1,`, ``, 1)+"'"), "hands over by format 0"},
		{"another directory", script("moved", "echo '"+strings.Replace(fit, w.Data, "/elsewhere", 1)+"'"), "/elsewhere"},
	} {
		_, err := w.Client.Restart(t.Context(), &control.RestartRequest{Binary: c.binary})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	daemontest.WriteFile(t, w.Config, "data_dir = 7\n")
	if _, err := w.Client.Restart(t.Context(), &control.RestartRequest{}); err == nil || !strings.Contains(err.Error(), "data_dir") {
		t.Errorf("a configuration that is wrong by now: %v", err)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(w.next), "astrid-shim")); err != nil {
		t.Fatal(err)
	}
	w.Configure(t)
	if _, err := w.Client.Restart(t.Context(), &control.RestartRequest{Binary: w.next}); err == nil || !strings.Contains(err.Error(), "astrid-shim does not exist") {
		t.Errorf("no shim beside it: %v", err)
	}
	if st, err := w.Client.Status(t.Context()); err != nil || st.Phase != control.PhaseReady || st.Live != 1 || st.Restart != nil {
		t.Errorf("afterwards: %+v, %v", st, err)
	}
	w.daemon.Stop(t)
}

// TestOldProgramGoesOn: where the program that was tried cannot be run in the end,
// this one goes on, and says so.
func TestOldProgramGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stays := w.call(t, "alice", "stays")
	daemontest.Eventually(t, "the call is under way", func() bool { return w.Wrote("stays", "start") })
	before, err := w.Client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, err := w.Client.Restart(t.Context(), &control.RestartRequest{Binary: w.next})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(w.next); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.next, []byte("cut off while it was copied"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.Release(t, "stays")
	<-stays.end
	st, err := w.Client.WaitRestarted(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if st.Version != before.Version || st.Restart == nil || st.Restart.Problem == "" || len(st.Problems) != 1 || st.Restart.Binary != w.next {
		t.Errorf("%+v, restart %+v", st, st.Restart)
	}
	if w.restart(t, w.here).Restart.Problem != "" {
		t.Error("the problem stays after a good restart")
	}
	w.daemon.Stop(t)
}

// TestNothingIsInherited: what one daemon leaves the next is theirs alone.
func TestNothingIsInherited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.restart(t, w.next)
	w.begin(t, "background", "child", daemontest.Lasting)
	for _, pid := range w.Processes() {
		if pid == w.daemon.Cmd.Process.Pid {
			continue
		}
		env, _ := os.ReadFile(filepath.Join("/proc", itoa(pid), "environ"))
		if strings.Contains(string(env), "ASTRID_HANDOVER") {
			t.Errorf("%s has it in its environment", daemontest.CommandLine(pid))
		}
		fds, _ := filepath.Glob(filepath.Join("/proc", itoa(pid), "fd", "*"))
		for _, fd := range fds {
			if to, _ := os.Readlink(fd); to == filepath.Join(w.Data, "lock") {
				t.Errorf("%s holds the lock", daemontest.CommandLine(pid))
			}
		}
	}
	if d := w.Start(t); d.Wait(t) == 0 || !strings.Contains(d.Tail(), "is in use by astridd next") {
		t.Errorf("another daemon could start: %s", d.Tail())
	}
	w.daemon.Stop(t)
	if _, err := os.Stat(filepath.Join(w.Data, "control.sock")); err == nil {
		t.Error("the socket is left")
	}
}

// TestOnlyTheOwnerChoosesTheProgram: an operator may restart the daemon, and not
// have it become anything.
func TestOnlyTheOwnerChoosesTheProgram(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can ask as somebody else")
	}
	const uid = 4711
	w := newWorld(t, "operators = [4711]")
	for _, dir := range []string{w.Dir, w.Data} { // to the socket in it
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := w.as(uid, "daemon", "restart", "--binary", w.next); err == nil || !strings.Contains(out, "not choose its program") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := w.as(uid, "daemon", "restart"); err != nil || !strings.Contains(out, "has taken over") {
		t.Errorf("%v: %s", err, out)
	}
	st, err := w.Client.Status(t.Context())
	if err != nil || st.Restart == nil || st.Restart.UID != uid {
		t.Errorf("%+v, %v", st.Restart, err)
	}
	w.daemon.Stop(t)
}
