package projector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// openLive opens a ledger in dir and checks it at the end of the test.
func openLive(t testing.TB, dir string, o ledger.Options) *Live {
	t.Helper()
	o.Reserve = -1
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		checkLive(t, l)
		if err := l.Close(); err != nil && !errors.Is(err, ledger.ErrClosed) {
			t.Error(err)
		}
	})
	return l
}

// checkLive holds what is true of every Live at rest: a replay from the newest
// opening state gives the committed bytes, and each event's back-pointer leads
// to the event of its handle before it.
func checkLive(t testing.TB, l *Live) {
	t.Helper()
	ctx := context.Background()
	s := l.Snapshot()
	replayed, err := At(ctx, l.Ledger(), s.Seq())
	if errors.Is(err, ledger.ErrClosed) {
		return // the test closed it, and checks what it left behind itself
	}
	if err != nil {
		t.Error(err)
		return
	}
	if !bytes.Equal(replayed.Encode(), s.Encode()) {
		t.Errorf("replay to %d gives another state than the live one", s.Seq())
	}
	first, last := l.Ledger().Bounds()
	if last != s.Seq() {
		t.Errorf("the ledger ends at %d, the state at %d", last, s.Seq())
	}
	newest := map[[16]byte]uint64{}
	for e, err := range l.Ledger().Events(ctx, first, last) {
		if err != nil {
			t.Error(err)
			return
		}
		if want := newest[e.Handle]; e.Prev != want && e.Handle != [16]byte{} {
			t.Errorf("event %d (%v) points back to %d, want %d", e.Seq, e.Kind(), e.Prev, want)
		}
		newest[e.Handle] = e.Seq
		if e.Kind() == event.KindHandleReleased {
			delete(newest, e.Handle)
		}
	}
}

// decide commits bodies of one scope and returns the error.
func decide(l *Live, sc event.Scope, bodies ...event.Body) error {
	_, err := l.Decide(context.Background(), func(*State, ledger.Header) ([]*event.Event, error) {
		return eventsOf(sc, bodies...), nil
	})
	return err
}

func eventsOf(sc event.Scope, bodies ...event.Body) (es []*event.Event) {
	for _, b := range bodies {
		es = append(es, &event.Event{Scope: sc, Body: b})
	}
	return es
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func requested() *event.SpawnRequested {
	return &event.SpawnRequested{Tier: event.TierBackground, Command: "git"}
}

// TestTwoRaceForTheLastSlot: however two requests meet, one is granted.
func TestTwoRaceForTheLastSlot(t *testing.T) {
	l := openLive(t, filepath.Join(t.TempDir(), "ledger"), ledger.Options{})
	const rounds, racers = 200, 4
	for round := range rounds {
		var grants atomic.Int32
		var wg sync.WaitGroup
		for racer := range racers {
			wg.Go(func() {
				sc := scopeOf(0)
				sc.Principal = fmt.Sprintf("p%d", round)
				sc.Handle = testID(uint64(round+1), byte(racer))
				_, err := l.Decide(t.Context(), func(tip *State, _ ledger.Header) ([]*event.Event, error) {
					if tip.LivePrincipal(sc.Principal).Concurrent() >= 1 {
						return eventsOf(sc, requested(), &event.SpawnDecided{Outcome: event.OutcomeRefused, Code: "quota"}), nil
					}
					grants.Add(1)
					return eventsOf(sc, requested(), granted()), nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := grants.Load(); got != 1 {
			t.Fatalf("round %d: %d of %d granted", round, got, racers)
		}
	}
	s := l.Snapshot()
	if got := s.Totals(); got.Granted != rounds || got.Refused != rounds*(racers-1) {
		t.Errorf("totals: %+v", got)
	}
}

// TestRefusedTransitionLeavesTip: the events of a closure apply all or none,
// also where the closures around it in the same batch do.
func TestRefusedTransitionLeavesTip(t *testing.T) {
	l := openLive(t, filepath.Join(t.TempDir(), "ledger"), ledger.Options{})
	var wg sync.WaitGroup
	for n := range byte(60) {
		wg.Go(func() {
			sc := scopeOf(n)
			bodies := []event.Body{requested(), granted()}
			if n%3 == 0 {
				bodies = append(bodies, &event.ProcessAdopted{})
			}
			err := decide(l, sc, bodies...)
			var te *TransitionError
			if refused := errors.As(err, &te); refused != (n%3 == 0) || (refused && te.From != "decided") {
				t.Errorf("%d: %v", n, err)
			}
		})
	}
	wg.Wait()
	if got := l.Snapshot().LiveAll(); got != (Counts{Background: 40}) {
		t.Errorf("live: %+v", got)
	}
}

func TestErrorOfClosureIsReturned(t *testing.T) {
	l := openLive(t, filepath.Join(t.TempDir(), "ledger"), ledger.Options{})
	mine := errors.New("mine")
	_, err := l.Decide(t.Context(), func(*State, ledger.Header) ([]*event.Event, error) { return nil, mine })
	if !errors.Is(err, mine) {
		t.Errorf("got %v", err)
	}
	before := l.Snapshot().Seq()
	c, err := l.Decide(t.Context(), func(*State, ledger.Header) ([]*event.Event, error) { return nil, nil })
	if err != nil || len(c.Events) != 0 || l.Snapshot().Seq() != before {
		t.Errorf("no events: %v, %v", c, err)
	}
}

// TestClosureMustNotCallLive: it would wait for itself for ever.
func TestClosureMustNotCallLive(t *testing.T) {
	l := openLive(t, filepath.Join(t.TempDir(), "ledger"), ledger.Options{})
	calls := map[string]func(){
		"Decide":   func() { _ = decide(l, scopeOf(9), requested(), granted()) },
		"View":     func() { l.View(func(*State) {}) },
		"Snapshot": func() { l.Snapshot() },
	}
	for name, call := range calls {
		_, err := l.Decide(t.Context(), func(*State, ledger.Header) ([]*event.Event, error) {
			call()
			return nil, nil
		})
		var pe *ledger.PanicError
		if !errors.As(err, &pe) || !strings.Contains(err.Error(), "must not call Live."+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, decide(l, scopeOf(1), requested(), granted()))
}

// TestOtherGoroutinesMayReadDuringAClosure: the guard is about the committer
// alone.
func TestOtherGoroutinesMayReadDuringAClosure(t *testing.T) {
	l := openLive(t, filepath.Join(t.TempDir(), "ledger"), ledger.Options{})
	inside, seen := make(chan struct{}), make(chan struct{})
	go func() {
		<-inside
		l.View(func(*State) {})
		close(seen)
	}()
	_, err := l.Decide(t.Context(), func(*State, ledger.Header) ([]*event.Event, error) {
		close(inside)
		<-seen // impure, and what the test is about
		return nil, nil
	})
	must(t, err)
}

// TestTooLargeEventLeavesTip: the ledger refuses it after tip has it.
func TestTooLargeEventLeavesTip(t *testing.T) {
	l := openLive(t, filepath.Join(t.TempDir(), "ledger"), ledger.Options{})
	big := requested()
	big.Args = []string{strings.Repeat("x", event.MaxEncoded)}
	if err := decide(l, scopeOf(1), big, granted()); !errors.Is(err, ledger.ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
	_, err := l.Decide(t.Context(), func(tip *State, next ledger.Header) ([]*event.Event, error) {
		if tip.LiveAll() != (Counts{}) || tip.Seq()+1 != next.Seq {
			t.Errorf("tip at %d has %+v, next is %d", tip.Seq(), tip.LiveAll(), next.Seq)
		}
		return nil, nil
	})
	must(t, err)
}

// TestHeadersInTipAreThoseOfTheLedger: what tip took in is what is stored.
func TestHeadersInTipAreThoseOfTheLedger(t *testing.T) {
	l := openLive(t, filepath.Join(t.TempDir(), "ledger"), ledger.Options{SegmentEvents: 8})
	for n := range byte(20) {
		must(t, decide(l, scopeOf(n), requested(), granted()))
	}
	var tipBytes []byte
	_, err := l.Decide(t.Context(), func(tip *State, _ ledger.Header) ([]*event.Event, error) {
		tipBytes = tip.Encode()
		return nil, nil
	})
	must(t, err)
	if !bytes.Equal(tipBytes, l.Snapshot().Encode()) {
		t.Error("tip and committed differ at rest")
	}
}

// TestOnCommitSeesDurableState: the events it gets are in the committed state,
// and the caller has not been told yet.
func TestOnCommitSeesDurableState(t *testing.T) {
	l := openLive(t, filepath.Join(t.TempDir(), "ledger"), ledger.Options{})
	var told atomic.Bool
	var seqs []uint64
	l.OnCommit(func(es []*event.Event) {
		l.View(func(s *State) {
			if s.Seq() != es[len(es)-1].Seq {
				t.Errorf("state at %d, events end at %d", s.Seq(), es[len(es)-1].Seq)
			}
		})
		if told.Load() {
			t.Error("the caller was told first")
		}
		for _, e := range es {
			seqs = append(seqs, e.Seq)
		}
	})
	must(t, decide(l, scopeOf(1), requested(), granted()))
	told.Store(true)
	if len(seqs) != 2 {
		t.Errorf("events seen: %v", seqs)
	}
}

// TestBypassedIsSeenOnceDurable: events submitted past Live reach tip with their
// commit.
func TestBypassedIsSeenOnceDurable(t *testing.T) {
	l := openLive(t, filepath.Join(t.TempDir(), "ledger"), ledger.Options{})
	_, err := l.Ledger().Submit(t.Context(), func(ledger.Header) ([]*event.Event, error) {
		return eventsOf(event.Scope{}, &event.PolicyChanged{Subject: "config"}), nil
	})
	must(t, err)
	_, err = l.Decide(t.Context(), func(tip *State, _ ledger.Header) ([]*event.Event, error) {
		if len(tip.Policies()) != 1 {
			t.Error("tip lacks what was submitted directly")
		}
		return nil, nil
	})
	must(t, err)
}

// TestReopenedLiveIsTheSame, over segments that each open with their state.
func TestReopenedLiveIsTheSame(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	l := openLive(t, dir, ledger.Options{SegmentEvents: 16})
	for n := range byte(40) {
		must(t, decide(l, scopeOf(n), requested(), granted()))
		if n%2 == 0 {
			must(t, decide(l, scopeOf(n), &event.SpawnAborted{Reason: "caller-gone"}, &event.HandleReleased{Reason: "dropped"}))
		}
	}
	want := l.Snapshot().Encode()
	must(t, l.Close())
	again := openLive(t, dir, ledger.Options{SegmentEvents: 16})
	if !bytes.Equal(want, again.Snapshot().Encode()) {
		t.Error("another state after reopening")
	}
}

// TestAtEverySeq: the state at N is what a replay from the first event says.
func TestAtEverySeq(t *testing.T) {
	l := openLive(t, filepath.Join(t.TempDir(), "ledger"), ledger.Options{SegmentEvents: 8})
	for n := range byte(15) {
		must(t, decide(l, scopeOf(n), requested(), granted(), &event.ProcessStarted{}))
	}
	_, last := l.Ledger().Bounds()
	s := New()
	for seq := range last + 1 {
		if seq > 0 {
			e, err := l.Ledger().Get(t.Context(), seq)
			must(t, err)
			must(t, s.Apply(e))
		}
		at, err := At(t.Context(), l.Ledger(), seq)
		must(t, err)
		if !bytes.Equal(at.Encode(), s.Encode()) {
			t.Fatalf("state at %d differs from the replay", seq)
		}
	}
	if _, err := At(t.Context(), l.Ledger(), last+1); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("beyond the end: %v", err)
	}
}

// TestReadersAmongWriters: readers see states that only go forward, and never
// more live processes than the cap that every decision keeps.
func TestReadersAmongWriters(t *testing.T) {
	l := openLive(t, filepath.Join(t.TempDir(), "ledger"), ledger.Options{SegmentEvents: 64})
	const limit = 3
	var stop atomic.Bool
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			var last uint64
			for !stop.Load() {
				l.View(func(s *State) {
					if s.Seq() < last || s.LivePrincipal("alice").Concurrent() > limit {
						t.Errorf("at %d after %d: %+v live", s.Seq(), last, s.LivePrincipal("alice"))
					}
					last = s.Seq()
				})
				if s := l.Snapshot(); s.Seq() < last {
					t.Errorf("snapshot at %d after a view at %d", s.Seq(), last)
				}
			}
		})
	}
	for writer := range 8 {
		writers.Go(func() {
			for round := range 30 {
				sc := scopeOf(0)
				sc.Handle = testID(uint64(writer+1), byte(round))
				granting := false
				_, err := l.Decide(t.Context(), func(tip *State, _ ledger.Header) ([]*event.Event, error) {
					if granting = tip.LivePrincipal("alice").Concurrent() < limit; granting {
						return eventsOf(sc, requested(), granted()), nil
					}
					return eventsOf(sc, requested(), &event.SpawnDecided{Outcome: event.OutcomeRefused, Code: "quota"}), nil
				})
				if err == nil && granting {
					err = decide(l, sc, &event.ProcessStarted{}, &event.ProcessExited{Exit: code(0), Cause: "self"}, &event.HandleReleased{})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()
	s := l.Snapshot()
	if got := s.Totals(); got.Granted+got.Refused != 8*30 || s.HeldAll() != (Counts{}) {
		t.Errorf("%+v, held %+v", got, s.HeldAll())
	}
}
