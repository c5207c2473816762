package ledger

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/astrid-os/processledger/ledger/event"
)

// open opens a ledger in dir that is closed at the end of the test.
func open(t testing.TB, dir string, o Options) *Ledger {
	t.Helper()
	if o.Fold == nil {
		o.Fold = &chainFold{}
	}
	l, err := Open(dir, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return l
}

// note is an event with a text by which a test knows it again.
func note(text string) *event.Event {
	return &event.Event{Body: &event.CapsuleUnloaded{Reason: text}}
}

func textOf(e *event.Event) string {
	if b, ok := e.Body.(*event.CapsuleUnloaded); ok {
		return b.Reason
	}
	return ""
}

// submit appends one note and returns its seq.
func submit(t testing.TB, l *Ledger, text string) uint64 {
	t.Helper()
	c, err := l.Submit(context.Background(), one(note(text)))
	if err != nil {
		t.Fatalf("submit %s: %v", text, err)
	}
	return c.Events[0].Seq
}

func one(es ...*event.Event) func(Header) ([]*event.Event, error) {
	return func(Header) ([]*event.Event, error) { return es, nil }
}

func fill(t testing.TB, l *Ledger, n int) {
	t.Helper()
	for i := range n {
		submit(t, l, fmt.Sprintf("fill %d", i))
	}
}

// checkLedger reads everything and compares every way of reading with every
// other, and the fold that a replay gives with the state stored at each
// segment's head. It returns all events.
func checkLedger(t testing.TB, r Reader) []*event.Event {
	t.Helper()
	ctx := context.Background()
	first, last := r.Bounds()
	var all []*event.Event
	for e, err := range r.Events(ctx, 0, 0) {
		if err != nil {
			t.Fatalf("events: %v", err)
		}
		all = append(all, e)
	}
	if last == 0 {
		return all
	}
	if uint64(len(all)) != last-first+1 {
		t.Fatalf("%d events, bounds are %d to %d", len(all), first, last)
	}
	checkOrder(t, all, first)
	checkOpenings(t, r, all)
	checkReverse(t, r, all)
	return all
}

// checkOrder checks that seq has no gap and that ids grow.
func checkOrder(t testing.TB, all []*event.Event, first uint64) {
	t.Helper()
	for i, e := range all {
		if e.Seq != first+uint64(i) {
			t.Fatalf("event %d stands at place %d", e.Seq, first+uint64(i))
		}
		if i > 0 && all[i-1].ID.Compare(e.ID) >= 0 {
			t.Fatalf("event %d: id %s after %s", e.Seq, e.ID, all[i-1].ID)
		}
	}
}

// checkOpenings replays all events and compares with each stored state.
func checkOpenings(t testing.TB, r Reader, all []*event.Event) {
	t.Helper()
	fold := &chainFold{}
	first, state, err := r.Opening(context.Background(), all[0].Seq)
	if err == nil && first == 1 {
		err = fold.Restore(nil)
	} else if err == nil {
		err = fold.Restore(state)
	}
	if err != nil {
		t.Fatalf("opening of %d: %v", all[0].Seq, err)
	}
	for _, e := range all {
		if _, ok := e.Body.(*event.SegmentOpened); ok {
			checkOpening(t, r, e, fold)
		}
		if err := fold.Replay(e); err != nil {
			t.Fatalf("replay: %v", err)
		}
	}
}

func checkOpening(t testing.TB, r Reader, e *event.Event, fold *chainFold) {
	t.Helper()
	first, state, err := r.Opening(context.Background(), e.Seq)
	if err != nil {
		t.Fatalf("opening of %d: %v", e.Seq, err)
	}
	if first == e.Seq && string(state) != string(fold.Encode()) {
		t.Fatalf("segment of %d opens with %x, replay gives %x", e.Seq, state, fold.Encode())
	}
}

func checkReverse(t testing.TB, r Reader, all []*event.Event) {
	t.Helper()
	i := len(all)
	for e, err := range r.Reverse(context.Background(), 0, 0) {
		if err != nil {
			t.Fatalf("reverse: %v", err)
		}
		i--
		if string(event.Encode(e)) != string(event.Encode(all[i])) {
			t.Fatalf("reverse gives event %d, want %d", e.Seq, all[i].Seq)
		}
	}
	if i != 0 {
		t.Fatalf("reverse leaves out %d events", i)
	}
}

// checkReplayed compares the fold with one that replays the whole ledger.
func checkReplayed(t testing.TB, r Reader, fold *chainFold) {
	t.Helper()
	whole := &chainFold{}
	for e, err := range r.Events(t.Context(), 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if err := whole.Replay(e); err != nil {
			t.Fatal(err)
		}
	}
	if whole.committed != fold.committed {
		t.Errorf("the fold is %+v, replay gives %+v", fold.committed, whole.committed)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func closeLedger(t testing.TB, l *Ledger) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// waitUntil polls a condition that another goroutine brings about.
func waitUntil(t testing.TB, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited for half a minute in vain")
		}
	}
}

// setMeta changes a value of a segment's meta bucket.
func setMeta(t testing.TB, path, key, value string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte(key), []byte(value))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}
