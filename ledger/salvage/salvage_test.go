package salvage_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/oklog/ulid/v2"
	bolt "go.etcd.io/bbolt"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/salvage"
	"github.com/astrid-os/processledger/ledger/segment"
	"github.com/astrid-os/processledger/ledger/verify"
	"github.com/astrid-os/processledger/projector"
)

// state is the projector's state as salvage and verify want it.
type state struct{ *projector.State }

func (s *state) Restore(opening []byte) (err error) {
	s.State = projector.New()
	if opening != nil {
		s.State, err = projector.Decode(opening)
	}
	return err
}

func (s *state) Replay(e *event.Event) error { return s.Apply(e) }

var ledgerOptions = ledger.Options{Reserve: -1}

var options = salvage.Options{
	NewFold: func() salvage.Fold { return &state{projector.New()} },
	Actor:   event.Actor{Kind: event.ActorOperator, UID: 7, Role: "operator"},
}

// build makes a ledger of three segments, in which processes come and go.
func build(t testing.TB, dir string) {
	t.Helper()
	live, err := projector.Open(dir, ledger.Options{SegmentEvents: 64, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		lifeOf(t, live, i)
	}
	if err := live.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(segments(t, dir)); n != 3 {
		t.Fatalf("%d segments", n)
	}
}

func lifeOf(t testing.TB, live *projector.Live, i int) {
	scope := event.Scope{Principal: "alice", Capsule: "builder", Actor: event.Actor{Kind: event.ActorGuest}, Handle: ulid.ULID{15: byte(i + 1)}}
	for _, bodies := range [][]event.Body{
		{&event.SpawnRequested{Tier: event.TierBackground, Command: "git"}, &event.SpawnDecided{Outcome: event.OutcomeGranted, Orders: &event.Orders{}}},
		{&event.ProcessStarted{Isolation: "none"}},
		{&event.ProcessExited{Exit: event.Exit{Code: new(int32(0))}, Cause: "self"}},
		{&event.HandleReleased{Reason: "dropped"}},
	} {
		_, err := live.Decide(context.Background(), func(*projector.State, ledger.Header) (es []*event.Event, _ error) {
			for _, b := range bodies {
				es = append(es, &event.Event{Scope: scope, Body: b})
			}
			return es, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func segments(t testing.TB, dir string) (paths []string) {
	t.Helper()
	files, err := ledger.Segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	return paths
}

func edit(t testing.TB, path string, fn func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err == nil {
		err = db.Update(fn)
	}
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func key(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// putEvents changes the bucket of events.
func putEvents(fn func(b *bolt.Bucket) error) func(testing.TB, string) {
	return func(t testing.TB, path string) {
		edit(t, path, func(tx *bolt.Tx) error { return fn(tx.Bucket([]byte("events"))) })
	}
}

// frame makes a record with a valid checksum.
func frame(seq, prev uint64, encoded []byte) []byte {
	b := append(binary.LittleEndian.AppendUint64(make([]byte, 4), prev), encoded...)
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(b, crc32.Update(crc32.Checksum(key(seq), table), table, b[4:]))
	return b
}

// events reads a whole ledger.
func events(t testing.TB, dir string) (es []*event.Event) {
	t.Helper()
	a, err := ledger.OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for e, err := range a.Events(t.Context(), 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		es = append(es, e)
	}
	return es
}

// The test's ledger has events 1 to 153: segments begin at 1, 65 and 130.
const second, third, last = 65, 130, 153

// TestSalvage damages a ledger in each way that keeps a daemon from opening it.
func TestSalvage(t *testing.T) {
	flip := func(seq uint64) func(testing.TB, string) {
		return putEvents(func(b *bolt.Bucket) error {
			v := bytes.Clone(b.Get(key(seq)))
			v[len(v)-1] ^= 1
			return b.Put(key(seq), v)
		})
	}
	whole := func(t testing.TB, path string) {
		if err := os.WriteFile(path, bytes.Repeat([]byte("noise "), 4000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	noState := func(t testing.TB, path string) {
		edit(t, path, func(tx *bolt.Tx) error { return tx.Bucket([]byte("state")).Put([]byte("opening"), []byte("?")) })
	}
	for _, c := range []struct {
		name     string
		damage   [3]func(testing.TB, string) // of each segment; nil: none
		kept     uint64                      // last event that is kept
		lostTo   uint64
		readable uint64
		aside    int
		opens    bool // a daemon opens it as it is
	}{
		{name: "a record of the newest", damage: [3]func(testing.TB, string){2: flip(140)}, kept: 139, lostTo: last, readable: last - 140, aside: 1},
		{name: "the last record", damage: [3]func(testing.TB, string){2: flip(last)}, kept: last - 1, lostTo: last, aside: 1},
		{name: "the first record of the newest", damage: [3]func(testing.TB, string){2: flip(third)}, kept: third - 1, lostTo: last, readable: last - third, aside: 1},
		{name: "a record that is gone", damage: [3]func(testing.TB, string){2: putEvents(func(b *bolt.Bucket) error { return b.Delete(key(140)) })},
			kept: 139, lostTo: last, readable: last - 140, aside: 1},
		{name: "an illegal step", damage: [3]func(testing.TB, string){2: putEvents(func(b *bolt.Bucket) error {
			r, err := segment.OpenFrame(140, b.Get(key(140)))
			if err != nil {
				return err
			}
			e, err := event.Decode(r.Bytes)
			if err != nil {
				return err
			}
			e.Handle, e.Body = ulid.ULID{1: 9}, &event.ProcessExited{Exit: event.Exit{Code: new(int32(0))}} // of nobody
			return b.Put(key(140), frame(140, r.Prev, event.Encode(e)))
		})}, kept: 139, lostTo: last, readable: last - 139, aside: 1},
		{name: "the opening state of the newest", damage: [3]func(testing.TB, string){2: noState}, kept: third - 1, lostTo: last, readable: last - third + 1, aside: 1},
		{name: "noise for the newest", damage: [3]func(testing.TB, string){2: whole}, kept: third - 1, lostTo: third, aside: 1},
		{name: "an empty newest", damage: [3]func(testing.TB, string){2: func(t testing.TB, path string) {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		}}, kept: third - 1, lostTo: third, aside: 1},
		{name: "a newest that was cut short", damage: [3]func(testing.TB, string){2: func(t testing.TB, path string) {
			if err := os.Truncate(path, 3*4096); err != nil {
				t.Fatal(err)
			}
		}}, kept: third - 1, lostTo: third, aside: 1},
		{name: "the newest and a record before it", damage: [3]func(testing.TB, string){1: flip(100), 2: whole}, kept: 99, lostTo: third, readable: third - 101, aside: 2},
		{name: "two of noise", damage: [3]func(testing.TB, string){1: whole, 2: whole}, kept: second - 1, lostTo: third, aside: 2},
		{name: "all of noise", damage: [3]func(testing.TB, string){whole, whole, whole}, lostTo: third, aside: 3},
		{name: "a sealed one", damage: [3]func(testing.TB, string){1: flip(100)}, opens: true},
		{name: "nothing", opens: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "ledger")
			build(t, dir)
			before := events(t, dir)
			if n := len(before); n != last {
				t.Fatalf("%d events", n)
			}
			paths := segments(t, dir)
			for i, damage := range c.damage {
				if damage != nil {
					damage(t, paths[i])
				}
			}
			live, err := projector.Open(dir, ledger.Options{Reserve: -1})
			if opened := err == nil; opened != c.opens {
				t.Fatalf("opening: %v", err)
			}
			if err == nil {
				if err := live.Close(); err != nil {
					t.Fatal(err)
				}
			}
			dry := options
			dry.DryRun = true
			planned, err := salvage.Run(dir, dry)
			if err != nil {
				t.Fatal(err)
			}
			r, err := salvage.Run(dir, options)
			if err != nil {
				t.Fatal(err)
			}
			if c.opens {
				if !r.Sound || !planned.Sound || len(segments(t, dir)) != 3 {
					t.Errorf("salvaged what is sound: %+v", r)
				}
				return
			}
			got := fmt.Sprint(r.KeptTo, r.LostFrom, r.LostTo, r.Readable, len(r.SetAside), r.New)
			if want := fmt.Sprint(c.kept, c.kept+1, c.lostTo, c.readable, c.aside, c.kept == 0); got != want {
				t.Errorf("kept to, lost from, to, readable, aside, new: %s, want %s", got, want)
			}
			if p := fmt.Sprint(planned.KeptTo, planned.LostFrom, planned.LostTo, planned.Readable, len(planned.SetAside), planned.New); p != got {
				t.Errorf("a dry run said %s", p)
			}
			checkSalvaged(t, dir, before, c.kept, r)
		})
	}
}

// checkSalvaged checks that the ledger is sound, holds what is kept and tells
// what is lost, that the damaged files are there, and that it goes on.
func checkSalvaged(t *testing.T, dir string, before []*event.Event, kept uint64, r *salvage.Result) {
	t.Helper()
	live, err := projector.Open(dir, ledger.Options{SegmentEvents: 64, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		lifeOf(t, live, 100+i)
	}
	if err := live.Close(); err != nil {
		t.Fatal(err)
	}
	after := events(t, dir)
	for i := range kept {
		if !bytes.Equal(event.Encode(after[i]), event.Encode(before[i])) {
			t.Fatalf("event %d is not what it was", i+1)
		}
	}
	for i, aside := range r.SetAside {
		body, ok := after[int(kept)+1+i].Body.(*event.LedgerSalvaged)
		if !ok || body.SetAside != aside.Kept || fmt.Sprintf("%x", body.SHA256) != aside.SHA256 || body.LostFrom != r.LostFrom || body.Fault == "" {
			t.Errorf("event %d tells %+v, set aside is %+v", int(kept)+2+i, after[int(kept)+1+i].Body, aside)
		}
		if _, err := os.Stat(filepath.Join(dir, "segments", aside.Kept)); err != nil {
			t.Error(err)
		}
	}
	if e := after[kept+1]; e.Actor.UID != 7 {
		t.Errorf("salvaged by %+v", e.Actor)
	}
	if newest := before[len(before)-1].ID; r.Readable > 0 && after[kept].ID.Compare(newest) <= 0 {
		t.Errorf("the id %s comes before one that was given, %s", after[kept].ID, newest)
	}
	report, err := verify.Dir(t.Context(), dir, verify.Options{NewState: func() verify.State { return &state{projector.New()} }})
	if err != nil || !report.Sound() {
		t.Errorf("not sound: %v, %+v", err, report)
	}
}

// TestSalvageOfNothing: of a ledger whose directory is gone a new one begins.
func TestSalvageOfNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	r, err := salvage.Run(dir, options)
	if err != nil || !r.New || r.LostFrom != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	es := events(t, dir)
	if len(es) != 2 || es[1].Kind() != event.KindLedgerSalvaged {
		t.Errorf("it holds %d events", len(es))
	}
}

// TestSalvageBesideAWriter is refused.
func TestSalvageBesideAWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	live, err := projector.Open(dir, ledger.Options{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if _, err := salvage.Run(dir, options); err == nil {
		t.Error("salvaged under a writer")
	}
}

// TestSalvageOfNewer leaves what a newer build wrote alone.
func TestSalvageOfNewer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	build(t, dir)
	o := options
	o.NewFold = func() salvage.Fold { return newer{} }
	if r, err := salvage.Run(dir, o); err == nil {
		t.Errorf("salvaged %+v", r)
	}
	if n := len(segments(t, dir)); n != 3 {
		t.Errorf("%d segments", n)
	}
}

type newer struct{}

func (newer) Restore([]byte) error      { return ledger.ErrNewerLayout }
func (newer) Replay(*event.Event) error { return nil }
func (newer) Encode() []byte            { return nil }
