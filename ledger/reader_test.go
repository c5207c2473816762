package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
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

func TestFollow(t *testing.T) {
	b := &breaker{step: "append", persist: true}
	l := open(t, t.TempDir(), Options{SegmentEvents: 7, around: b.around})
	fill(t, l, 10)
	ctx, cancel := context.WithCancel(context.Background())
	var followers sync.WaitGroup
	var mu sync.Mutex
	at := map[int]uint64{}
	for i := range 4 {
		followers.Go(func() {
			want := uint64(i * 5)
			want = max(want, 1)
			for e, err := range l.Follow(ctx, uint64(i*5)) {
				if err != nil {
					wantErr(t, err, context.Canceled)
					return
				}
				if e.Seq != want {
					t.Errorf("follower %d got event %d, want %d", i, e.Seq, want)
				}
				want++
				mu.Lock()
				at[i] = e.Seq
				mu.Unlock()
			}
		})
	}
	var writers sync.WaitGroup
	for range 3 {
		writers.Go(func() { fill(t, l, 20) })
	}
	writers.Wait()
	b.armed.Store(true)
	_, err := l.Submit(ctx, one(note("in doubt")))
	wantErr(t, err, ErrFailed)
	if err := l.Reopen(ctx); err != nil {
		t.Fatal(err)
	}
	last := submit(t, l, "last")
	waitUntil(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return at[0] == last && at[1] == last && at[2] == last && at[3] == last
	})
	cancel()
	followers.Wait()
}

func TestFollowEndsWithTheLedger(t *testing.T) {
	l := open(t, t.TempDir(), Options{})
	done := make(chan error)
	go func() {
		var last error
		for _, err := range l.Follow(context.Background(), 100) {
			last = err
		}
		done <- last
	}()
	waitUntil(t, func() bool { l.news.mu.Lock(); defer l.news.mu.Unlock(); return l.news.ch != nil })
	closeLedger(t, l)
	wantErr(t, <-done, ErrClosed)
}

// TestArchive compares an archive, of either kind, with the ledger.
func TestArchive(t *testing.T) {
	dir := t.TempDir()
	l := spread(t, dir)
	live := checkLedger(t, l)
	var copied bytes.Buffer
	info, err := l.CopyNewest(context.Background(), &copied)
	if err != nil {
		t.Fatal(err)
	}
	first, last := l.Bounds()
	if info.Ledger != l.ID() || info.Last != last || info.Bytes != int64(copied.Len()) || info.First <= first || info.Ordinal < 2 {
		t.Errorf("copy: %+v", info)
	}
	fill(t, l, 30) // rolls: the copy is now of a sealed segment
	with, err := OpenArchiveWith(dir, &copied)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, with, l, live)
	closeLedger(t, l)
	before := listing(t, dir)
	off, err := OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(checkLedger(t, off)); n <= len(live) {
		t.Errorf("%d events", n)
	}
	tmp := off.tmp
	if err := errors.Join(off.Close(), off.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(tmp); !os.IsNotExist(err) {
		t.Errorf("the private copy is still there: %v", err)
	}
	if after := listing(t, dir); after != before {
		t.Errorf("the directory changed from\n%sto\n%s", before, after)
	}
	_, err = off.Get(context.Background(), 1)
	wantErr(t, err, ErrClosed)
}

func compare(t *testing.T, a *Archive, l *Ledger, live []*event.Event) {
	t.Helper()
	got := checkLedger(t, a)
	if len(got) != len(live) || a.ID() != l.ID() {
		t.Errorf("%d events of %s, want %d of %s", len(got), a.ID(), len(live), l.ID())
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func listing(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, fi os.FileInfo, err error) error {
		if err == nil && !fi.IsDir() {
			sum, _ := segment.FileSHA256(path)
			fmt.Fprintf(&b, "%s %v %x\n", path, fi.Mode(), sum[:4])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestArchiveOfNothing(t *testing.T) {
	dir := t.TempDir()
	_, err := OpenArchive(dir)
	wantErr(t, err, os.ErrNotExist)
	if err := os.Mkdir(segmentsDir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	a, err := OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if first, last := a.Bounds(); first != 0 || last != 0 {
		t.Errorf("bounds of nothing: %d, %d", first, last)
	}
	if all := checkLedger(t, a); len(all) != 0 {
		t.Errorf("%d events", len(all))
	}
	if seq, err := a.SeqAt(context.Background(), 5); seq != 1 || err != nil {
		t.Errorf("SeqAt: %d, %v", seq, err)
	}
}

// TestArchiveWithGarbage holds that a copy that is none is an error.
func TestArchiveWithGarbage(t *testing.T) {
	dir := t.TempDir()
	spread(t, dir)
	_, err := OpenArchiveWith(dir, strings.NewReader(strings.Repeat("garbage ", 4096)))
	wantErr(t, err, ErrCorrupt)
	_, err = OpenArchiveWith(dir, strings.NewReader(""))
	wantErr(t, err, ErrCorrupt)
}

// TestForeignSegment holds that a segment of another ledger is not taken for
// one of this.
func TestForeignSegment(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	closeLedger(t, spread(t, other))
	l := spread(t, dir)
	closeLedger(t, l)
	bytes, err := os.ReadFile(segment.Path(segmentsDir(other), 1))
	if err == nil {
		err = os.WriteFile(segment.Path(segmentsDir(dir), 1), bytes, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	a, err := OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	_, err = a.Get(context.Background(), 1)
	wantErr(t, err, ErrCorrupt)
	if err := os.Remove(segment.Path(segmentsDir(dir), 11)); err != nil {
		t.Fatal(err)
	}
}

// TestMissingSegment holds that a hole between two segments is a gap.
func TestMissingSegment(t *testing.T) {
	dir := t.TempDir()
	closeLedger(t, spread(t, dir))
	if err := os.Remove(segment.Path(segmentsDir(dir), 21)); err != nil {
		t.Fatal(err)
	}
	a, err := OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var gap *GapError
	err = drain(a.Events(context.Background(), 0, 0))
	if !errors.As(err, &gap) || !errors.Is(err, ErrGap) || gap.Want != 21 {
		t.Errorf("got %v, want a gap at 21", err)
	}
	_, err = a.Get(context.Background(), 25)
	wantErr(t, err, ErrNotFound)
}

func TestModesOfFiles(t *testing.T) {
	dir := t.TempDir()
	l := spread(t, dir)
	files, err := segment.List(segmentsDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		fi, err := os.Stat(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		want := os.FileMode(0o640)
		if i == len(files)-1 {
			want = 0o600
		}
		if fi.Mode().Perm() != want {
			t.Errorf("segment %d of %d is %v, want %v", i+1, len(files), fi.Mode().Perm(), want)
		}
	}
	closeLedger(t, l)
}

// TestChainOfHashes holds that each segment.opened tells the hash of the file
// before and of the state it opens with.
func TestChainOfHashes(t *testing.T) {
	dir := t.TempDir()
	l := spread(t, dir)
	n := uint64(0)
	for e, err := range l.Events(context.Background(), 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		o, ok := e.Body.(*event.SegmentOpened)
		if !ok {
			continue
		}
		if n++; o.Ordinal != n || o.Layout != segment.Layout {
			t.Errorf("segment %d: %+v", n, o)
		}
		if n == 1 {
			if o.Reason != reasonFirst || o.PreviousFirst != 0 || len(o.PreviousSHA256) != 0 {
				t.Errorf("first segment: %+v", o)
			}
			continue
		}
		sum, err := segment.FileSHA256(segment.Path(segmentsDir(dir), o.PreviousFirst))
		if err != nil || !bytes.Equal(sum[:], o.PreviousSHA256) || o.Reason != reasonFull {
			t.Errorf("segment %d: %+v; the file before has %x (%v)", n, o, sum, err)
		}
	}
}
