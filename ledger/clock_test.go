package ledger

import (
	"os"
	"sync"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// handClock is a clock that a test moves.
type handClock struct {
	mu         sync.Mutex
	wall, boot int64
	id         [16]byte
}

func (c *handClock) Now() (wall, boottime int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall, c.boot
}

func (c *handClock) BootID() [16]byte { return c.id }

// move moves both clocks by d and then the wall clock alone by step.
func (c *handClock) move(d, step int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.boot = c.wall+d+step, c.boot+d
}

const second = int64(1e9)

func newHandClock() *handClock {
	return &handClock{wall: 1_700_000_000 * second, boot: 50 * second, id: [16]byte{1}}
}

func TestIDsGrowWhenTheClockStepsBack(t *testing.T) {
	clock := newHandClock()
	dir := t.TempDir()
	l := open(t, dir, Options{Clock: clock})
	fill(t, l, 3) // within one millisecond
	clock.move(0, -3600*second)
	fill(t, l, 3)
	closeLedger(t, l)
	clock.move(0, -3600*second)
	l = open(t, dir, Options{Clock: clock})
	fill(t, l, 3)
	clock.move(3*3600*second, 0)
	fill(t, l, 1)
	all := checkLedger(t, l) // checks that ids grow
	var steps []int64
	for _, e := range all {
		if b, ok := e.Body.(*event.ClockStepped); ok {
			steps = append(steps, b.DeltaNano)
		}
	}
	if len(steps) != 2 || steps[0] != -3600*second || steps[1] != -3600*second {
		t.Errorf("steps on record: %v", steps)
	}
	last := all[len(all)-1]
	if got, want := last.ID.Time(), uint64(clock.wall/1e6); got != want {
		t.Errorf("order time is %d after the clock caught up, want %d", got, want)
	}
}

// TestStepGoesBeforeTheBatch holds that a closure finds the step in the tip.
func TestStepGoesBeforeTheBatch(t *testing.T) {
	clock := newHandClock()
	fold := &chainFold{}
	l := open(t, t.TempDir(), Options{Clock: clock, Fold: fold})
	fill(t, l, 1)
	cases := []struct {
		move, step int64
		recorded   bool
	}{
		{10 * second, 0, false},
		{0, second, false},    // NTP at work
		{0, second + 1, true}, // forward
		{second, -second, false},
		{second, -2 * second, true},
	}
	for _, c := range cases {
		clock.move(c.move, c.step)
		_, before := l.Bounds()
		seq := submit(t, l, "after")
		if got := seq == before+2; got != c.recorded {
			t.Errorf("step of %d: event %d after %d", c.step, seq, before)
		}
		if fold.tip != fold.committed {
			t.Errorf("tip is %+v, committed %+v", fold.tip, fold.committed)
		}
	}
	clock.id = [16]byte{2}
	clock.move(0, 100*second)
	_, before := l.Bounds()
	if seq := submit(t, l, "another boot"); seq != before+1 {
		t.Error("a step between two boots cannot be known, and is on record")
	}
}

func TestIDSource(t *testing.T) {
	full := ulid.ULID{}
	for i := range full {
		full[i] = 0xff
	}
	if err := full.SetTime(1000); err != nil {
		t.Fatal(err)
	}
	s := newIDSource(full)
	for _, wall := range []int64{-5, 0, 1000 * 1e6, 999 * 1e6, 1001 * 1e6, 1e18} {
		id := s.next(wall)
		if id.Compare(s.last) <= 0 {
			t.Errorf("at %d: %s is not after %s", wall, id, s.last)
		}
		if id.Time() < s.last.Time() {
			t.Errorf("at %d: order time goes back from %d to %d", wall, s.last.Time(), id.Time())
		}
		s.last = id
	}
	if h := Following(Header{Seq: 7, ID: full}, 2); h.Seq != 9 || h.ID.Time() != 1001 {
		t.Errorf("two after the last id of a millisecond is %+v", h)
	}
}

// TestMachineClock holds that the times are of the kind they say.
func TestMachineClock(t *testing.T) {
	c := machineClock{boot: bootID()}
	w1, b1 := c.Now()
	w2, b2 := c.Now()
	if w1 < 1_600_000_000*second || w2 < w1-second || b2 < b1 || b1 < 0 {
		t.Errorf("wall %d, %d, boottime %d, %d", w1, w2, b1, b2)
	}
}

// TestStepAtARoll holds that a step of the clock is on record also where a new
// segment begins, after it was full and after a failed commit.
func TestStepAtARoll(t *testing.T) {
	clock := newHandClock()
	b := &breaker{step: "append"}
	l := open(t, t.TempDir(), Options{Clock: clock, SegmentEvents: 4, Around: b.around})
	fill(t, l, 3) // with segment.opened: full
	clock.move(0, 60*second)
	fill(t, l, 1)
	b.armed.Store(true)
	_, err := l.Submit(t.Context(), one(note("in doubt")))
	wantErr(t, err, ErrFailed)
	clock.move(0, -90*second)
	if err := l.Reopen(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 1)
	var steps []int64
	for _, e := range checkLedger(t, l) {
		if b, ok := e.Body.(*event.ClockStepped); ok {
			steps = append(steps, b.DeltaNano/second)
		}
	}
	if len(steps) != 2 || steps[0] != 60 || steps[1] != -90 {
		t.Errorf("steps on record: %v, want 60 and -90 seconds", steps)
	}
}

// TestIDsOfACopyAreNoOthers has a ledger and an older copy of it go on, by a
// clock that stands still, so that ids grow without it: no id is given twice.
func TestIDsOfACopyAreNoOthers(t *testing.T) {
	clock, dir, copied := newHandClock(), t.TempDir(), t.TempDir()
	l := open(t, dir, Options{Clock: clock})
	fill(t, l, 3)
	closeLedger(t, l)
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	given := map[ulid.ULID]bool{}
	for _, dir := range []string{dir, copied} {
		l := open(t, dir, Options{Clock: clock})
		_, before := l.Bounds()
		fill(t, l, 20)
		for _, e := range checkLedger(t, l) {
			if e.Seq > before && given[e.ID] {
				t.Errorf("event %d has the id of another, %s", e.Seq, e.ID)
			}
			given[e.ID] = true
		}
	}
}

// TestIDsOfAFailedCommitAreNoOthers: what was told to be lost is recognised by
// its id, if it turns up; so nothing else may have that.
func TestIDsOfAFailedCommitAreNoOthers(t *testing.T) {
	b := &breaker{step: "append"}
	l := open(t, t.TempDir(), Options{Clock: newHandClock(), Around: b.around})
	fill(t, l, 3)
	b.armed.Store(true)
	var tried Header
	_, err := l.Submit(t.Context(), func(next Header) ([]*event.Event, error) {
		tried = next
		return []*event.Event{note("in doubt")}, nil
	})
	wantErr(t, err, ErrFailed)
	if err := l.Reopen(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 1)
	for _, e := range checkLedger(t, l) {
		if e.ID == tried.ID && textOf(e) != "in doubt" {
			t.Errorf("event %d has the id of one that was lost", e.Seq)
		}
	}
}

func TestLeapsCarry(t *testing.T) {
	s := newIDSource(ulid.ULID{})
	full := ulid.ULID{7: 4}
	for i := 8; i < 16; i++ {
		full[i] = 0xff
	}
	for range 100 {
		if id := s.leap(full); id.Compare(full) <= 0 || id[7] != 5 {
			t.Fatalf("%x leapt to %x", full, id)
		}
		if id := s.leap(ulid.ULID{}); id[7] != 0 || id[8] < 0x80 {
			t.Fatalf("nothing leapt to %x", id)
		}
	}
}
