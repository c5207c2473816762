package crashmatrix

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/internal/worldcheck"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// compare looks at the running daemon's world until nothing is wrong, or for
// good.
func (c *crash) compare(t *testing.T, n *tally) {
	t.Helper()
	problems := worldcheck.Settled(patience, func() []string { return c.look(t.Context()) })
	n.checks.Add(1)
	for _, p := range problems {
		t.Errorf("while the daemon runs: %s", p)
	}
	if len(problems) > 0 {
		c.dumpRunning(t)
	}
}

// look compares the world of the running daemon once.
func (c *crash) look(ctx context.Context) []string {
	w, done, err := c.running(ctx)
	if err != nil {
		return []string{err.Error()}
	}
	defer done()
	return worldcheck.CheckWorld(ctx, w)
}

// running is the world of the running daemon, with a copy of its ledger's newest
// segment that done removes.
func (c *crash) running(ctx context.Context) (w worldcheck.World, done func(), err error) {
	w = worldcheck.World{Data: c.Data, Witness: c.Witness(), Shim: filepath.Join(c.Bin, "astrid-shim")}
	if w.Table, err = c.Client.Ps(ctx, true); err != nil {
		return w, nil, err
	}
	if w.Status, err = c.Client.Status(ctx); err != nil {
		return w, nil, err
	}
	var newest bytes.Buffer
	if _, err := c.Client.Newest(ctx, &newest); err != nil {
		return w, nil, err
	}
	archive, err := ledger.OpenArchiveWith(filepath.Join(c.Data, "ledger"), &newest)
	if err != nil {
		return w, nil, err
	}
	w.Ledger = archive
	return w, func() { _ = archive.Close() }, nil
}

// dumpRunning shows the ledger of a running daemon.
func (c *crash) dumpRunning(t *testing.T) {
	t.Helper()
	w, done, err := c.running(t.Context())
	if err != nil {
		t.Log(err)
		return
	}
	defer done()
	dump(t, w.Ledger)
}

// readyOrDead waits until the daemon is ready, or dead.
func (c *crash) readyOrDead(t *testing.T) {
	t.Helper()
	ctx, cancel := c.WhileAlive(t)
	defer cancel()
	_, _ = c.Client.WaitReady(ctx)
}

// diedAt holds that the daemon has died by its own KILL.
func (c *crash) diedAt(t *testing.T, point string) {
	t.Helper()
	if c.Daemon.Wait(t); !c.Daemon.DiedByKill() {
		t.Errorf("the daemon did not die at %s: %v", point, c.Daemon.Err)
	}
}

// settle kills the daemon if it lives, starts it again, waits until nothing
// runs, and stops it in order.
func (c *crash) settle(t *testing.T) {
	t.Helper()
	c.ResumeAll()
	c.Daemon.Kill(t)
	c.Run(t)
	c.Daemon.Ready(t)
	daemontest.Eventually(t, "nothing runs any more", func() bool {
		ps, err := c.Client.Ps(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		c.stopKept(t, ps.Handles)
		return len(ps.Handles) == 0
	})
	// What is counted and what lives must agree at once, not only in the end.
	if left := worldcheck.Marked(c.Witness()); len(left) > 0 {
		t.Errorf("no process is counted, and these live: %v", left)
	}
	c.Daemon.Stop(t)
}

// stopKept has an operator end the persistent processes, which nobody else will.
func (c *crash) stopKept(t *testing.T, held []control.Handle) {
	t.Helper()
	for _, h := range held {
		if h.Tier != "persistent" {
			continue
		}
		grace := int64(200 * time.Millisecond)
		_, err := c.Client.Stop(t.Context(), &control.StopRequest{ID: h.ID, GraceNano: &grace})
		if err != nil && control.ExitCode(err) != 3 { // it may have gone by itself
			t.Errorf("stop of %s: %v", h.ID, err)
		}
	}
}

// check compares the ledger with the witness and with the disk.
func (c *crash) check(t *testing.T, lossAllowed bool) {
	t.Helper()
	c.checkWith(t, c.Witness(), lossAllowed)
}

// checkWith is check with another witness; empty: there is none any more.
func (c *crash) checkWith(t *testing.T, witness string, lossAllowed bool) {
	t.Helper()
	archive, err := ledger.OpenArchive(filepath.Join(c.Data, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	for _, p := range worldcheck.CheckWorld(t.Context(), worldcheck.World{
		Ledger: archive, Data: c.Data, Witness: witness, Shim: filepath.Join(c.Bin, "astrid-shim"), Verify: true,
	}) {
		t.Error(p)
	}
	c.checkState(t, archive)
	c.checkEvents(t, archive, lossAllowed)
	for _, dir := range []string{"processes", "trash"} {
		if left, err := os.ReadDir(filepath.Join(c.Data, dir)); err != nil || len(left) > 0 {
			t.Errorf("%s/ holds %v, %v", dir, left, err)
		}
	}
	daemontest.Eventually(t, "every process of the site is gone", func() bool { return len(c.Processes()) == 0 })
	if t.Failed() {
		dump(t, archive)
	}
}

// checkState replays everything and looks for what is left open.
func (c *crash) checkState(t *testing.T, archive *ledger.Archive) {
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
func (c *crash) checkEvents(t *testing.T, archive *ledger.Archive, lossAllowed bool) {
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

// dump shows the ledger of a failed test.
func dump(t *testing.T, archive ledger.Reader) {
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
