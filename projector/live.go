package projector

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// Live is the state of an open ledger, and where decisions are taken.
//
// It keeps two states. Tip includes the batch that is being written: decisions
// run on it one after another, so that two requests can never both take the
// last slot. Committed is what is durable; everybody but a decision reads it.
type Live struct {
	ledger *ledger.Ledger

	// tip is committed plus inflight, and nil when it has to be made again.
	// Invariant: only the goroutine that runs the ledger's Fold and closures
	// touches tip, inflight and loading; there is one at a time, so no lock.
	tip *State

	// inflight are the events of accepted closures that Committed has not
	// been told of, in order.
	inflight []*event.Event

	// loading is a state that is being replayed and has not come as far as
	// committed yet; nil otherwise. It keeps readers from seeing a reopened
	// ledger go through its past again.
	loading *State

	// mu guards committed. The committer holds it for writing while it applies
	// one batch, well under a microsecond an event, so that no reader sees
	// half a batch. View holds it for reading as long as its function runs,
	// which delays the answers of everything committed meanwhile.
	mu        sync.RWMutex
	committed *State

	// hooks are the functions of OnCommit. The slice is replaced, never
	// changed; hookMu is held only to replace it.
	hooks  atomic.Pointer[[]func([]*event.Event)]
	hookMu sync.Mutex

	survived atomic.Pointer[func([]*event.Event)] // of OnSurvived

	closure guard
}

// Open opens the ledger in dir with a new Live as its fold, and replays what
// stands in it. It blocks for the replay of the newest segment, about a second
// for a million events, and fails as [ledger.Open] does. o.Fold is ignored.
func Open(dir string, o ledger.Options) (*Live, error) {
	l := newLive()
	o.Fold = (*fold)(l)
	led, err := ledger.Open(dir, o)
	if err != nil {
		return nil, err
	}
	l.ledger = led
	return l, nil
}

// Try reads the ledger in dir as Open does, and changes nothing: see [ledger.Try].
func Try(dir string) error { return ledger.Try(dir, (*fold)(newLive())) }

func newLive() *Live { return &Live{committed: New()} }

// Ledger returns the ledger below, for reading. Append through Decide only: a
// decision that shares its batch with events from elsewhere fails with
// ErrBypassed.
func (l *Live) Ledger() *ledger.Ledger { return l.ledger }

// Close closes the ledger; see [ledger.Ledger.Close].
func (l *Live) Close() error { return l.ledger.Close() }

// Decide runs fn on the tip and commits the events it returns. It blocks until
// they are durable and returns their receipts, in the order of the events.
//
// fn runs alone, in the order of arrival, on a state that includes everything
// decided before. It must be pure: no I/O, no clock (next has the time), no
// lock, no call into this Live, and no change of tip; a call into this Live
// panics, and a panic refuses this one request. Decide fills in the events'
// headers and Prev. An error of fn appends nothing and is returned as it is;
// so is a transition that tip does not allow. No events and no error is an
// empty commit.
//
// ctx counts until fn runs; afterwards Decide returns the durable result.
func (l *Live) Decide(ctx context.Context, fn func(tip *State, next ledger.Header) ([]*event.Event, error)) (*ledger.Commit, error) {
	l.closure.forbid("Decide")
	return l.ledger.Submit(ctx, func(next ledger.Header) ([]*event.Event, error) {
		return l.decide(next, fn)
	})
}

// DecideEnding is Decide for what may use the reserve of a full disk: see
// [ledger.Ledger.SubmitEnding].
func (l *Live) DecideEnding(ctx context.Context, fn func(tip *State, next ledger.Header) ([]*event.Event, error)) (*ledger.Commit, error) {
	l.closure.forbid("DecideEnding")
	return l.ledger.SubmitEnding(ctx, func(next ledger.Header) ([]*event.Event, error) {
		return l.decide(next, fn)
	})
}

// View calls fn with the committed state. fn must be quick, must not change
// the state, and must not keep it or anything it points to.
func (l *Live) View(fn func(s *State)) {
	l.closure.forbid("View")
	l.mu.RLock()
	defer l.mu.RUnlock()
	fn(l.committed)
}

// Snapshot returns a copy of the committed state.
func (l *Live) Snapshot() *State {
	l.closure.forbid("Snapshot")
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.committed.Clone()
}

// OnCommit has fn called with the events of each commit, after they are
// durable and in the committed state, and before anybody who waits for them is
// told. It runs in the committer: while it runs nothing commits. It cannot be
// taken back.
func (l *Live) OnCommit(fn func(es []*event.Event)) {
	l.hookMu.Lock()
	defer l.hookMu.Unlock()
	var hooks []func([]*event.Event)
	if old := l.hooks.Load(); old != nil {
		hooks = slices.Clone(*old)
	}
	hooks = append(hooks, fn)
	l.hooks.Store(&hooks)
}

// OnSurvived has fn called, after a failed commit, with those of its events that
// are in the ledger all the same: they are in the committed state, and no
// decision has been taken since. It runs in the committer. It cannot be taken
// back.
func (l *Live) OnSurvived(fn func(es []*event.Event)) { l.survived.Store(&fn) }

// decide runs in the committer.
func (l *Live) decide(next ledger.Header, fn func(*State, ledger.Header) ([]*event.Event, error)) ([]*event.Event, error) {
	l.settle()
	tip := l.remade()
	if tip.seq+1 != next.Seq {
		l.tip = nil
		return nil, fmt.Errorf("decide event %d: %w", next.Seq, ErrBypassed)
	}
	l.closure.enter()
	defer l.closure.leave()
	es, err := fn(tip, next)
	if err != nil || len(es) == 0 {
		return nil, err
	}
	// Until all events are in, there is no tip: an error or a panic half-way
	// has it made again without them.
	l.tip = nil
	for i, e := range es {
		e.Header = ledger.Following(next, i)
		e.Prev = tip.LastSeq(e.Handle)
		if err := tip.Apply(e); err != nil {
			return nil, err
		}
	}
	l.tip = tip
	l.inflight = append(l.inflight, es...)
	return es, nil
}

// remade returns the tip, made again where there is none.
func (l *Live) remade() *State {
	if l.tip != nil {
		return l.tip
	}
	l.tip = l.committed.Clone()
	for _, e := range l.inflight {
		if err := l.tip.Apply(e); err != nil {
			panic(fmt.Sprintf("projector: event %d is in flight but does not apply: %v", e.Seq, err))
		}
	}
	return l.tip
}
