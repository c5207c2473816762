package host

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/worldcheck"
)

// within fails the test unless done is closed or sent to in time.
func within[T any](t *testing.T, bound time.Duration, what string, done <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-done:
	case <-time.After(bound):
		t.Errorf("not within %v: %s", bound, what)
	}
	return v
}

// hasFailed tells whether the ledger cannot commit.
func (w *world) hasFailed() bool {
	select {
	case <-w.live.Ledger().Failed():
		return true
	default:
		return false
	}
}

// dead waits until no program of the test is left.
func (w *world) dead() {
	w.t.Helper()
	w.until("the program is dead", func() bool { return len(worldcheck.Marked(w.witness)) == 0 })
}

// TestStopFreesWhoWaitsForTheLedger stops a host whose ledger cannot commit: an
// invocation that waits to be recorded as finished is given up, so that its
// guest can be, before Close.
func TestStopFreesWhoWaitsForTheLedger(t *testing.T) {
	w := newWorld(t)
	_, i, err := w.host.BeginInvocation(t.Context(), alice, "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, r := w.start(alice, stays)
	w.began(r)
	repair := brokenDisk(t)
	w.failedCommit()
	finished, waited := make(chan error, 1), make(chan error, 1)
	go func() { finished <- i.Finish(Finished{Outcome: "ok"}) }()
	go func() { _, err := p.Wait(t.Context(), alice, nil); waited <- err }()
	w.host.Stop()
	if err := within(t, 5*time.Second, "Finish returns after Stop", finished); CodeOf(err) != Cancelled && CodeOf(err) != Unknown {
		t.Errorf("finish: %v", err)
	}
	if err := within(t, 5*time.Second, "Wait returns after Stop", waited); CodeOf(err) != Unknown {
		t.Errorf("wait: %v", err)
	}
	closed := make(chan struct{})
	go func() { w.host.Close(); close(closed) }()
	within(t, 5*time.Second, "Close returns", closed)
	repair()
	w.abandon()
	w.open()
}

// TestShutdownIsBoundedWithoutALedger has the disk break under the TERM of a
// shutdown: it is over within its own bounds, and the program dead.
func TestShutdownIsBoundedWithoutALedger(t *testing.T) {
	w := newWorld(t)
	_, r := w.start(alice, "trap '' TERM; "+stays)
	w.began(r)
	var repair func()
	w.passing = func(point string) {
		if point == "signal-sent" && repair == nil {
			repair = brokenDisk(t)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.host.Shutdown(ctx, "a test") }()
	if err := within(t, endBound+5*time.Second, "Shutdown returns", done); err == nil {
		t.Error("nothing told that the stop is not recorded")
	}
	w.dead()
	repair()
	w.abandon()
	w.open()
}

// TestHopelessSpawnsCostNothing asks for spawns whose caller has left, and for
// some while the ledger cannot commit: no shim is started for them, and what a
// spawn began whose decision failed is gone when its caller is answered.
func TestHopelessSpawnsCostNothing(t *testing.T) {
	w := newWorld(t)
	left, cancel := context.WithCancel(t.Context())
	cancel()
	ask := func(ctx context.Context, want Code) {
		t.Helper()
		if _, err := w.host.Spawn(ctx, alice, w.script("true")); CodeOf(err) != want {
			t.Fatalf("%v, want %v", err, want)
		}
		if n := w.directories(); n != 0 {
			t.Fatalf("%d process directories after the answer", n)
		}
	}
	for range 300 {
		ask(left, Cancelled)
	}
	repair := brokenDisk(t)
	for range 300 {
		ask(t.Context(), Unknown)
	}
	repair()
}

// TestPreparedIsTakenBackBeforeTheAnswer has callers leave while their spawns
// are being decided: nothing of them is left when they are answered.
func TestPreparedIsTakenBackBeforeTheAnswer(t *testing.T) {
	w := newWorld(t)
	for n := range 30 {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Duration(n)*100*time.Microsecond, cancel)
		if _, err := w.host.Spawn(ctx, alice, w.script("true")); err != nil && CodeOf(err) != Cancelled {
			t.Fatal(err)
		}
		cancel()
	}
	w.settled()
	w.until("nothing is left", func() bool { return w.directories() == 0 })
}

// directories counts what is in processes/.
func (w *world) directories() int {
	w.t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.data, "processes"))
	if err != nil {
		w.t.Fatal(err)
	}
	return len(entries)
}
