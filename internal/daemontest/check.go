//go:build linux

package daemontest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/worldcheck"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// Compare looks at the running daemon's world until nothing is wrong, or for
// good.
func (a *Armed) Compare(t testing.TB) {
	t.Helper()
	problems := worldcheck.Settled(Patience, func() []string { return a.look(t.Context()) })
	for _, p := range problems {
		t.Errorf("while the daemon runs: %s", p)
	}
	if len(problems) > 0 {
		a.dumpRunning(t)
	}
}

// look compares the world of the running daemon once.
func (a *Armed) look(ctx context.Context) []string {
	w, done, err := a.Running(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	defer done()
	return worldcheck.CheckWorld(ctx, w)
}

// Running is the world of the running daemon, with a copy of its ledger's newest
// segment that done removes.
func (a *Armed) Running(ctx context.Context) (w worldcheck.World, done func(), err error) {
	w = worldcheck.World{Data: a.Data, Witness: a.Witness(), Shim: filepath.Join(a.Bin, "astrid-shim")}
	if w.Table, err = a.Client.Ps(ctx, true); err != nil {
		return w, nil, err
	}
	if w.Status, err = a.Client.Status(ctx); err != nil {
		return w, nil, err
	}
	var newest bytes.Buffer
	if _, err := a.Client.Newest(ctx, &newest); err != nil {
		return w, nil, err
	}
	archive, err := ledger.OpenArchiveWith(filepath.Join(a.Data, "ledger"), &newest)
	if err != nil {
		return w, nil, err
	}
	w.Ledger = archive
	return w, func() { _ = archive.Close() }, nil
}

// dumpRunning shows the ledger of a running daemon.
func (a *Armed) dumpRunning(t testing.TB) {
	t.Helper()
	w, done, err := a.Running(t.Context())
	if err != nil {
		t.Log(err)
		return
	}
	defer done()
	Dump(t, w.Ledger)
}

// ReadyOrDead waits until the daemon is ready, or dead.
func (a *Armed) ReadyOrDead(t testing.TB) {
	t.Helper()
	ctx, cancel := a.WhileAlive(t)
	defer cancel()
	_, _ = a.Client.WaitReady(ctx)
}

// DiedAt holds that the daemon has died by its own KILL.
func (a *Armed) DiedAt(t testing.TB, point string) {
	t.Helper()
	if a.Daemon.Wait(t); !a.Daemon.DiedByKill() {
		t.Errorf("the daemon did not die at %s: %v", point, a.Daemon.Err)
	}
}

// Settle kills the daemon if it lives, starts it again, and has all end.
func (a *Armed) Settle(t testing.TB) {
	t.Helper()
	a.ResumeAll()
	a.Daemon.Kill(t)
	a.Run(t)
	a.Daemon.Ready(t)
	a.End(t)
}

// End waits until nothing runs under the daemon, ending the persistent processes,
// and stops it in order.
func (a *Armed) End(t testing.TB) {
	t.Helper()
	Eventually(t, "nothing runs any more", func() bool {
		ps, err := a.Client.Ps(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		a.stopKept(t, ps.Handles)
		return len(ps.Handles) == 0
	})
	// What is counted and what lives must agree at once, not only in the end.
	if left := worldcheck.Marked(a.Witness()); len(left) > 0 {
		t.Errorf("no process is counted, and these live: %v", left)
	}
	a.Daemon.Stop(t)
}

// stopKept has an operator end the persistent processes, which nobody else will.
func (a *Armed) stopKept(t testing.TB, held []control.Handle) {
	t.Helper()
	for _, h := range held {
		if h.Tier != "persistent" {
			continue
		}
		grace := int64(200 * time.Millisecond)
		_, err := a.Client.Stop(t.Context(), &control.StopRequest{ID: h.ID, GraceNano: &grace})
		if err != nil && control.ExitCode(err) != 3 { // it may have gone by itself
			t.Errorf("stop of %s: %v", h.ID, err)
		}
	}
}

// Check compares the ledger of a stopped daemon with the disk and with the
// witness; empty: there is none any more. lossAllowed: a process may be lost.
func (a *Armed) Check(t testing.TB, witness string, lossAllowed bool) {
	t.Helper()
	archive, err := ledger.OpenArchive(filepath.Join(a.Data, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	for _, p := range worldcheck.CheckWorld(t.Context(), worldcheck.World{
		Ledger: archive, Data: a.Data, Witness: witness, Shim: filepath.Join(a.Bin, "astrid-shim"), Verify: true,
	}) {
		t.Error(p)
	}
	a.checkState(t, archive)
	a.checkEvents(t, archive, lossAllowed)
	for _, dir := range []string{"processes", "trash"} {
		if left, err := os.ReadDir(filepath.Join(a.Data, dir)); err != nil || len(left) > 0 {
			t.Errorf("%s/ holds %v, %v", dir, left, err)
		}
	}
	Eventually(t, "every process of the site is gone", func() bool { return len(a.Processes()) == 0 })
	if t.Failed() {
		Dump(t, archive)
	}
}

// checkState replays everything and looks for what is left open.
func (a *Armed) checkState(t testing.TB, archive *ledger.Archive) {
	t.Helper()
	state := projector.New()
	for e, err := range archive.Events(t.Context(), 1, 0) {
		if err == nil {
			err = state.Apply(e)
		}
		if err != nil {
			t.Fatalf("replay: %v", err)
		}
	}
	if n := state.LiveAll().Total(); n != 0 {
		t.Errorf("%d processes are counted as live", n)
	}
	if n := len(state.Handles()); n != 0 {
		t.Errorf("%d handles are not released", n)
	}
	if n := len(state.Cancels()); n != 0 {
		t.Errorf("%d cancels are open", n)
	}
	if n := len(state.Invocations()); n != 0 {
		t.Errorf("%d invocations are open", n)
	}
}

// checkEvents holds that a loss is claimed only where something was lost.
func (a *Armed) checkEvents(t testing.TB, archive *ledger.Archive, lossAllowed bool) {
	t.Helper()
	for e, err := range archive.Events(t.Context(), 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := e.Body.(*event.ProcessLost); ok && !lossAllowed {
			t.Errorf("event %d: %s is lost (%s: %s), although its shim never died", e.Seq, e.Handle, b.Reason, b.Detail)
		}
	}
}

// Dump shows the ledger of a failed test.
func Dump(t testing.TB, archive ledger.Reader) {
	t.Helper()
	for e, err := range archive.Events(t.Context(), 1, 0) {
		if err != nil {
			t.Log(err)
			return
		}
		b, _ := e.MarshalJSON()
		t.Logf("%.600s", b)
	}
}
