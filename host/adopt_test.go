package host

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/ledger/event"
)

// startPersistent runs a script that outlives the daemon.
func (w *world) startPersistent(body string) *owner {
	w.t.Helper()
	id, r := w.keep(alice, body)
	w.began(r)
	return w.kept(alice, id)
}

// adopted starts the daemon again and returns the one owner.
func (w *world) adopted() *owner {
	w.t.Helper()
	w.abandon()
	if found := w.open(); found.Adopted != 1 {
		w.t.Fatalf("recovery found %+v, want one adopted", found)
	}
	owners := w.host.ownersOf(func(*owner) bool { return true })
	if len(owners) != 1 {
		w.t.Fatalf("%d owners, want 1", len(owners))
	}
	w.until("it is recorded as adopted", func() bool {
		h, ok := w.live.Snapshot().Handle(owners[0].id)
		return ok && h.Adopted.Seq != 0
	})
	return owners[0]
}

func TestPersistentIsAdopted(t *testing.T) {
	w := newWorld(t)
	w.startPersistent("trap 'echo after; exit 5' TERM; echo before; " + stays)
	o := w.adopted()
	w.check()
	if stdout, _ := o.drain(); string(stdout) != "before\n" {
		t.Errorf("logs after the restart: %q", stdout)
	}
	want := &event.SignalRequested{Signal: uint32(unix.SIGTERM), Target: event.TargetProgram, Cause: "signal"}
	if delivered, err := o.signal(t.Context(), hostActor, want); err != nil || !delivered {
		t.Errorf("signal after the restart: %v, %v", delivered, err)
	}
	exit, err := o.wait(t.Context(), nil)
	if err != nil || exitText(&exit) != "code 5" {
		t.Errorf("%s, %v", exitText(&exit), err)
	}
	if stdout, _ := o.drain(); string(stdout) != "after\n" {
		t.Errorf("the rest of the logs: %q", stdout)
	}
	o.letGo("dropped", "")
	<-o.gone
}

// TestCancelIsResumed restarts the daemon between the INT of a cancel and its
// KILL.
func TestCancelIsResumed(t *testing.T) {
	w := newWorld(t)
	o := w.startPersistent("trap '' INT; " + stays)
	// A cancel by call ids does not reach the persistent tier, so it is
	// written as it would be for one that does.
	id := newID()
	scope := o.scope
	scope.Actor = operator
	w.append(
		&event.Event{Scope: event.Scope{Principal: "alice", Actor: operator}, Body: &event.CancelRequested{Cancel: id[:], CallIDs: []string{"call-1"}, Handles: [][]byte{o.id[:]}}},
		&event.Event{Scope: scope, Body: &event.SignalRequested{Signal: uint32(unix.SIGINT), Target: event.TargetTree, Cause: "cancel", Cancel: id[:]}},
	)
	requested := boottime()
	o = w.adopted()
	exit, err := o.wait(t.Context(), nil)
	if err != nil || exitText(&exit) != "signal 9" || o.outcome.cause != "cancel" {
		t.Errorf("%s by %s, %v, want KILL by the cancel", exitText(&exit), o.outcome.cause, err)
	}
	if took := time.Duration(boottime() - requested); took < 1900*time.Millisecond || took > 10*time.Second {
		t.Errorf("killed after %v, want two seconds", took)
	}
	w.until("the cancel is finished", func() bool { return len(w.live.Snapshot().Cancels()) == 0 })
	o.letGo("dropped", "")
	<-o.gone
}

// TestShimKilledUnderTheDaemon has the second witness see the exit.
func TestShimKilledUnderTheDaemon(t *testing.T) {
	w := newWorld(t)
	p, r := w.start(alice, stays)
	w.began(r)
	w.killShim(w.only())
	if _, err := p.Wait(t.Context(), alice, nil); CodeOf(err) != Unknown {
		t.Errorf("wait: %v, want unknown: nobody invents an exit", err)
	}
	var lost *event.ProcessLost
	for _, e := range w.events(1) {
		if b, ok := e.Body.(*event.ProcessLost); ok {
			lost = b
		}
	}
	if lost == nil || lost.Reason != "shim-killed" {
		t.Fatalf("%+v, want shim-killed", lost)
	}
	if lost.Witness != nil && exitText(lost.Witness) != "signal 9" {
		t.Errorf("witness %s", exitText(lost.Witness))
	}
	if logs, err := p.ReadLogs(t.Context(), alice); err != nil || logs.Running || logs.Exit != nil {
		t.Errorf("logs of a lost process: %+v, %v", logs, err)
	}
}
