package host

import (
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/internal/worldcheck"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// brokenDisk has every write of this process to a file fail, as a disk does
// that is broken, until the returned function is called. Programs that run
// already are not concerned; tests that use it are not parallel.
func brokenDisk(t *testing.T) (repair func()) {
	t.Helper()
	signal.Ignore(unix.SIGXFSZ)
	var before unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 0, Max: unix.RLIM_INFINITY}, &before); err != nil {
		t.Fatal(err)
	}
	repaired := false
	repair = func() {
		if repaired {
			return
		}
		repaired = true
		if err := unix.Prlimit(0, unix.RLIMIT_FSIZE, &before, nil); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(repair)
	return repair
}

// failedCommit has one commit fail, so that the ledger is known to be broken.
func (w *world) failedCommit() {
	w.t.Helper()
	w.until("a commit fails", func() bool {
		_, err := w.host.Cancel(w.t.Context(), operator, CancelRequest{Principal: "nobody", CallIDs: []string{"x"}})
		select {
		case <-w.live.Ledger().Failed():
			return true
		default:
			return err != nil
		}
	})
}

// TestExitWaitsForTheLedger has a program end while nothing can be committed:
// nobody is told before the ledger goes on, and then the true exit.
func TestExitWaitsForTheLedger(t *testing.T) {
	w := newWorld(t)
	p, r := w.start(alice, `until test -e "$WITNESS/gate"; do sleep 0.02; done; echo last words`)
	w.began(r)
	if err := os.WriteFile(filepath.Join(w.witness, "gate.tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	repair := brokenDisk(t)
	w.failedCommit()
	if _, err := w.host.SpawnBackground(t.Context(), bob, w.script("true")); CodeOf(err) != Unknown {
		t.Errorf("a spawn while nothing can be recorded: %v", err)
	}
	if err := os.Rename(filepath.Join(w.witness, "gate.tmp"), filepath.Join(w.witness, "gate")); err != nil {
		t.Fatal(err)
	}
	w.until("the end is seen", func() bool { ids := w.host.Unrecorded(); return len(ids) == 1 && ids[0] == p.ID() })
	short := 50 * time.Millisecond
	if _, err := p.Wait(t.Context(), alice, &short); CodeOf(err) != WaitTimeout {
		t.Errorf("wait returned early: %v", err)
	}
	if logs, err := p.ReadLogs(t.Context(), alice); err != nil || !logs.Running {
		t.Errorf("logs show an end that is not recorded: %+v, %v", logs, err)
	}
	repair()
	exit, err := p.Wait(t.Context(), alice, nil)
	if err != nil || exitText(&exit) != "code 0" {
		t.Errorf("%s, %v", exitText(&exit), err)
	}
	if ids := w.host.Unrecorded(); len(ids) != 0 {
		t.Errorf("still unrecorded: %v", ids)
	}
	w.until("bob's slot is free", func() bool { return w.counts("bob").Total() == 0 })
	if _, err := w.host.Spawn(t.Context(), bob, w.script("true")); err != nil {
		t.Errorf("a spawn after the repair: %v", err)
	}
}

// TestEmergencyEndsWhatRuns cancels while nothing can be committed: INT and KILL
// are sent all the same, and recorded late.
func TestEmergencyEndsWhatRuns(t *testing.T) {
	w := newWorld(t)
	p, r := w.start(alice, "trap '' INT; "+stays)
	w.began(r)
	repair := brokenDisk(t)
	w.failedCommit()
	got, err := w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice", CallIDs: []string{"call-1"}, Reason: "a test"})
	if err != nil || !got.Unrecorded || len(got.Handles) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	w.until("the program is dead", func() bool { return len(worldcheck.Marked(w.witness)) == 0 })
	if p.o.over() {
		t.Error("an end was told that is not recorded")
	}
	repair()
	if exit, err := p.Wait(t.Context(), alice, nil); err != nil || exitText(&exit) != "signal 9" {
		t.Errorf("%s, %v", exitText(&exit), err)
	}
	var late []uint32
	for _, e := range w.events(1) {
		switch b := e.Body.(type) {
		case *event.SignalRequested:
			if !b.Late || b.SentWall == 0 || b.Cause != "cancel" {
				t.Errorf("%+v, want a late signal of the cancel", b)
			}
			late = append(late, b.Signal)
		case *event.SignalSent:
			if !b.Delivered {
				t.Errorf("%+v, want delivered", b)
			}
		}
	}
	if len(late) != 2 || late[0] != uint32(unix.SIGINT) || late[1] != uint32(unix.SIGKILL) {
		t.Errorf("late signals %v, want INT and KILL", late)
	}
	w.until("the cancel is settled", func() bool { return len(w.live.Snapshot().Cancels()) == 0 })
}

// TestFailedDecisionLeaksNothing breaks the disk under a spawn's own decision.
func TestFailedDecisionLeaksNothing(t *testing.T) {
	for range 5 {
		w := newWorld(t)
		repair := brokenDisk(t)
		r := w.script("true")
		if _, err := w.host.Spawn(t.Context(), alice, r); CodeOf(err) != Unknown {
			t.Errorf("%v, want unknown", err)
		}
		repair()
		w.until("the ledger goes on and nothing is counted", func() bool {
			_, err := w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "nobody"})
			return err == nil && w.live.Snapshot().HeldAll() == projector.Counts{}
		})
		w.settled()
		if _, err := os.Stat(filepath.Join(w.witness, r.Args[2])); err == nil {
			t.Error("the program ran")
		}
		w.finish()
	}
}

// TestEmergencyWhileAnOwnerWaits has the disk fail between a signal and its
// record: the owner waits for the ledger, and ends its process all the same.
func TestEmergencyWhileAnOwnerWaits(t *testing.T) {
	w := newWorld(t)
	p, r := w.start(alice, "trap : USR1; trap '' INT; "+stays)
	w.began(r)
	var repair func()
	w.passing = func(point string) {
		if point == "signal-sent" && repair == nil {
			repair = brokenDisk(t)
		}
	}
	signalled := make(chan error, 1)
	go func() { signalled <- p.Signal(t.Context(), alice, SigUsr1) }()
	w.until("the ledger has failed", func() bool {
		select {
		case <-w.live.Ledger().Failed():
			return true
		default:
			return false
		}
	})
	if got, err := w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice", CallIDs: []string{"call-1"}}); err != nil || !got.Unrecorded {
		t.Fatalf("%+v, %v", got, err)
	}
	w.until("the program is dead", func() bool { return len(worldcheck.Marked(w.witness)) == 0 })
	repair()
	if err := <-signalled; err != nil {
		t.Errorf("the signal: %v", err)
	}
	if exit, err := p.Wait(t.Context(), alice, nil); err != nil || exitText(&exit) != "signal 9" {
		t.Errorf("%s, %v", exitText(&exit), err)
	}
	w.until("the cancel is settled", func() bool { return len(w.live.Snapshot().Cancels()) == 0 })
}

// survives has the commit of a call fail and persist: the caller is told that it
// is not recorded.
func (w *world) survives(t *testing.T, call func() error) {
	t.Helper()
	w.fault.next(true)
	if err := call(); CodeOf(err) != Unknown || err == nil {
		t.Errorf("a call whose commit failed: %v", err)
	}
	w.until("the ledger goes on", func() bool { return !w.hasFailed() })
}

func newFaultyWorld(t *testing.T) *world {
	return newWorld(t, func(w *world) {
		w.fault = &fault{}
		w.ledger.Around = w.fault.around
	})
}

func TestAWatchOfACommitThatFailedAndPersisted(t *testing.T) {
	w := newFaultyWorld(t)
	l := w.hears("alice")
	body := "trap 'exit 4' TERM; " + stays
	armed, r := w.keep(alice, body)
	w.began(r)
	w.survives(t, func() error { return w.host.WatchProcess(t.Context(), alice, armed, ptr("armed")) })
	if err := w.host.WatchProcess(t.Context(), alice, armed, ptr("armed")); err != nil {
		t.Fatal(err)
	}
	disarmed, r := w.keep(alice, body)
	w.began(r)
	if err := w.host.WatchProcess(t.Context(), alice, disarmed, ptr("disarmed")); err != nil {
		t.Fatal(err)
	}
	o := w.kept(alice, disarmed)
	w.survives(t, func() error { return w.host.UnwatchProcess(t.Context(), alice, disarmed) })
	if o.watched(func(*watch) bool { return true }) { // at once: nothing is decided before
		t.Error("it is watched")
	}
	for _, id := range []string{disarmed, armed} {
		if _, err := w.host.StopProcess(t.Context(), alice, id, nil); err != nil {
			t.Fatal(err)
		}
	}
	topic, _ := l.next()
	for topic == "log-ready.armed" { // a shell may tell of its child's end
		topic, _ = l.next()
	}
	if topic != "exited.armed" {
		t.Errorf("published %s", topic)
	}
}

func TestAnInputClosedByACommitThatFailedAndPersisted(t *testing.T) {
	w := newFaultyWorld(t)
	p, _ := w.attached("cat; echo end", open)
	w.writes(p, "all ")
	w.survives(t, func() error { return p.CloseStdin(t.Context(), alice) })
	if r := w.withOutput(p); string(r.Stdout) != "all end\n" {
		t.Errorf("the program read %q", r.Stdout)
	}
	if got := w.inputs(); len(got) != 2 || got[1] != "guest after 4 by host" {
		t.Errorf("recorded %q", got)
	}
}

// TestASignalOfACommitThatFailedAndPersisted: whoever asked was told that it is
// not recorded, so it is not sent, and that is recorded.
func TestASignalOfACommitThatFailedAndPersisted(t *testing.T) {
	w := newFaultyWorld(t)
	p, r := w.start(alice, `trap 'echo >"$WITNESS/told"' USR1; `+stays)
	w.began(r)
	w.survives(t, func() error { return p.Signal(t.Context(), alice, SigUsr1) })
	w.until("it is recorded that it was not sent", func() bool {
		for _, e := range w.events(1) {
			if b, ok := e.Body.(*event.SignalSent); ok && !b.Delivered && b.Signal == uint32(unix.SIGUSR1) {
				return true
			}
		}
		return false
	})
	if _, err := os.Stat(filepath.Join(w.witness, "told")); err == nil {
		t.Error("it was sent")
	}
}

// TestAReleaseIsBegunOnce has a release wait for the ledger while there is ever
// more to look at: none is begun inside of another.
func TestAReleaseIsBegunOnce(t *testing.T) {
	w := newWorld(t)
	id, o := w.endedKept(func(*Request) {})
	repair := brokenDisk(t)
	w.failedCommit()
	released := make(chan error, 1)
	go func() { released <- w.host.ReleaseProcess(t.Context(), alice, id) }()
	releases := func() int {
		all := make([]byte, 1<<20)
		return strings.Count(string(all[:runtime.Stack(all, true)]), "(*owner).releaseNow(")
	}
	w.until("the release waits", func() bool { return releases() > 0 })
	for range 20 {
		o.poke()
		w.until("it is looked at", func() bool { return len(o.wake) == 0 })
	}
	if n := releases(); n != 1 {
		t.Errorf("%d releases, one inside of another", n)
	}
	repair()
	if err := <-released; err != nil {
		t.Error(err)
	}
}

// TestAnInputIsResumedInAnOutage has the disk fail as soon as a process is taken
// in whose input is still to be closed: it can be ended all the same.
func TestAnInputIsResumedInAnOutage(t *testing.T) {
	w := newWorld(t)
	p, _ := w.attached("cat", open)
	w.record(p.o.scope, &event.StdinClosed{Reason: "guest"})
	f := w.only()
	w.stopShim(f)
	w.abandon()
	w.patience = startBound
	w.open() // it is taken in later
	broken := make(chan func(), 1)
	w.live.OnCommit(func(es []*event.Event) {
		if es[0].Kind() == event.KindProcessAdopted {
			broken <- brokenDisk(t)
		}
	})
	if err := unix.Kill(int(f.Shim.PID), unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	repair := within(t, 20*time.Second, "it is taken in", broken)
	w.until("a commit fails", w.hasFailed)
	stopped := make(chan error, 1)
	go func() {
		_, err := w.host.StopHandle(t.Context(), operator, f.ID, nil)
		stopped <- err
	}()
	w.until("the program is dead", func() bool { return len(worldcheck.Marked(w.witness)) == 0 })
	repair()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
