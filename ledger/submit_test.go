package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/astrid-os/processledger/ledger/event"
)

func TestSubmitAndReadOverSegments(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{SegmentEvents: 16})
	fill(t, l, 100)
	all := checkLedger(t, l)
	if n := len(l.shelf.firsts()); n < 6 {
		t.Errorf("%d segments of %d events", n, len(all))
	}
	id := l.ID()
	closeLedger(t, l)
	l = open(t, dir, Options{SegmentEvents: 16})
	if l.ID() != id {
		t.Errorf("the ledger's id is %s after reopening, was %s", l.ID(), id)
	}
	if again := checkLedger(t, l); len(again) != len(all) {
		t.Errorf("%d events after reopening, %d before", len(again), len(all))
	}
	fill(t, l, 5)
	checkLedger(t, l)
}

func TestHeadersFollow(t *testing.T) {
	l := open(t, t.TempDir(), Options{})
	var next Header
	c, err := l.Submit(context.Background(), func(h Header) ([]*event.Event, error) {
		next = h
		return []*event.Event{note("a"), note("b"), note("c")}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range c.Events {
		if e.Header != Following(next, i) {
			t.Errorf("event %d has the header %+v, want %+v", i, e.Header, Following(next, i))
		}
		stored, err := l.Get(context.Background(), e.Seq)
		if err != nil || stored.Header != e.Header || textOf(stored) != textOf(e) {
			t.Errorf("stored is %+v (%v), want %+v", stored, err, e)
		}
		if r := c.Receipts[i]; r.Seq() != e.Seq || r.Event() != e {
			t.Errorf("receipt %d is of event %d", i, r.Seq())
		}
	}
}

// TestRefusals holds that a request which cannot be served leaves nothing
// behind, and that others in the same batch are served all the same.
func TestRefusals(t *testing.T) {
	bad := errors.New("no")
	long := strings.Repeat("x", event.MaxEncoded)
	cases := []struct {
		name string
		fn   func(Header) ([]*event.Event, error)
		want error
	}{
		{"error", func(Header) ([]*event.Event, error) { return []*event.Event{note("lost")}, bad }, bad},
		{"panic", func(Header) ([]*event.Event, error) { panic(bad) }, nil},
		{"too large", one(note("lost"), note(long)), ErrTooLarge},
		{"too much", one(manyLong()...), ErrTooLarge},
		{"nil event", one(note("lost"), nil), ErrMalformed},
		{"no body", one(&event.Event{}), ErrMalformed},
		{"bad text", one(note("\xff")), ErrMalformed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			fold := &chainFold{}
			l := open(t, t.TempDir(), Options{Fold: fold})
			errs := submitTogether(l, one(note("before")), c.fn, one(note("after")))
			if errs[0] != nil || errs[2] != nil {
				t.Errorf("the neighbours got %v and %v", errs[0], errs[2])
			}
			var p *PanicError
			if c.want == nil && !errors.As(errs[1], &p) {
				t.Errorf("got %v, want a PanicError", errs[1])
			} else if c.want != nil && !errors.Is(errs[1], c.want) {
				t.Errorf("got %v, want %v", errs[1], c.want)
			}
			if all := checkLedger(t, l); len(all) != 3 {
				t.Errorf("%d events, want segment.opened, before and after", len(all))
			}
			if c.want != bad && fold.discards == 0 {
				t.Error("the fold's tip was not set back")
			}
		})
	}
}

func manyLong() []*event.Event {
	es := make([]*event.Event, maxRequestBytes/(50<<10)+1)
	for i := range es {
		es[i] = note(strings.Repeat("x", 50<<10))
	}
	return es
}

// submitTogether submits closures that share a batch, in their order, and
// returns their errors.
func submitTogether(l *Ledger, fns ...func(Header) ([]*event.Event, error)) []error {
	errs := make([]error, len(fns))
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := l.Submit(context.Background(), func(Header) ([]*event.Event, error) {
			close(held)
			<-release
			return nil, nil
		})
		if err != nil {
			errs[0] = err
		}
	})
	<-held
	for i, fn := range fns {
		r := newRequest(fn)
		if err := l.queue.put(r, false); err != nil {
			errs[i] = err
			continue
		}
		wg.Go(func() { _, errs[i] = r.wait(context.Background()) })
	}
	close(release)
	wg.Wait()
	return errs
}

func TestNilClosure(t *testing.T) {
	l := open(t, t.TempDir(), Options{})
	_, err := l.Submit(context.Background(), nil)
	wantErr(t, err, ErrMalformed)
}

func TestEmptyCommit(t *testing.T) {
	l := open(t, t.TempDir(), Options{})
	_, before := l.Bounds()
	c, err := l.Submit(context.Background(), one())
	if err != nil || len(c.Events) != 0 || len(c.Receipts) != 0 {
		t.Errorf("got %+v, %v", c, err)
	}
	if _, after := l.Bounds(); after != before {
		t.Errorf("the ledger went from %d to %d", before, after)
	}
}

// TestContextCountsUntilTheClosureRuns holds both halves: a caller that leaves
// before has done nothing, one that leaves after gets the durable result.
func TestContextCountsUntilTheClosureRuns(t *testing.T) {
	l := open(t, t.TempDir(), Options{})
	running, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	during, cancelDuring := context.WithCancel(context.Background())
	wg.Go(func() {
		c, err := l.Submit(during, func(Header) ([]*event.Event, error) {
			close(running)
			<-release
			return []*event.Event{note("durable")}, nil
		})
		if err != nil || len(c.Events) != 1 {
			t.Errorf("cancelled while its closure ran: got %v, %v; want the result", c, err)
		}
	})
	<-running
	before, cancelBefore := context.WithCancel(context.Background())
	cancelBefore()
	queued, cancelQueued := context.WithCancel(context.Background())
	ran := false
	wg.Go(func() {
		_, err := l.Submit(queued, func(Header) ([]*event.Event, error) { ran = true; return nil, nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled while queued: got %v", err)
		}
		close(release) // only now may the committer come to it
	})
	_, err := l.Submit(before, one(note("never")))
	wantErr(t, err, context.Canceled)
	waitUntil(t, func() bool { l.queue.mu.Lock(); defer l.queue.mu.Unlock(); return len(l.queue.pending) == 1 })
	cancelQueued()
	cancelDuring()
	wg.Wait()
	submit(t, l, "last")
	if ran {
		t.Error("a closure ran after its caller had left")
	}
	if all := checkLedger(t, l); len(all) != 3 {
		t.Errorf("%d events, want 3", len(all))
	}
}

func TestConcurrentSubmits(t *testing.T) {
	const writers, each = 32, 40
	l := open(t, t.TempDir(), Options{SegmentEvents: 200})
	var mu sync.Mutex
	acked := map[uint64]string{}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				text := fmt.Sprintf("%d/%d", w, i)
				c, err := l.Submit(context.Background(), one(note(text)))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked[c.Events[0].Seq] = text
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(acked) != writers*each {
		t.Errorf("%d different seqs for %d requests", len(acked), writers*each)
	}
	for _, e := range checkLedger(t, l) {
		if textOf(e) != acked[e.Seq] {
			t.Errorf("event %d is %q, want %q", e.Seq, textOf(e), acked[e.Seq])
		}
	}
}

func TestClosed(t *testing.T) {
	l := open(t, t.TempDir(), Options{})
	fill(t, l, 3)
	closeLedger(t, l)
	closeLedger(t, l)
	_, err := l.Submit(context.Background(), one(note("late")))
	wantErr(t, err, ErrClosed)
	wantErr(t, l.Reopen(context.Background()), ErrClosed)
	_, err = l.Get(context.Background(), 2)
	wantErr(t, err, ErrClosed)
	wantErr(t, l.snapshotErr(), ErrClosed)
}

func (l *Ledger) snapshotErr() error {
	_, err := l.CopyNewest(context.Background(), &strings.Builder{})
	return err
}

// TestReceipts holds that only a commit makes a receipt, and that it is good
// for one act on what it names.
func TestReceipts(t *testing.T) {
	l, other := open(t, t.TempDir(), Options{}), open(t, t.TempDir(), Options{})
	e := note("act")
	e.Handle = newLedgerID(1)
	kind := e.Kind()
	c, err := l.Submit(context.Background(), one(e))
	if err != nil {
		t.Fatal(err)
	}
	r := c.Receipts[0]
	wantErr(t, l.Redeem(nil, kind, e.Handle), ErrReceiptForeign)
	wantErr(t, l.Redeem(&Receipt{}, 0, (&Receipt{}).Handle()), ErrReceiptForeign)
	wantErr(t, other.Redeem(r, kind, e.Handle), ErrReceiptForeign)
	wantErr(t, l.Redeem(r, event.KindSpawnDecided, e.Handle), ErrReceiptMismatch)
	wantErr(t, l.Redeem(r, kind, newLedgerID(2)), ErrReceiptMismatch)
	copied := *r
	var wg sync.WaitGroup
	results := make(chan error, 16)
	for range cap(results) / 2 {
		wg.Go(func() { results <- l.Redeem(r, kind, e.Handle) })
		wg.Go(func() { results <- l.Redeem(&copied, kind, e.Handle) })
	}
	wg.Wait()
	close(results)
	good := 0
	for err := range results {
		if err == nil {
			good++
		} else {
			wantErr(t, err, ErrReceiptUsed)
		}
	}
	if good != 1 {
		t.Errorf("%d of %d callers may act", good, cap(results))
	}
}

// TestLargeBatches goes the way of batches that are put into pages while they
// are made, with requests among them that are refused.
func TestLargeBatches(t *testing.T) {
	fold := &chainFold{}
	l := open(t, t.TempDir(), Options{Fold: fold})
	bad := errors.New("no")
	fns := make([]func(Header) ([]*event.Event, error), 700)
	for i := range fns {
		switch {
		case i%101 == 50:
			fns[i] = one(note("refused"), nil)
		case i%13 == 5:
			fns[i] = func(Header) ([]*event.Event, error) { return nil, bad }
		default:
			fns[i] = one(note(fmt.Sprint(i)), note(fmt.Sprint(i)))
		}
	}
	for i, err := range submitTogether(l, fns...) {
		if want := i%101 == 50 || i%13 == 5; (err != nil) != want {
			t.Errorf("request %d got %v", i, err)
		}
	}
	n := 0
	for _, e := range checkLedger(t, l) {
		if textOf(e) == "refused" {
			t.Errorf("event %d was refused", e.Seq)
		}
		n++
	}
	if n < 1000 || fold.committed.seq != uint64(n) {
		t.Errorf("%d events, the fold is at %d", n, fold.committed.seq)
	}
}
