package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
	"github.com/astrid-os/processledger/ledger/snapshot"
)

// snapshotsOf lists the snapshots of a ledger that is closed.
func snapshotsOf(t testing.TB, dir string) []snapshot.File {
	t.Helper()
	files, err := snapshot.List(snapshotsDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// withSnapshots makes a ledger of n notes, with snapshots of known places:
// after each note that is due, the writing is waited for.
func withSnapshots(t testing.TB, dir string, n int, o Options) {
	t.Helper()
	o.Fold = &chainFold{}
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		submit(t, l, "note")
		waitUntil(t, func() bool { return !l.c.snaps.busy.Load() })
	}
	closeLedger(t, l)
}

// reopened opens a ledger and holds that the fold is as a whole replay has it.
// It returns how many events the opening replayed.
func reopened(t testing.TB, dir string, o Options) int {
	t.Helper()
	fold := &chainFold{}
	if o.Fold != nil {
		fold = o.Fold.(*chainFold)
	}
	o.Fold = fold
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer closeLedger(t, l)
	checkLedger(t, l)
	checkReplayed(t, l, fold)
	return fold.replayed
}

// TestSnapshotSavesReplay: an opening replays what came after the newest
// snapshot, and everything where it finds none.
func TestSnapshotSavesReplay(t *testing.T) {
	dir := t.TempDir()
	withSnapshots(t, dir, 25, Options{SnapshotEvents: 10}) // event 1 is segment.opened
	files := snapshotsOf(t, dir)
	if len(files) != 2 || files[0].Seq != 21 || files[1].Seq != 11 {
		t.Fatalf("snapshots %+v", files)
	}
	if n := reopened(t, dir, Options{}); n != 26-21 {
		t.Errorf("%d events were replayed", n)
	}
	if err := snapshot.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if n := reopened(t, dir, Options{}); n != 26-11 {
		t.Errorf("%d events were replayed from the snapshot before", n)
	}
	if err := os.RemoveAll(snapshotsDir(dir)); err != nil {
		t.Fatal(err)
	}
	if n := reopened(t, dir, Options{}); n != 26 {
		t.Errorf("%d events were replayed without a snapshot", n)
	}
	if n := reopened(t, dir, Options{SnapshotEvents: -1}); n != 26 || len(snapshotsOf(t, dir)) > 0 {
		t.Errorf("%d events were replayed with snapshots switched off", n)
	}
}

// TestSnapshotsAreFew: older ones go, and those of a segment that is sealed.
func TestSnapshotsAreFew(t *testing.T) {
	dir := t.TempDir()
	o := Options{SnapshotEvents: 2, SegmentEvents: 10}
	withSnapshots(t, dir, 47, o)
	if files := snapshotsOf(t, dir); len(files) != 2 {
		t.Errorf("snapshots %+v", files)
	}
	left := filepath.Join(snapshotsDir(dir), "00000000000000000007.snap.tmp")
	if err := os.WriteFile(left, []byte("cut"), 0o600); err != nil {
		t.Fatal(err)
	}
	withSnapshots(t, dir, 6, o)
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what a crash left is not removed: %v", err)
	}
	reopened(t, dir, o)
}

// TestDoubtfulSnapshots: whatever is not the state of this ledger's own past is
// not used, and removed; the state is right all the same.
func TestDoubtfulSnapshots(t *testing.T) {
	o := Options{SnapshotEvents: 10}
	other := t.TempDir()
	withSnapshots(t, other, 25, o)
	foreign, err := os.ReadFile(snapshotsOf(t, other)[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	again := func(b []byte, change func(m *snapshot.Mark, state *[]byte)) []byte {
		m, state, err := snapshot.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		state = append([]byte(nil), state...)
		change(&m, &state)
		return snapshot.Encode(m, state)
	}
	for name, mangle := range map[string]func([]byte) []byte{
		"empty":             func([]byte) []byte { return nil },
		"zeros":             func(b []byte) []byte { return make([]byte, len(b)) },
		"cut":               func(b []byte) []byte { return b[:len(b)-1] },
		"longer":            func(b []byte) []byte { return append(b, 0) },
		"of another ledger": func([]byte) []byte { return foreign },
		"another format":    func(b []byte) []byte { b[7]++; return b },
		"another event": func(b []byte) []byte {
			return again(b, func(m *snapshot.Mark, _ *[]byte) { m.Event[0]++ })
		},
		"another segment": func(b []byte) []byte {
			return again(b, func(m *snapshot.Mark, _ *[]byte) { m.First++ })
		},
		"another build": func(b []byte) []byte {
			return again(b, func(m *snapshot.Mark, _ *[]byte) { m.Rules[0]++ })
		},
		"a state of another seq": func(b []byte) []byte {
			return again(b, func(_ *snapshot.Mark, s *[]byte) { (*s)[0]++ })
		},
		"no state": func(b []byte) []byte {
			return again(b, func(_ *snapshot.Mark, s *[]byte) { *s = nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			withSnapshots(t, dir, 25, o)
			for i, f := range snapshotsOf(t, dir) {
				b, err := os.ReadFile(f.Path)
				if err != nil {
					t.Fatal(err)
				}
				if i > 0 {
					b = nil
				} else {
					b = mangle(b)
				}
				if err := os.WriteFile(f.Path, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if n := reopened(t, dir, o); n != 26 {
				t.Errorf("%d events were replayed", n)
			}
			if files := snapshotsOf(t, dir); len(files) > 0 {
				t.Errorf("left: %v", files)
			}
		})
	}
}

// TestSnapshotOfEveryDamage flips each byte of one.
func TestSnapshotOfEveryDamage(t *testing.T) {
	whole := snapshot.Encode(snapshot.Mark{Seq: 7, First: 1}, []byte("a state"))
	if _, _, err := snapshot.Decode(whole); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		b := append([]byte(nil), whole...)
		b[i] ^= 0x40
		if _, _, err := snapshot.Decode(b); err == nil {
			t.Errorf("byte %d may be another", i)
		}
		if _, _, err := snapshot.Decode(whole[:i]); err == nil {
			t.Errorf("%d bytes of %d will do", i, len(whole))
		}
	}
}

// TestSnapshotOfAnotherHistory: a backup is restored, and the ledger goes on
// from there. What was kept of the history that is gone is never used, whether
// the new one is shorter or longer.
func TestSnapshotOfAnotherHistory(t *testing.T) {
	for name, more := range map[string]int{"shorter": 2, "as long": 10, "longer": 40} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := Options{SnapshotEvents: 10}
			withSnapshots(t, dir, 15, o)
			backup, err := os.ReadFile(newestPath(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			withSnapshots(t, dir, 10, o) // snapshots of 11 and 21
			if err := os.WriteFile(newestPath(t, dir), backup, 0o600); err != nil {
				t.Fatal(err)
			}
			aside := t.TempDir()
			if err := os.CopyFS(aside, os.DirFS(snapshotsDir(dir))); err != nil {
				t.Fatal(err)
			}
			withSnapshots(t, dir, more, Options{SnapshotEvents: -1})
			if err := os.RemoveAll(snapshotsDir(dir)); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(snapshotsDir(dir), os.DirFS(aside)); err != nil {
				t.Fatal(err)
			}
			if n := reopened(t, dir, o); n != 16+more-11 {
				t.Errorf("%d events were replayed, the snapshot of 11 is of both histories", n)
			}
			if files := snapshotsOf(t, dir); len(files) != 1 || files[0].Seq != 11 {
				t.Errorf("left: %v", files)
			}
		})
	}
}

func newestPath(t testing.TB, dir string) string {
	t.Helper()
	files, err := segment.List(segmentsDir(dir))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	return files[len(files)-1].Path
}

// TestSnapshotThatLeadsNowhere: the replay after a snapshot fails, although all
// that it says of itself is right. Everything is replayed then.
func TestSnapshotThatLeadsNowhere(t *testing.T) {
	dir := t.TempDir()
	o := Options{SnapshotEvents: 10}
	withSnapshots(t, dir, 25, o)
	fold := &misled{}
	o.Fold = fold
	l := open(t, dir, o)
	if fold.committed.seq != 26 || fold.replayed != 26 {
		t.Errorf("the fold is %+v", fold.chainFold)
	}
	if files := snapshotsOf(t, dir); len(files) > 0 {
		t.Errorf("left: %v", files)
	}
	checkReplayed(t, l, &fold.chainFold)
}

// misled is a fold that takes a snapshot in and cannot go on from it.
type misled struct{ chainFold }

func (m *misled) RestoreAt(state []byte, seq uint64) error {
	err := m.chainFold.RestoreAt(state, seq)
	m.committed.seq--
	return err
}

// TestNoSnapshotWithoutRoom: the disk's last bytes are not for what may be
// deleted, and a directory that is gone is not made again.
func TestNoSnapshotWithoutRoom(t *testing.T) {
	dir := t.TempDir()
	free := int64(1 << 40)
	o := Options{SnapshotEvents: 5, freeBytes: func(string) (int64, error) { return free, nil }, Fold: &chainFold{}}
	l := open(t, dir, o)
	fill(t, l, 3)
	free = segment.GrowthStep // with the reserve held, enough for a commit, not for more
	fill(t, l, 3)
	waitUntil(t, func() bool { return !l.c.snaps.busy.Load() })
	if files := snapshotsOf(t, dir); len(files) > 0 {
		t.Errorf("written: %v", files)
	}
}

// TestDamageBeforeASnapshot: an opening does not read what a snapshot stands
// for, and the ledger looks at it afterwards.
func TestDamageBeforeASnapshot(t *testing.T) {
	dir := t.TempDir()
	o := Options{SnapshotEvents: 10}
	withSnapshots(t, dir, 25, o)
	whole := open(t, dir, Options{})
	waitUntil(t, func() bool { return ended(whole.back.done) })
	if err := whole.Damage(); err != nil {
		t.Errorf("nothing is damaged: %v", err)
	}
	closeLedger(t, whole)

	damageRecord(t, newestPath(t, dir), 5)
	l := open(t, dir, Options{})
	waitUntil(t, func() bool { return l.Damage() != nil })
	var at *CorruptError
	if !errors.As(l.Damage(), &at) || at.Seq != 5 {
		t.Errorf("found: %v", l.Damage())
	}
	submit(t, l, "goes on")
	closeLedger(t, l)

	damageRecord(t, newestPath(t, dir), 24)
	_, err := Open(dir, Options{Fold: &chainFold{}})
	wantErr(t, err, ErrCorrupt)
}

func ended(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// damageRecord changes a byte of one record, as a disk would.
func damageRecord(t testing.TB, path string, seq uint64) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		key := binary.BigEndian.AppendUint64(nil, seq)
		events := tx.Bucket([]byte("events"))
		frame := bytes.Clone(events.Get(key))
		frame[len(frame)-1] ^= 1
		return events.Put(key, frame)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestNoSnapshotOfASalvage: a segment.opened does not count for steps of the
// clock, so no snapshot is taken of it: an opening from there would measure from
// it, and find another step than one that reads everything.
func TestNoSnapshotOfASalvage(t *testing.T) {
	clock, b, dir := newHandClock(), &breaker{step: "append"}, t.TempDir()
	o := Options{Clock: clock, SnapshotEvents: 1, Around: b.around}
	l := open(t, dir, o)
	snapped := func() { waitUntil(t, func() bool { return !l.c.snaps.busy.Load() }) }
	fill(t, l, 3)
	snapped()
	b.armed.Store(true)
	_, err := l.Submit(t.Context(), one(note("in doubt")))
	wantErr(t, err, ErrFailed)
	clock.move(0, 7*second/10) // not a step yet
	if err := l.Reopen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Submit(t.Context(), one()); err != nil { // as a probe does
		t.Fatal(err)
	}
	snapped()
	_, last := l.Bounds()
	closeLedger(t, l)
	for _, f := range snapshotsOf(t, dir) {
		if f.Seq >= last {
			t.Errorf("a snapshot of event %d, a segment.opened", f.Seq)
		}
	}
	clock.move(0, 7*second/10)
	l = open(t, dir, o)
	fill(t, l, 1)
	var steps []int64
	for _, e := range checkLedger(t, l) {
		if b, ok := e.Body.(*event.ClockStepped); ok {
			steps = append(steps, b.DeltaNano)
		}
	}
	if len(steps) != 1 || steps[0] != 14*second/10 {
		t.Errorf("steps on record: %v, want 1.4 s", steps)
	}
}
