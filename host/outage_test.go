package host

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/internal/worldcheck"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
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

// TestDurableCancelIsCarriedOutDuringAnOutage has the disk break while an owner
// waits to record a signal, after a cancel became durable: INT is sent, and
// KILL after it.
func TestDurableCancelIsCarriedOutDuringAnOutage(t *testing.T) {
	w := newWorld(t)
	p, r := w.start(alice, "trap : USR1; trap '' INT; "+stays)
	w.began(r)
	var repair func()
	cancelled := make(chan CancelResult, 1)
	w.passing = func(point string) {
		if point != "signal-sent" || repair != nil {
			return
		}
		go func() {
			got, err := w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice", CallIDs: []string{"call-1"}})
			if err != nil {
				t.Error(err)
			}
			cancelled <- got
		}()
		w.until("the cancel is durable", func() bool { return len(w.live.Snapshot().Cancels()) == 1 })
		repair = brokenDisk(t)
	}
	signalled := make(chan error, 1)
	go func() { signalled <- p.Signal(t.Context(), alice, SigUsr1) }()
	w.until("the ledger has failed", w.hasFailed)
	w.dead()
	if p.o.over() {
		t.Error("an end was told that is not recorded")
	}
	repair()
	if err := <-signalled; err != nil {
		t.Errorf("the signal: %v", err)
	}
	if got := <-cancelled; got.Unrecorded || len(got.Handles) != 1 {
		t.Errorf("%+v, want a recorded cancel of one process", got)
	}
	if exit, err := p.Wait(t.Context(), alice, nil); err != nil || exitText(&exit) != "signal 9" {
		t.Errorf("%s, %v", exitText(&exit), err)
	}
	sent := map[uint32]bool{}
	for _, e := range w.events(1) {
		if b, ok := e.Body.(*event.SignalSent); ok {
			sent[b.Signal] = b.Delivered
		}
	}
	if !sent[uint32(unix.SIGUSR1)] || !sent[uint32(unix.SIGINT)] || !sent[uint32(unix.SIGKILL)] {
		t.Errorf("recorded as sent: %v; want USR1, INT and KILL", sent)
	}
}

// TestTimeoutIsToldOnceRecorded has a spawn run out of time while the ledger
// cannot commit: its caller is told when that is recorded, not before.
func TestTimeoutIsToldOnceRecorded(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.config.Principals = map[string]policy.Quotas{"alice": {Sync: 1, MaxTimeout: time.Second}}
	})
	r := w.script(stays)
	told := make(chan error, 1)
	go func() { _, err := w.host.Spawn(t.Context(), alice, r); told <- err }()
	w.began(r)
	w.until("its start is recorded", func() bool {
		h := w.live.Snapshot().Handles()
		return len(h) == 1 && h[0].Phase == projector.PhaseStarted
	})
	repair := brokenDisk(t)
	w.failedCommit()
	w.dead()
	w.until("its end is seen", func() bool { return len(w.host.Unrecorded()) == 1 })
	select {
	case err := <-told:
		t.Errorf("told %v before anything of it was recorded", err)
	default:
	}
	repair()
	if err := within(t, 10*time.Second, "Spawn returns", told); CodeOf(err) != WaitTimeout {
		t.Errorf("%v, want a timeout", err)
	}
}

// TestUnrecordedCancelIsGentle has the caller of a sync spawn leave because of a
// cancel that cannot be recorded: INT ends the program, not the KILL of a caller
// who just leaves.
func TestUnrecordedCancelIsGentle(t *testing.T) {
	w := newWorld(t)
	soft, i, err := w.host.BeginInvocation(t.Context(), alice, "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	r := w.script(`trap 'echo >"$WITNESS/gentle"; exit 3' INT; ` + stays)
	answered := make(chan error, 1)
	go func() { _, err := w.host.Spawn(soft, alice, r); answered <- err }()
	w.began(r)
	repair := brokenDisk(t)
	w.failedCommit()
	if got, err := w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice", CallIDs: []string{"call-1"}}); err != nil || !got.Unrecorded {
		t.Errorf("%+v, %v", got, err)
	}
	if err := within(t, 5*time.Second, "Spawn returns", answered); CodeOf(err) != Cancelled {
		t.Errorf("%v, want cancelled", err)
	}
	w.dead()
	repair()
	if _, err := os.Stat(filepath.Join(w.witness, "gentle")); err != nil {
		t.Errorf("INT did not reach the program: %v", err)
	}
	if err := i.Finish(Finished{Outcome: "cancelled"}); err != nil {
		t.Error(err)
	}
}

// TestAnswerClaimsNoMoreThanIsRecorded cancels a spawn before go while the
// ledger cannot commit: that nothing ran is not recorded, so it is not told.
func TestAnswerClaimsNoMoreThanIsRecorded(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var repair func()
	w.passing = func(point string) {
		if point == "before-go" && repair == nil {
			repair = brokenDisk(t)
			w.failedCommit()
			cancel()
		}
	}
	_, err := w.host.Spawn(ctx, alice, w.script("true"))
	if CodeOf(err) != Cancelled || strings.Contains(err.Error(), "nothing ran") {
		t.Errorf("%v, want that it was cancelled and no more", err)
	}
	repair()
}
