package projector

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// fold is the side of Live that the ledger calls.
type fold Live

var _ ledger.Snapshotter = (*fold)(nil)

// Restore starts from an opening state. Readers go on seeing what was
// committed until the replay has come as far.
func (f *fold) Restore(opening []byte) error {
	l := (*Live)(f)
	s := New()
	if opening != nil {
		var err error
		if s, err = Decode(opening); err != nil {
			return fmt.Errorf("opening state: %w", err)
		}
	}
	l.load(s)
	return nil
}

// RestoreAt is Restore with what Freeze gave, if it is of the state after seq.
func (f *fold) RestoreAt(state []byte, seq uint64) error {
	s, err := Decode(state)
	if err == nil && s.seq != seq {
		err = fmt.Errorf("it is of event %d: %w", s.seq, ErrCorruptState)
	}
	if err != nil {
		return fmt.Errorf("state after event %d: %w", seq, err)
	}
	(*Live)(f).load(s)
	return nil
}

// load begins a replay from s.
func (l *Live) load(s *State) {
	l.tip, l.inflight = nil, nil
	l.closure.forget()
	l.loading = s
	l.swapIfCaughtUp()
}

// Replay takes in one stored event.
func (f *fold) Replay(e *event.Event) error {
	l := (*Live)(f)
	if l.loading != nil {
		err := l.loading.Apply(e)
		l.swapIfCaughtUp()
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.committed.Apply(e)
}

// Encode returns the committed state's bytes. It needs no lock: only the
// goroutine that calls it changes that state.
func (f *fold) Encode() []byte {
	l := (*Live)(f)
	l.settle()
	return l.committed.Encode()
}

// Freeze is Encode in two steps, of which only the first is the committer's.
func (f *fold) Freeze() (encode func() []byte) {
	l := (*Live)(f)
	l.settle()
	return l.committed.freeze()
}

// Rules is the hash of the kinds and fields that this build knows, its format
// of a state, and foldRevision.
func (f *fold) Rules() [32]byte { return rules() }

// foldRevision is raised whenever Apply makes another state of events that it
// knew before: a state that an earlier build has kept is replayed then instead
// of used. A test holds it to a fixed history.
const foldRevision = 1

var rules = sync.OnceValue(func() [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "state format %d, fold %d\n%s", stateFormat, foldRevision, event.Proto))
})

// Committed takes in a durable batch, then tells those who asked.
func (f *fold) Committed(es []*event.Event) {
	l := (*Live)(f)
	l.settle()
	l.advance(es)
	l.tipTakes(es)
	if hooks := l.hooks.Load(); hooks != nil {
		for _, fn := range *hooks {
			fn(es)
		}
	}
}

// tipTakes settles tip with a durable batch. It holds what is in flight
// already; what the ledger wrote of its own accord (segment.opened,
// clock.stepped) comes alone, and tip takes it in now.
func (l *Live) tipTakes(es []*event.Event) {
	switch {
	case l.tip == nil:
	case len(l.inflight) == 0:
		for _, e := range es {
			if l.tip.Apply(e) != nil {
				l.tip = nil
				break
			}
		}
	case !slices.Equal(l.inflight, es):
		l.tip = nil
	}
	clear(l.inflight)
	l.inflight = l.inflight[:0]
}

// advance applies durable events. They were applied to tip before, so an error
// here means that memory and disk say different things; nothing good can be
// decided after that, and a restart replays what is on disk.
func (l *Live) advance(es []*event.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range es {
		if err := l.committed.Apply(e); err != nil {
			panic(fmt.Sprintf("projector: event %d is durable but does not apply: %v", e.Seq, err))
		}
	}
}

// Survived passes on what a failed commit left in the ledger.
func (f *fold) Survived(es []*event.Event) {
	l := (*Live)(f)
	l.settle()
	if fn := l.survived.Load(); fn != nil {
		(*fn)(es)
	}
}

// Discard drops the batch in flight, which failed.
func (f *fold) Discard() {
	l := (*Live)(f)
	l.tip, l.inflight = nil, nil
}

// swapIfCaughtUp shows the loading state once it has what readers have seen.
func (l *Live) swapIfCaughtUp() {
	if l.loading.seq >= l.committed.seq {
		l.settle()
	}
}

// settle ends a replay: what was loaded is the committed state, also where the
// disk holds less than readers have seen.
func (l *Live) settle() {
	if l.loading == nil {
		return
	}
	l.mu.Lock()
	l.committed, l.loading = l.loading, nil
	l.mu.Unlock()
}
