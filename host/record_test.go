package host

import (
	"testing"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// TestPersistedAttemptIsFound looks for the events of an attempt in the ledger:
// those that are there are not to be appended again.
func TestPersistedAttemptIsFound(t *testing.T) {
	w := newWorld(t)
	var there attempt
	if _, err := w.host.decide(t.Context(), func(_ *projector.State, next ledger.Header) ([]*event.Event, error) {
		there = attempt{next.Seq, next.ID, 2}
		ended := func(name string) *event.Event {
			return &event.Event{Scope: event.Scope{Actor: hostActor}, Body: &event.OrphanEnded{Directory: name, Reason: "a test"}}
		}
		return []*event.Event{ended("one"), ended("two")}, nil
	}); err != nil {
		t.Fatal(err)
	}
	other, later := there, there
	other.id[15]++ // another event took the place
	later.seq += 2 // the ledger does not reach as far
	for name, a := range map[string]attempt{"other": other, "later": later, "none": {}} {
		if c := w.host.persisted(&a); c != nil {
			t.Errorf("%s: found %d events", name, len(c.Events))
		}
	}
	repair := brokenDisk(t)
	w.failedCommit()
	doubt := there
	if c := w.host.persisted(&doubt); c != nil || doubt != there {
		t.Error("decided before the ledger was reopened")
	}
	repair()
	w.until("the ledger goes on", func() bool { return !w.hasFailed() })
	c := w.host.persisted(&doubt)
	if c == nil || len(c.Events) != 2 || len(c.Receipts) != 0 || c.Events[1].Body.(*event.OrphanEnded).Directory != "two" {
		t.Errorf("%+v, want both events and no receipt", c)
	}
	if doubt != (attempt{}) {
		t.Error("the attempt is still in doubt")
	}
}

// TestKillTakesItsOwnOrder has another order stand before the one that recovery
// carries out by identity.
func TestKillTakesItsOwnOrder(t *testing.T) {
	w := newWorld(t)
	o := w.host.newOwner(newID(), event.Scope{}, event.TierBackground, event.Orders{})
	o.enqueue(&event.Event{Header: event.Header{Seq: 7}}, &event.SignalRequested{Signal: 15})
	o.enqueue(&event.Event{Header: event.Header{Seq: 9}}, &event.SignalRequested{Signal: 9})
	first, second := o.queue[0], o.queue[1]
	if !o.takeOut(second) || o.takeOut(second) {
		t.Error("the second order is to be taken out once")
	}
	if len(o.queue) != 1 || o.queue[0] != first {
		t.Errorf("left in the queue: %+v", o.queue)
	}
}
