package verify

import (
	"fmt"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// links follows the pointers of events to the one before of the same handle.
type links struct {
	last  map[ulid.ULID]uint64 // by handle that is not released
	blind uint64               // of events up to here, some were not seen
}

// follow takes in the next event and says what is wrong with its pointer. A
// handle's events hang together from spawn.requested to handle.released, or to
// the refusal; before and after they point nowhere.
func (l *links) follow(e *event.Event) (wrong string) {
	if e.Handle.IsZero() {
		if e.Prev != 0 {
			return fmt.Sprintf("it points back to event %d and has no handle", e.Prev)
		}
		return ""
	}
	held := l.last[e.Handle]
	unseen := held <= l.blind && (e.Prev == 0 || e.Prev >= held && e.Prev <= l.blind)
	if e.Prev != held && !unseen {
		wrong = fmt.Sprintf("it points back to event %d, the one before it of the same handle is %d", e.Prev, held)
	}
	switch b := e.Body.(type) {
	case *event.HandleReleased:
		delete(l.last, e.Handle)
		return wrong
	case *event.SpawnDecided:
		if b.Outcome == event.OutcomeRefused {
			delete(l.last, e.Handle)
			return wrong
		}
	}
	if e.Prev != 0 || held != 0 || e.Kind() == event.KindSpawnRequested {
		l.last[e.Handle] = e.Seq
	}
	return wrong
}
