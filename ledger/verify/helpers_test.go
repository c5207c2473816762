package verify_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"
	bolt "go.etcd.io/bbolt"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
	"github.com/astrid-os/processledger/ledger/verify"
	"github.com/astrid-os/processledger/projector"
)

// replayed is the projector's state as the verifier wants it.
type replayed struct{ *projector.State }

func newState() verify.State { return &replayed{projector.New()} }

func (r *replayed) Restore(opening []byte) (err error) {
	r.State = projector.New()
	if opening != nil {
		r.State, err = projector.Decode(opening)
	}
	return err
}

// build makes a ledger of about 300 events in five segments: the whole lives
// of 60 processes, each handle's events in one segment or over two.
func build(t testing.TB, dir string) {
	t.Helper()
	live, err := projector.Open(dir, ledger.Options{SegmentEvents: 64, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		lifeOf(t, live, i)
	}
	if err := live.Close(); err != nil {
		t.Error(err)
	}
	paths := segments(t, dir)
	trim(t, paths[len(paths)-1]) // the others are under a hash
}

func lifeOf(t testing.TB, live *projector.Live, i int) {
	scope := event.Scope{Principal: "alice", Capsule: "builder", CallID: fmt.Sprint("call-", i), Actor: event.Actor{Kind: event.ActorGuest}}
	scope.Handle = ulid.ULID{15: byte(i + 1)}
	steps := [][]event.Body{
		{&event.SpawnRequested{Tier: event.TierBackground, Command: "git", Args: []string{"status"}}, &event.SpawnDecided{Outcome: event.OutcomeGranted, Orders: &event.Orders{}}},
		{&event.ProcessStarted{Isolation: "none"}},
		{&event.ProcessExited{Exit: event.Exit{Code: new(int32(0))}, Cause: "self"}},
		{&event.HandleReleased{Reason: "dropped"}},
	}
	if i%10 == 9 {
		steps = [][]event.Body{{steps[0][0], &event.SpawnDecided{Outcome: event.OutcomeRefused, Code: "quota"}}}
	}
	for _, bodies := range steps {
		_, err := live.Decide(context.Background(), func(*projector.State, ledger.Header) (es []*event.Event, err error) {
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

// segments returns the paths of the ledger's segments.
func segments(t testing.TB, dir string) []string {
	t.Helper()
	files, err := ledger.Segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	return paths
}

// firstOf is the seq in a segment's name.
func firstOf(t testing.TB, path string) (first uint64) {
	t.Helper()
	if _, err := fmt.Sscanf(filepath.Base(path), "%d.seg", &first); err != nil {
		t.Fatal(err)
	}
	return first
}

// edit changes a segment with bbolt itself, as whoever has write access could.
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

// frame makes a record with a valid checksum.
func frame(seq, prev uint64, encoded []byte) []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 4), prev)
	b = append(b, encoded...)
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Checksum(key(seq), table), table, b[4:])
	binary.LittleEndian.PutUint32(b, sum)
	return b
}

// change rewrites a stored event, with a valid checksum.
func change(t testing.TB, path string, seq uint64, fn func(e *event.Event)) {
	t.Helper()
	edit(t, path, func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("events"))
		r, err := segment.OpenFrame(seq, b.Get(key(seq)))
		if err != nil {
			return err
		}
		e, err := event.Decode(r.Bytes)
		if err != nil {
			return err
		}
		e.Prev = r.Prev
		fn(e)
		return b.Put(key(seq), frame(seq, e.Prev, event.Encode(e)))
	})
}

// write changes bytes of a file in place.
func write(t testing.TB, path string, off int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// copyLedger copies a ledger's files to a new directory.
func copyLedger(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "ledger")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// check verifies and returns the faults as "class segment-index seq".
func check(t testing.TB, dir string) (*verify.Report, []string) {
	t.Helper()
	r, err := verify.Dir(context.Background(), dir, verify.Options{NewState: newState})
	if err != nil {
		t.Fatal(err)
	}
	var short []string
	paths := segments(t, dir)
	for _, f := range r.Faults {
		index := -1
		for i, p := range paths {
			if strings.HasSuffix(p, f.Segment) {
				index = i
			}
		}
		short = append(short, fmt.Sprintf("%s %d %d", f.Class, index, f.Seq))
	}
	return r, short
}
