package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/astrid-os/processledger/ledger/event"
)

// spread makes a ledger of several segments whose clock moves between events,
// sometimes back, sometimes not at all.
func spread(t testing.TB, dir string) *Ledger {
	t.Helper()
	clock := newHandClock()
	l := open(t, dir, Options{Clock: clock, SegmentEvents: 10})
	for i := range 57 {
		switch {
		case i%7 == 3:
			clock.move(0, -second/2)
		case i%5 != 0:
			clock.move(20e6, 0)
		}
		submit(t, l, fmt.Sprintf("e%d", i))
	}
	return l
}

func TestRanges(t *testing.T) {
	l := spread(t, t.TempDir())
	all := checkLedger(t, l)
	last := uint64(len(all))
	cases := []struct{ from, to, first, last uint64 }{
		{0, 0, 1, last}, {1, last, 1, last}, {5, 5, 5, 5}, {9, 12, 9, 12}, {11, 0, 11, last},
		{last, last, last, last}, {3, last + 100, 3, last}, {7, 6, 0, 0}, {last + 1, 0, 0, 0}, {last + 1, last + 9, 0, 0},
	}
	for _, c := range cases {
		var want []uint64
		for seq := c.first; seq <= c.last && c.first > 0; seq++ {
			want = append(want, seq)
		}
		var up, down, raw []uint64
		for e, err := range l.Events(context.Background(), c.from, c.to) {
			up = append(up, seqOf(t, e, err))
		}
		for e, err := range l.Reverse(context.Background(), c.from, c.to) {
			down = append([]uint64{seqOf(t, e, err)}, down...)
		}
		for r, err := range l.Raw(context.Background(), c.from, c.to) {
			e, err2 := event.Decode(r.Bytes)
			raw = append(raw, seqOf(t, e, errors.Join(err, err2)))
		}
		for name, got := range map[string][]uint64{"events": up, "reverse": down, "raw": raw} {
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s %d to %d: %v, want %v", name, c.from, c.to, got, want)
			}
		}
	}
}

func seqOf(t testing.TB, e *event.Event, err error) uint64 {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return e.Seq
}

// TestSeqAt compares the search with a walk, for every time that matters.
func TestSeqAt(t *testing.T) {
	l := spread(t, t.TempDir())
	all := checkLedger(t, l)
	times := map[uint64]bool{0: true, 1 << 47: true}
	for _, e := range all {
		for d := range uint64(3) {
			times[e.ID.Time()+d-1] = true
		}
	}
	for ms := range times {
		want := uint64(len(all)) + 1
		for _, e := range all {
			if e.ID.Time() >= ms {
				want = e.Seq
				break
			}
		}
		got, err := l.SeqAt(context.Background(), ms)
		if err != nil || got != want {
			t.Errorf("SeqAt %d: %d (%v), want %d", ms, got, err, want)
		}
	}
}

func TestGetAndOpeningOutside(t *testing.T) {
	l := spread(t, t.TempDir())
	_, last := l.Bounds()
	for _, seq := range []uint64{0, last + 1, 1 << 60} {
		_, err := l.Get(context.Background(), seq)
		wantErr(t, err, ErrNotFound)
		_, _, err = l.Opening(context.Background(), seq)
		wantErr(t, err, ErrNotFound)
	}
	first, _, err := l.Opening(context.Background(), 25)
	if err != nil || first != 21 {
		t.Errorf("event 25 is in the segment of %d (%v), want 21", first, err)
	}
}

func TestCancelledReads(t *testing.T) {
	l := spread(t, t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := l.Get(ctx, 1)
	wantErr(t, err, context.Canceled)
	_, err = l.SeqAt(ctx, 1<<40)
	wantErr(t, err, context.Canceled)
	_, _, err = l.Opening(ctx, 1)
	wantErr(t, err, context.Canceled)
	for _, err := range l.Events(ctx, 0, 0) {
		wantErr(t, err, context.Canceled)
	}
	for _, err := range l.Reverse(ctx, 0, 0) {
		wantErr(t, err, context.Canceled)
	}
	for _, err := range l.Raw(ctx, 0, 0) {
		wantErr(t, err, context.Canceled)
	}
}

// TestReadsWhileWriting has readers of every kind run against a writer that
// rolls over all the time.
func TestReadsWhileWriting(t *testing.T) {
	l := open(t, t.TempDir(), Options{SegmentEvents: 5})
	fill(t, l, 20)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, read := range []func() error{
		func() error { return drain(l.Events(context.Background(), 0, 0)) },
		func() error { return drain(l.Reverse(context.Background(), 0, 0)) },
		func() error { return drain(l.Raw(context.Background(), 3, 0)) },
		func() error { _, err := l.SeqAt(context.Background(), 1<<40); return err },
		func() error { _, last := l.Bounds(); _, err := l.Get(context.Background(), last); return err },
		func() error { _, _, err := l.Opening(context.Background(), 4); return err },
		func() error { _, err := l.CopyNewest(context.Background(), io.Discard); return err },
	} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := read(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	fill(t, l, 150)
	close(stop)
	wg.Wait()
	checkLedger(t, l)
}

func drain[T any](seq func(func(T, error) bool)) error {
	for _, err := range seq {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestLongScanOfSealedSegments goes the way of large reads, which open files
// of their own.
func TestLongScanOfSealedSegments(t *testing.T) {
	l := open(t, t.TempDir(), Options{})
	l.o.SegmentEvents = 5000
	for range 24 {
		es := make([]*event.Event, 500)
		for i := range es {
			es[i] = note(strings.Repeat("long ", 20))
		}
		if _, err := l.Submit(context.Background(), one(es...)); err != nil {
			t.Fatal(err)
		}
	}
	checkLedger(t, l)
	if n := len(l.shelf.firsts()); n != 3 {
		t.Errorf("%d segments", n)
	}
	for e, err := range l.Events(context.Background(), 0, 0) {
		if seqOf(t, e, err) == 4000 {
			break // a reader that leaves early leaves nothing open
		}
	}
}

// TestIdleHandlesAreBounded holds that reading all over a long ledger does not
// keep all its files open.
func TestIdleHandlesAreBounded(t *testing.T) {
	l := open(t, t.TempDir(), Options{SegmentEvents: 2})
	fill(t, l, 40)
	_, last := l.Bounds()
	for seq := uint64(1); seq <= last; seq++ {
		if _, err := l.Get(context.Background(), seq); err != nil {
			t.Fatal(err)
		}
	}
	idle := 0
	for _, o := range l.shelf.slots {
		if o.seg != nil && !o.pinned {
			idle++
		}
	}
	if idle > maxIdle {
		t.Errorf("%d idle files are open, at most %d should be", idle, maxIdle)
	}
}
