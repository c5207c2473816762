package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// untouch removes a file of the witness, if it is there.
func (w *world) untouch(name string) {
	w.t.Helper()
	if err := os.Remove(filepath.Join(w.witness, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Fatal(err)
	}
}

// TestCancelByCallSparesThePersistent holds what a cancel by call ids reaches of
// both tiers: background processes of the call and those without a call id, and
// no persistent one.
func TestCancelByCallSparesThePersistent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, _ := w.keep(called(alice, "call-a"), stays)
	none, _ := w.keep(called(alice, ""), stays)
	a, _ := w.start(called(alice, "call-a"), stays)
	without, _ := w.start(called(alice, ""), stays)
	b, _ := w.start(called(alice, "call-b"), stays)
	got, err := w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice", Capsule: "builder", CallIDs: []string{"call-a"}})
	if err != nil || len(got.Handles) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, p := range []*Process{a, without} {
		if _, err := p.Wait(t.Context(), alice, nil); err != nil {
			t.Error(err)
		}
	}
	if b.o.over() || w.after(id) != "running" || w.after(none) != "running" {
		t.Error("the cancel reached too much")
	}
}

// TestRetiringEndsEveryTier kills at once, also what ignores TERM and INT.
func TestRetiringEndsEveryTier(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, r := w.keep(alice, "trap '' TERM INT; (setsid sh -c '"+stays+"') & "+stays)
	w.began(r)
	ended, _ := w.keep(alice, "exit 3")
	w.ended(ended)
	p, _ := w.start(alice, stays)
	his, _ := w.keep(bob, stays)
	if got, err := w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice"}); err != nil || len(got.Handles) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if exit, cause := w.endOf(w.kept(alice, id)); exitText(exit) != "signal 9" || cause != "cancel" {
		t.Errorf("%s by %s", exitText(exit), cause)
	}
	if _, err := p.Wait(t.Context(), alice, nil); err != nil {
		t.Error(err)
	}
	if w.after(ended) != "code 3" || w.kept(bob, his).over() {
		t.Error("the retirement reached too much")
	}
	w.until("the cancel is finished", func() bool { return len(w.live.Snapshot().Cancels()) == 0 })
}

// TestShutdownLeavesThePersistent holds that an orderly stop ends no persistent
// process, says of none that it ended, and that the next daemon has it.
func TestShutdownLeavesThePersistent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, r := w.keep(alice, "trap 'exit 4' TERM; "+stays)
	w.began(r)
	pid := *w.statusOf(id).OSPid
	done, _ := w.keep(alice, "echo left; exit 3")
	w.ended(done)
	before := w.live.Snapshot().Seq()
	if err := w.host.Shutdown(t.Context(), "a test"); err != nil {
		t.Fatal(err)
	}
	for _, e := range w.events(before + 1) {
		if e.Kind() != event.KindDaemonStopped {
			t.Errorf("the shutdown wrote %v", e.Kind())
		}
	}
	w.abandon()
	w.open()
	if i := w.statusOf(id); i.Phase != Running || *i.OSPid != pid {
		t.Errorf("after the restart: %+v", i)
	}
	if logs, err := w.host.ReadProcessLogs(t.Context(), alice, done); err != nil || string(logs.Stdout) != "left\n" || logs.Running {
		t.Errorf("what had ended: %+v, %v", logs, err)
	}
	if exit, err := w.host.StopProcess(t.Context(), alice, id, nil); err != nil || exitText(&exit) != "code 4" {
		t.Errorf("%s, %v", exitText(&exit), err)
	}
}

func (w *world) statusOf(id string) Info {
	w.t.Helper()
	i, err := w.host.ProcessStatus(w.t.Context(), alice, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

// keepDecided has a persistent spawn stand after its decision and before its go,
// until leave is closed.
func (w *world) keepDecided(ctx context.Context) (answered chan error, leave chan struct{}) {
	at, leave := make(chan struct{}), make(chan struct{})
	w.passing = func(point string) {
		if point == "before-go" {
			close(at)
			<-leave
		}
	}
	answered = make(chan error, 1)
	go func() {
		_, err := w.host.SpawnPersistent(ctx, alice, w.script(stays))
		answered <- err
	}()
	<-at
	return answered, leave
}

// TestNothingStartsBehindAShutdown has a persistent spawn be decided when the
// daemon is told to stop: it is aborted, and that stands before daemon.stopped.
func TestNothingStartsBehindAShutdown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	answered, leave := w.keepDecided(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- w.host.Shutdown(context.Background(), "a test") }()
	w.until("the spawn is forbidden", func() bool {
		return len(w.host.ownersOf(func(o *owner) bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			return o.noGo == "shutdown"
		})) == 1
	})
	close(leave)
	if err := within(t, 20*time.Second, "the shutdown is over", stopped); err != nil {
		t.Error(err)
	}
	if err := within(t, 20*time.Second, "the spawn is answered", answered); CodeOf(err) != Unknown {
		t.Errorf("the spawn: %v", err)
	}
	es := w.events(1)
	if last := es[len(es)-1].Kind(); last != event.KindDaemonStopped {
		t.Errorf("the last event is %v", last)
	}
}

// TestPersistentDuringAnOutage: while the ledger cannot commit nothing
// persistent starts or is attached to, and a stop ends the program all the same;
// it is told once that is recorded.
func TestPersistentDuringAnOutage(t *testing.T) {
	w := newWorld(t)
	id, r := w.keep(alice, "trap 'exit 4' TERM; "+stays)
	w.began(r)
	other, _ := w.keep(alice, "exit 3")
	w.ended(other)
	repair := brokenDisk(t)
	w.failedCommit()
	for name, err := range map[string]error{
		"spawn":  second(w.host.SpawnPersistent(t.Context(), alice, w.script("true"))),
		"attach": second(w.host.Attach(t.Context(), alice, id)),
		"watch":  w.host.WatchProcess(t.Context(), alice, id, nil),
	} {
		if CodeOf(err) != Unknown {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := w.directories(); n != 2 {
		t.Errorf("%d process directories, want those of before", n)
	}
	stopped := make(chan error, 1)
	go func() {
		exit, err := w.host.StopProcess(t.Context(), alice, id, nil)
		if err == nil && exitText(&exit) != "code 4" {
			t.Errorf("stopped with %s", exitText(&exit))
		}
		stopped <- err
	}()
	w.dead()
	ctx, leave := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer leave()
	if err := w.host.ReleaseProcess(ctx, alice, other); CodeOf(err) != Cancelled {
		t.Errorf("a release that cannot be recorded: %v", err)
	}
	select {
	case err := <-stopped:
		t.Errorf("told before it was recorded: %v", err)
	default:
	}
	repair()
	if err := within(t, 20*time.Second, "the stop is told", stopped); err != nil {
		t.Error(err)
	}
	w.until("both are released", func() bool { return w.live.Snapshot().HeldAll().Total() == 0 })
	w.settled()
}

func second[T any](_ T, err error) error { return err }

// TestTimersDuringAnOutage has idle and retention run out while nothing can be
// recorded: the idle program is ended, the ended one kept, and both are recorded
// and released when the ledger goes on.
func TestTimersDuringAnOutage(t *testing.T) {
	w := newWorld(t)
	idle, r := w.keep(alice, "trap 'exit 4' TERM; "+stays, idleAfter(700*time.Millisecond), retainedFor(time.Second))
	w.began(r)
	over, _ := w.keep(alice, "exit 3", retainedFor(700*time.Millisecond))
	w.ended(over)
	repair := brokenDisk(t)
	w.failedCommit()
	w.dead()
	time.Sleep(time.Second) // longer than the retention
	if w.after(over) != "code 3" || w.directories() != 2 {
		t.Errorf("%s with %d directories: released without a record", w.after(over), w.directories())
	}
	if i := w.statusOf(idle); i.Phase != Running {
		t.Errorf("an end that is not recorded is told: %+v", i)
	}
	repair()
	w.until("both are released", func() bool { return w.live.Snapshot().HeldAll().Total() == 0 })
	w.settled()
	fired, _ := w.timers()
	if got := strings.Join(fired, " "); strings.Count(got, "idle") != 1 || strings.Count(got, "retention") != 2 {
		t.Errorf("fired %v", fired)
	}
}

// TestAnEndedProcessIsNeverSignalled: once an end is recorded, no signal is
// requested or sent, by stop, cancel, kill or retirement, so that whoever has
// the number then is safe.
func TestAnEndedProcessIsNeverSignalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, _ := w.keep(alice, "exit 3")
	w.ended(id)
	p := w.attach(id)
	for name, err := range map[string]error{
		"signal": ignore(w.host.SignalProcess(t.Context(), alice, id, SigTerm), Closed),
		"handle": ignore(p.Signal(t.Context(), alice, SigTerm), Closed),
		"kill":   second(p.Kill(t.Context(), alice)),
		"retire": second(w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice"})),
		"stop":   second(w.host.StopProcess(t.Context(), alice, id, nil)),
	} {
		if err != nil && CodeOf(err) != NoSuchProcess && CodeOf(err) != Closed {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, e := range w.events(1) {
		if k := e.Kind(); k == event.KindSignalRequested || k == event.KindSignalSent {
			t.Errorf("%v of an ended process", k)
		}
	}
}

// TestPhaseStarting: a process that is granted and not known to run is listed
// as starting.
func TestPhaseStarting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	answered, leave := w.keepDecided(t.Context())
	list, err := w.host.ListProcesses(t.Context(), alice, nil)
	if err != nil || len(list) != 1 || list[0].Phase != Starting || list[0].OSPid != nil || list[0].Exit != nil {
		t.Errorf("%+v, %v", list, err)
	}
	close(leave)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if list, _ := w.host.ListProcesses(t.Context(), alice, nil); len(list) != 1 || list[0].Phase != Running {
		t.Errorf("%+v", list)
	}
	if h, ok := w.live.Snapshot().ByProcessID(w.host.ids.hash(list[0].ID)); !ok || h.Phase != projector.PhaseStarted {
		t.Errorf("%+v", h)
	}
}
