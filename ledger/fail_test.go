package ledger

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
)

// breaker makes writes fail when a test says so.
type breaker struct {
	step    string // which step fails
	persist bool   // the write is done all the same
	armed   atomic.Bool
}

var errBroken = errors.New("the disk says no")

func (b *breaker) around(step string, write func() error) error {
	if step != b.step || !b.armed.CompareAndSwap(true, false) {
		return write()
	}
	if b.persist {
		if err := write(); err != nil {
			return err
		}
	}
	return errBroken
}

// TestFailedCommit fails each kind of write, once so that it is lost and once
// so that it persists, and checks what those who wait are told, what readers
// see, and how the ledger goes on.
func TestFailedCommit(t *testing.T) {
	for _, step := range []string{"append", "seal", "create"} {
		for _, persist := range []bool{false, true} {
			name := step + " lost"
			if persist {
				name = step + " persisted"
			}
			t.Run(name, func(t *testing.T) { testFailedCommit(t, step, persist) })
		}
	}
}

func testFailedCommit(t *testing.T, step string, persist bool) {
	b := &breaker{step: step, persist: persist}
	fold := &chainFold{}
	dir := t.TempDir()
	l := open(t, dir, Options{Fold: fold, SegmentEvents: 8, Around: b.around})
	fill(t, l, 7) // with segment.opened: the segment is full
	if step == "append" {
		fill(t, l, 3)
	}
	_, before := l.Bounds()
	failed := l.Failed()
	b.armed.Store(true)
	_, err := l.Submit(context.Background(), one(note("in doubt")))
	if step == "create" && !persist {
		// Nothing took effect and nothing is in doubt: it is tried again.
		wantErr(t, err, errBroken)
		if errors.Is(err, ErrFailed) {
			t.Errorf("got %v for a file that was never named", err)
		}
		submit(t, l, "again")
		checkLedger(t, l)
		return
	}
	checkFailed(t, l, fold, err, failed, before)
	checkReopen(t, l, fold, step == "append" && persist, before)
	closeLedger(t, l)
	l = open(t, dir, Options{SegmentEvents: 8})
	checkLedger(t, l)
	checkAside(t, dir)
}

// TestFailedLargeBatch fails a batch of which much was put into pages already.
func TestFailedLargeBatch(t *testing.T) {
	for _, persist := range []bool{false, true} {
		b := &breaker{step: "append", persist: persist}
		fold := &chainFold{}
		l := open(t, t.TempDir(), Options{Fold: fold, Around: b.around})
		fill(t, l, 3)
		_, before := l.Bounds()
		fns := make([]func(Header) ([]*event.Event, error), 500)
		for i := range fns {
			fns[i] = one(note("in doubt"))
		}
		failed := l.Failed()
		b.armed.Store(true)
		errs := submitTogether(l, fns...)
		checkFailed(t, l, fold, errs[0], failed, before)
		checkReopen(t, l, fold, persist, before)
	}
}

// checkFailed checks a ledger between the failure and Reopen.
func checkFailed(t *testing.T, l *Ledger, fold *chainFold, err error, failed <-chan struct{}, before uint64) {
	t.Helper()
	wantErr(t, err, ErrFailed)
	wantErr(t, err, errBroken)
	select {
	case <-failed:
	default:
		t.Error("Failed is still open")
	}
	_, err = l.Submit(context.Background(), one(note("never")))
	wantErr(t, err, ErrFailed)
	if _, last := l.Bounds(); last != before {
		t.Errorf("readers see %d, acknowledged is %d", last, before)
	}
	if all := checkLedger(t, l); uint64(len(all)) != before {
		t.Errorf("%d events can be read, %d were acknowledged", len(all), before)
	}
	if fold.discards == 0 || fold.tip != fold.committed || fold.committed.seq != before {
		t.Errorf("fold: %+v, acknowledged is %d", fold, before)
	}
	wantErr(t, l.snapshotErr(), ErrFailed)
}

// checkReopen reopens and checks that exactly what persisted is there.
func checkReopen(t *testing.T, l *Ledger, fold *chainFold, persisted bool, before uint64) {
	t.Helper()
	if err := l.Reopen(context.Background()); err != nil {
		t.Fatalf("reopen: %v", err)
	}
	select {
	case <-l.Failed():
		t.Error("Failed is closed after Reopen")
	default:
	}
	submit(t, l, "on we go")
	found := false
	var salvaged *event.SegmentOpened
	for _, e := range checkLedger(t, l) {
		found = found || textOf(e) == "in doubt"
		if textOf(e) == "never" {
			t.Error("a refused event is in the ledger")
		}
		if o, ok := e.Body.(*event.SegmentOpened); ok && o.Reason == reasonSalvaged {
			salvaged = o
		}
	}
	if found != persisted {
		t.Errorf("the event in doubt is there: %t, it persisted: %t", found, persisted)
	}
	if salvaged == nil || salvaged.SalvagedThrough < before || len(salvaged.PreviousSHA256) != 0 {
		t.Errorf("segment.opened of the salvage: %+v, acknowledged was %d", salvaged, before)
	}
	if fold.replayed == 0 || fold.committed != fold.tip {
		t.Errorf("fold: %+v", fold)
	}
	if err := l.Reopen(context.Background()); err != nil {
		t.Errorf("reopen of a sound ledger: %v", err)
	}
}

// checkAside checks that one file was kept, and is not mistaken for another.
func checkAside(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(segmentsDir(dir), "*.abandoned.*"))
	if err != nil || len(names) != 1 {
		t.Errorf("abandoned files: %v, %v", names, err)
	}
}

// TestWriterDiesBetweenFailureAndReopen holds that the next process does not
// append to a file whose commit failed.
func TestWriterDiesBetweenFailureAndReopen(t *testing.T) {
	b := &breaker{step: "append", persist: true}
	dir := t.TempDir()
	l := open(t, dir, Options{Around: b.around})
	fill(t, l, 3)
	b.armed.Store(true)
	_, err := l.Submit(context.Background(), one(note("in doubt")))
	wantErr(t, err, ErrFailed)
	path := l.c.newest.path
	was, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	closeLedger(t, l)
	l = open(t, dir, Options{})
	is, err := os.Stat(path)
	if err != nil || os.SameFile(was, is) {
		t.Errorf("the file was opened again: %v", err)
	}
	all := checkLedger(t, l)
	if last := all[len(all)-1].Body.(*event.SegmentOpened); last.Reason != reasonSalvaged {
		t.Errorf("the last event is %+v", last)
	}
	checkAside(t, dir)
	closeLedger(t, l)
	l = open(t, dir, Options{})
	if again := checkLedger(t, l); len(again) != len(all) {
		t.Errorf("%d events after the next opening, %d before: it was salvaged again", len(again), len(all))
	}
	checkAside(t, dir)
}

// TestReopenKeepsEveryAcknowledgedEvent holds that a ledger which lost one
// stays shut.
func TestReopenKeepsEveryAcknowledgedEvent(t *testing.T) {
	b := &breaker{step: "append"}
	l := open(t, t.TempDir(), Options{Around: b.around})
	fill(t, l, 5)
	submit(t, l, "this one is going to be damaged")
	fill(t, l, 5)
	b.armed.Store(true)
	_, err := l.Submit(context.Background(), one(note("in doubt")))
	wantErr(t, err, ErrFailed)
	damage(t, l.c.newest.path, "this one is going to be damaged")
	for range 2 {
		wantErr(t, l.Reopen(context.Background()), ErrCorrupt)
	}
	_, err = l.Submit(context.Background(), one(note("never")))
	wantErr(t, err, ErrFailed)
	if _, err := l.Get(context.Background(), 3); err != nil {
		t.Errorf("an undamaged event: %v", err)
	}
	_, err = l.Get(context.Background(), 7)
	wantErr(t, err, ErrCorrupt)
}

// damage changes one byte of a text in a file, wherever it stands.
func damage(t testing.TB, path, text string) {
	t.Helper()
	all, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for at := 0; ; n++ {
		i := bytes.Index(all[at:], []byte(text))
		if i < 0 {
			break
		}
		at += i
		if _, err := f.WriteAt([]byte("X"), int64(at)); err != nil {
			t.Fatal(err)
		}
		at++
	}
	if err := f.Close(); err != nil || n == 0 {
		t.Fatalf("damaged %d places: %v", n, err)
	}
}

// TestDamageIsNamed holds that a damaged record is found by every way of
// reading and named by its seq, and that opening refuses it.
func TestDamageIsNamed(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{})
	fill(t, l, 5)
	seq := submit(t, l, "to be damaged")
	fill(t, l, 5)
	path := l.c.newest.path
	closeLedger(t, l)
	damage(t, path, "to be damaged")
	_, err := Open(dir, Options{Fold: &chainFold{}})
	named(t, err, seq)
	a, err := OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	_, err = a.Get(context.Background(), seq)
	named(t, err, seq)
	n := uint64(0)
	for _, err = range a.Events(context.Background(), 0, 0) {
		n++
	}
	named(t, err, seq)
	if n != seq {
		t.Errorf("%d steps before the damage, want %d", n, seq)
	}
	for _, err = range a.Reverse(context.Background(), 0, 0) {
		if err != nil {
			break
		}
	}
	named(t, err, seq)
}

func named(t testing.TB, err error, seq uint64) {
	t.Helper()
	var c *CorruptError
	if !errors.As(err, &c) || c.Seq != seq || !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want damage at event %d", err, seq)
	}
}

func TestNewerLayoutIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{})
	path := l.c.newest.path
	closeLedger(t, l)
	setMeta(t, path, "layout", "2")
	_, err := Open(dir, Options{Fold: &chainFold{}})
	wantErr(t, err, ErrNewerLayout)
	_, err = OpenArchive(dir)
	wantErr(t, err, segment.ErrNewerLayout)
}

// TestNoSpace holds that a full disk refuses and does not fail.
func TestNoSpace(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 40)
	l := open(t, t.TempDir(), Options{SegmentEvents: 4, freeBytes: func(string) (int64, error) { return free.Load(), nil }})
	fill(t, l, 1)
	free.Store(segment.GrowthStep - 1) // the reserve is held
	ran := false
	_, err := l.Submit(context.Background(), func(Header) ([]*event.Event, error) { ran = true; return nil, nil })
	wantErr(t, err, ErrNoSpace)
	if ran {
		t.Error("a closure ran although its events could not be stored")
	}
	free.Store(segment.GrowthStep) // enough to append, not to roll
	fill(t, l, 2)
	_, err = l.Submit(context.Background(), one(note("rolls")))
	wantErr(t, err, ErrNoSpace)
	free.Store(1 << 40)
	fill(t, l, 5)
	if all := checkLedger(t, l); len(all) != 1+1+2+1+5+1 {
		t.Errorf("%d events", len(all))
	}
}
