package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/snapshot"
)

// model is what a ledger should be: the texts of its notes by seq. Events of
// the committer's own stand between them and count as "".
type model struct {
	dir   string
	l     *Ledger
	fold  *chainFold
	b     *breaker
	clock *handClock
	next  int // number of the next note

	notes   map[uint64]string
	last    uint64          // seq of the last event that was acknowledged or replayed
	maybe   map[string]bool // notes of failed commits that persisted
	segment uint64          // events a segment
	every   int64           // events between snapshots
}

func (m *model) open(t *rapid.T) {
	m.fold = &chainFold{}
	l, err := Open(m.dir, Options{Fold: m.fold, SegmentEvents: m.segment, SnapshotEvents: m.every, Clock: m.clock, Around: m.b.around})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	m.l = l
	whole := &chainFold{}
	for e, err := range l.Events(context.Background(), 0, 0) {
		if err == nil {
			err = whole.Replay(e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if whole.committed != m.fold.committed {
		t.Fatalf("the fold is %+v, replay gives %+v", m.fold.committed, whole.committed)
	}
}

// text makes a text that no other note has.
func (m *model) text() string {
	m.next++
	return fmt.Sprintf("note %d", m.next)
}

// acked takes in the answer to a Submit of texts.
func (m *model) acked(t *rapid.T, c *Commit, err error, texts []string) {
	if err != nil {
		t.Fatalf("submit %v: %v", texts, err)
	}
	if len(c.Events) != len(texts) || len(c.Receipts) != len(texts) {
		t.Fatalf("%d events and %d receipts for %d", len(c.Events), len(c.Receipts), len(texts))
	}
	for i, e := range c.Events {
		if m.notes[e.Seq] != "" {
			t.Fatalf("event %d was given out twice", e.Seq)
		}
		if i > 0 && e.Seq != c.Events[i-1].Seq+1 {
			t.Fatalf("the events of one closure stand at %d and %d", c.Events[i-1].Seq, e.Seq)
		}
		m.notes[e.Seq] = texts[i]
		m.last = max(m.last, e.Seq)
	}
}

// Submit appends a few notes with one closure.
func (m *model) Submit(t *rapid.T) {
	texts := make([]string, rapid.IntRange(0, 4).Draw(t, "events"))
	es := make([]*event.Event, len(texts))
	for i := range texts {
		texts[i] = m.text()
		es[i] = note(texts[i])
	}
	c, err := m.l.Submit(context.Background(), one(es...))
	m.acked(t, c, err, texts)
}

// Together submits closures that share batches, some of which are refused.
func (m *model) Together(t *rapid.T) {
	kinds := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 12).Draw(t, "kinds")
	bad := errors.New("no")
	texts := make([]string, len(kinds))
	commits, errs := make([]*Commit, len(kinds)), make([]error, len(kinds))
	var wg sync.WaitGroup
	for i, kind := range kinds {
		texts[i] = m.text()
		fn := one(note(texts[i]))
		switch kind {
		case 0:
			fn = func(Header) ([]*event.Event, error) { return []*event.Event{note("refused")}, bad }
		case 1:
			fn = func(Header) ([]*event.Event, error) { panic(bad) }
		case 2:
			fn = one(note("refused"), &event.Event{})
		}
		wg.Go(func() { commits[i], errs[i] = m.l.Submit(context.Background(), fn) })
	}
	wg.Wait()
	for i, kind := range kinds {
		var p *PanicError
		switch {
		case kind == 0 && !errors.Is(errs[i], bad), kind == 1 && !errors.As(errs[i], &p), kind == 2 && !errors.Is(errs[i], ErrMalformed):
			t.Fatalf("closure %d of kind %d got %v", i, kind, errs[i])
		case kind > 2:
			m.acked(t, commits[i], errs[i], texts[i:i+1])
		}
	}
}

// Clock moves the clocks, sometimes the wall clock alone.
func (m *model) Clock(t *rapid.T) {
	m.clock.move(rapid.Int64Range(0, 5*second).Draw(t, "both"), rapid.SampledFrom([]int64{0, 0, 0, -3 * second, 90 * second}).Draw(t, "step"))
}

// Reopen closes and opens.
func (m *model) Reopen(t *rapid.T) {
	if err := m.l.Close(); err != nil {
		t.Fatal(err)
	}
	m.open(t)
	m.settle(t)
}

// Mangle closes, does something to the snapshots, and opens.
func (m *model) Mangle(t *rapid.T) {
	if err := m.l.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := snapshot.List(snapshotsDir(m.dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		to := f.Path
		switch rapid.IntRange(0, 4).Draw(t, "how") {
		case 0: // leave it
		case 1:
			b = b[:rapid.IntRange(0, len(b)-1).Draw(t, "length")]
		case 2:
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		case 3:
			to = rapid.SampledFrom(files).Draw(t, "in the place of").Path
		case 4:
			to = filepath.Join(snapshotsDir(m.dir), fmt.Sprintf("%020d.snap", f.Seq+rapid.Uint64Range(1, 9).Draw(t, "later")))
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m.open(t)
	m.settle(t)
}

// Fail has one write fail, and reopens in the same process or in a new one.
func (m *model) Fail(t *rapid.T) {
	m.b.step = rapid.SampledFrom([]string{"append", "append", "seal", "create"}).Draw(t, "step")
	m.b.persist = rapid.Bool().Draw(t, "persist")
	if m.b.step == "append" {
		// What the ledger has to append of its own goes first, so that it is
		// the note that fails.
		c, err := m.l.Submit(context.Background(), one())
		m.acked(t, c, err, nil)
	}
	m.b.armed.Store(true)
	text := m.text()
	c, err := m.l.Submit(context.Background(), one(note(text)))
	m.b.armed.Store(false)
	if err == nil { // no segment was due
		m.acked(t, c, err, []string{text})
		return
	}
	if !errors.Is(err, errBroken) {
		t.Fatalf("a failed %s gave %v", m.b.step, err)
	}
	if !errors.Is(err, ErrFailed) { // the next segment could not be made
		return
	}
	m.maybe[text] = m.b.step == "append" && m.b.persist
	if rapid.Bool().Draw(t, "in process") {
		if err := m.l.Reopen(context.Background()); err != nil {
			t.Fatalf("reopen: %v", err)
		}
		m.settle(t)
		return
	}
	m.Reopen(t)
}

// settle takes in what a reopening may have changed: a note in doubt that
// persisted, events of the committer's own.
func (m *model) settle(t *rapid.T) {
	_, last := m.l.Bounds()
	if last < m.last {
		t.Fatalf("the ledger ends at %d, event %d was acknowledged", last, m.last)
	}
	for e, err := range m.l.Events(context.Background(), m.last+1, last) {
		if err != nil {
			t.Fatal(err)
		}
		if text := textOf(e); text != "" {
			if !m.maybe[text] {
				t.Fatalf("event %d is %q, which was not to be there", e.Seq, text)
			}
			delete(m.maybe, text)
			m.notes[e.Seq] = text
		}
	}
	for text, persisted := range m.maybe {
		if persisted {
			t.Fatalf("%q persisted and is not there", text)
		}
	}
	m.last = last
}

// Read reads a random range both ways and compares.
func (m *model) Read(t *rapid.T) {
	from := rapid.Uint64Range(1, max(m.last, 1)).Draw(t, "from")
	to := rapid.Uint64Range(from, max(m.last, from)).Draw(t, "to")
	seq := from
	for e, err := range m.l.Events(context.Background(), from, to) {
		if err != nil || e.Seq != seq || textOf(e) != m.notes[seq] {
			t.Fatalf("event %d is %v (%v), want %q", seq, e, err, m.notes[seq])
		}
		seq++
	}
	for e, err := range m.l.Reverse(context.Background(), from, to) {
		seq--
		if err != nil || e.Seq != seq || textOf(e) != m.notes[seq] {
			t.Fatalf("in reverse, event %d is %v (%v), want %q", seq, e, err, m.notes[seq])
		}
	}
	if e, err := m.l.Get(context.Background(), from); err != nil || textOf(e) != m.notes[from] {
		t.Fatalf("event %d is %v (%v), want %q", from, e, err, m.notes[from])
	}
}

// Check runs after every step.
func (m *model) Check(t *rapid.T) {
	first, last := m.l.Bounds()
	if first != 1 || last < m.last {
		t.Fatalf("bounds are %d to %d, event %d was acknowledged", first, last, m.last)
	}
	if m.fold.committed.seq != last || m.fold.tip != m.fold.committed {
		t.Fatalf("the fold is %+v, the ledger at %d", m.fold, last)
	}
}

// TestModel drives ledgers with random histories and compares them with the
// model.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "astrid-model-")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		m := &model{dir: dir, b: &breaker{}, clock: newHandClock(), notes: map[uint64]string{}, maybe: map[string]bool{},
			segment: rapid.Uint64Range(2, 12).Draw(rt, "segment"), every: rapid.Int64Range(1, 6).Draw(rt, "every")}
		m.open(rt)
		defer func() {
			if err := m.l.Close(); err != nil {
				rt.Error(err)
			}
		}()
		rt.Repeat(rapid.StateMachineActions(m))
		checkLedger(t, m.l)
	})
}
