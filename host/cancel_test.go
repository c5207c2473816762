package host

import (
	"context"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/worldcheck"
	"github.com/astrid-os/processledger/ledger/event"
)

var operator = event.Actor{Kind: event.ActorOperator, UID: 1000, Role: "operator"}

// called is alice's caller under another call id.
func called(c Caller, id string) Caller {
	c.CallID = id
	return c
}

func TestCancelReachesTheCallOnly(t *testing.T) {
	w := newWorld(t)
	a, _ := w.start(called(alice, "call-a"), stays)
	b, _ := w.start(called(alice, "call-b"), stays)
	none, _ := w.start(called(alice, ""), stays)
	peer, _ := w.start(called(bob, ""), stays)
	got, err := w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice", CallIDs: []string{"call-a"}, Reason: "a test"})
	if err != nil || len(got.Handles) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, p := range []*Process{a, none} {
		if exit, err := p.Wait(t.Context(), alice, nil); err != nil || exitText(&exit) != "signal 2" {
			t.Errorf("%+v, %v, want the end by INT", exit, err)
		}
	}
	for _, p := range []*Process{b, peer} {
		if p.o.over() {
			t.Error("a process of another call has ended")
		}
	}
	w.until("the cancel is finished", func() bool { return len(w.live.Snapshot().Cancels()) == 0 })
}

func TestCancelEndsTheTreeByKill(t *testing.T) {
	w := newWorld(t)
	p, r := w.start(alice, "trap '' INT; setsid sh -c \"trap '' INT; "+stays+"\" & "+stays)
	w.began(r)
	began := time.Now()
	if _, err := w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice", CallIDs: []string{"call-1"}}); err != nil {
		t.Fatal(err)
	}
	exit, err := p.Wait(t.Context(), alice, nil)
	if took := time.Since(began); err != nil || exitText(&exit) != "signal 9" || took < 1900*time.Millisecond || took > 6*time.Second {
		t.Errorf("%s, %v after %v, want signal 9 after two seconds", exitText(&exit), err, took)
	}
	if left := worldcheck.Marked(w.witness); len(left) != 0 {
		t.Errorf("left over: %+v", left)
	}
}

// TestCancelInterruptsTheCall has a sync spawn return at once, while its slot
// stays taken until the program has ended.
func TestCancelInterruptsTheCall(t *testing.T) {
	w := newWorld(t)
	soft, invocation, err := w.host.BeginInvocation(t.Context(), alice, "tool_execute_x", []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	other, unconcerned, err := w.host.BeginInvocation(t.Context(), called(alice, "call-9"), "tool_execute_x", nil)
	if err != nil {
		t.Fatal(err)
	}
	r := w.script("trap '' INT; " + stays)
	answered := make(chan error, 1)
	go func() {
		_, err := w.host.Spawn(soft, alice, r)
		answered <- err
	}()
	w.began(r)
	if _, err := w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice", CallIDs: []string{"call-1"}}); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; CodeOf(err) != Cancelled {
		t.Errorf("the spawn returned %v, want cancelled", err)
	}
	if n := w.counts("alice").Sync; n != 1 {
		t.Errorf("%d slots taken, want the one of the program that ignores INT", n)
	}
	if other.Err() != nil {
		t.Error("another call was cancelled")
	}
	w.until("the program is killed", func() bool { return w.counts("alice").Total() == 0 })
	for _, i := range []*Invocation{invocation, unconcerned} {
		if err := i.Finish(Finished{Outcome: "cancelled"}); err != nil {
			t.Error(err)
		}
	}
	if n := len(w.live.Snapshot().Invocations()); n != 0 {
		t.Errorf("%d invocations are open", n)
	}
}

// TestAbandonedSyncSpawnIsKilled is for a caller who leaves without a cancel.
func TestAbandonedSyncSpawnIsKilled(t *testing.T) {
	w := newWorld(t)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	r := w.script("trap '' INT TERM; " + stays)
	answered := make(chan error, 1)
	go func() {
		_, err := w.host.Spawn(ctx, alice, r)
		answered <- err
	}()
	w.began(r)
	leave()
	if err := <-answered; CodeOf(err) != Cancelled {
		t.Errorf("%v, want cancelled", err)
	}
	w.until("it is killed", func() bool { return w.counts("alice").Total() == 0 })
}

func TestRetireKillsAllOfAPrincipal(t *testing.T) {
	w := newWorld(t)
	for _, c := range []Caller{called(alice, "call-a"), called(alice, ""), {Principal: "alice", Capsule: "other", Instance: "i-7"}} {
		w.start(c, "trap '' INT TERM; "+stays)
	}
	spared, _ := w.start(bob, stays)
	got, err := w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice"})
	if err != nil || len(got.Handles) != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	w.until("all are dead", func() bool { return w.counts("alice").Total() == 0 })
	if spared.o.over() {
		t.Error("a peer's process has ended")
	}
}

func TestInstanceGoneReleasesItsOwn(t *testing.T) {
	w := newWorld(t)
	w.start(alice, "trap '' INT TERM; "+stays)
	ended, _ := w.start(alice, "true")
	if _, err := ended.Wait(t.Context(), alice, nil); err != nil {
		t.Fatal(err)
	}
	kept, _ := w.start(bob, stays)
	w.host.InstanceGone(t.Context(), "alice", "builder", "i-1", "trap")
	s := w.live.Snapshot()
	if n := s.HeldPair("alice", "builder").Total(); n != 0 {
		t.Errorf("%d handles of the instance are not released", n)
	}
	if kept.o.over() {
		t.Error("a process of another instance has ended")
	}
}

// TestDurableCancelReachesTheCall: no spawn of the call can be decided after
// its cancel and find the caller still there.
func TestDurableCancelReachesTheCall(t *testing.T) {
	w := newWorld(t)
	soft, i, err := w.host.BeginInvocation(t.Context(), alice, "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	id := newID()
	scope := event.Scope{Principal: "alice", Actor: operator}
	w.record(scope, &event.CancelRequested{Cancel: id[:], CallIDs: []string{"call-1"}})
	if soft.Err() == nil {
		t.Error("the cancel is durable, and the call goes on")
	}
	if _, err := w.host.SpawnBackground(soft, alice, w.script(stays)); CodeOf(err) != Cancelled {
		t.Errorf("a spawn after it: %v", err)
	}
	w.record(scope, &event.CancelFinished{Cancel: id[:]})
	if err := i.Finish(Finished{Outcome: "cancelled"}); err != nil {
		t.Error(err)
	}
}
