package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
	"github.com/astrid-os/processledger/ledger/verify"
	"github.com/astrid-os/processledger/projector"
)

// TestSound: a ledger that nobody damaged has no fault, also after a salvage,
// after its old segments were dropped, and while it has a writer.
func TestSound(t *testing.T) {
	dir := t.TempDir()
	build(t, dir)
	sound(t, dir, 1)

	t.Run("salvaged", func(t *testing.T) {
		dir := copyLedger(t, dir)
		paths := segments(t, dir)
		if _, err := segment.SetAside(paths[len(paths)-1]); err != nil {
			t.Fatal(err)
		}
		build(t, dir) // salvages, and goes on
		r := sound(t, dir, 1)
		if !strings.Contains(strings.Join(r.Notes, "\n"), "abandoned") {
			t.Errorf("nothing about the abandoned file in %q", r.Notes)
		}
	})
	t.Run("dropped", func(t *testing.T) {
		dir := copyLedger(t, dir)
		paths := segments(t, dir)
		for _, p := range paths[:2] {
			if err := os.Remove(p); err != nil {
				t.Fatal(err)
			}
		}
		r := sound(t, dir, firstOf(t, paths[2]))
		if !strings.Contains(strings.Join(r.Notes, "\n"), "history begins at event") {
			t.Errorf("nothing about the missing history in %q", r.Notes)
		}
	})
	t.Run("with a writer", func(t *testing.T) { soundWithWriter(t, copyLedger(t, dir)) })
}

func sound(t *testing.T, dir string, first uint64) *verify.Report {
	t.Helper()
	r, short := check(t, dir)
	if !r.Sound() || r.ExitCode() != 0 {
		t.Fatalf("exit code %d, faults %v:\n%v", r.ExitCode(), short, r.Faults)
	}
	if r.FirstSeq != first || r.Events != r.LastSeq-first+1 || r.Segments != len(segments(t, dir)) {
		t.Errorf("%d events, %d to %d, in %d segments; want all from %d on in %d", r.Events, r.FirstSeq, r.LastSeq, r.Segments, first, len(segments(t, dir)))
	}
	return r
}

func soundWithWriter(t *testing.T, dir string) {
	live, err := projector.Open(dir, ledger.Options{SegmentEvents: 64, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if _, err := verify.Dir(context.Background(), dir, verify.Options{}); !errors.Is(err, ledger.ErrWriterActive) {
		t.Errorf("with a writer: %v, want ErrWriterActive", err)
	}
	newest := filepath.Join(t.TempDir(), "newest")
	f, err := os.Create(newest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := live.Ledger().CopyNewest(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		lifeOf(t, live, 100+i) // begins other segments
	}
	r, err := verify.Dir(context.Background(), dir, verify.Options{NewState: newState, Newest: newest})
	if err != nil || !r.Sound() || r.LastSeq != info.Last {
		t.Errorf("from a copy: %v, faults %v, last event %d, want %d", err, r.Faults, r.LastSeq, info.Last)
	}
}

// damage is one way to damage the ledger of [build], of which paths are the
// segments, and the faults that it must show as, in order.
type damage struct {
	name string
	do   func(t *testing.T, paths []string)
	want []string
	exit int
}

// seq is an event in the middle of segment 1, other events of its handle
// before and after it.
const seq = 100

var damages = []damage{
	{"byte of a sealed record", func(t *testing.T, p []string) {
		flipInRecord(t, p[1], seq)
	}, []string{"record 1 100", "hash 1 0"}, verify.ExitCorrupt},
	{"record deleted from a sealed segment", func(t *testing.T, p []string) {
		edit(t, p[1], func(tx *bolt.Tx) error { return tx.Bucket([]byte("events")).Delete(key(seq)) })
	}, []string{"gap 1 100", "hash 1 0"}, verify.ExitGap},
	{"records deleted from the end of a sealed segment", func(t *testing.T, p []string) {
		edit(t, p[1], func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("events"))
			return errors.Join(b.Delete(key(firstOf(t, p[2])-2)), b.Delete(key(firstOf(t, p[2])-1)))
		})
	}, []string{"gap 1 128", "hash 1 0"}, verify.ExitGap},
	{"first record deleted", func(t *testing.T, p []string) {
		edit(t, p[4], func(tx *bolt.Tx) error { return tx.Bucket([]byte("events")).Delete(key(firstOf(t, p[4]))) })
	}, []string{"gap 4 258"}, verify.ExitGap},
	{"records swapped", func(t *testing.T, p []string) {
		edit(t, p[4], func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("events"))
			x, y := bytes.Clone(b.Get(key(262))), bytes.Clone(b.Get(key(264)))
			return errors.Join(b.Put(key(262), y), b.Put(key(264), x))
		})
	}, []string{"record 4 262", "record 4 264"}, verify.ExitCorrupt},
	{"records swapped with new checksums", func(t *testing.T, p []string) {
		edit(t, p[4], func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("events"))
			x, y := bytes.Clone(b.Get(key(262))), bytes.Clone(b.Get(key(264)))
			return errors.Join(b.Put(key(262), frame(262, 0, y[12:])), b.Put(key(264), frame(264, 0, x[12:])))
		})
	}, []string{"order 4 262", "order 4 264"}, verify.ExitCorrupt},
	{"event changed in a sealed segment", func(t *testing.T, p []string) {
		change(t, p[1], seq, func(e *event.Event) { e.Body = &event.StopRequested{Reason: "invented"} })
	}, []string{"transition 1 101", "hash 1 0"}, verify.ExitCorrupt},
	{"command changed in a sealed segment", func(t *testing.T, p []string) {
		changeFirst(t, p[1], func(e *event.Event) bool {
			b, ok := e.Body.(*event.SpawnRequested)
			if ok {
				b.Command = "rm"
			}
			return ok
		})
	}, []string{"hash 1 0"}, verify.ExitMismatch},
	{"refusal changed in a sealed segment", func(t *testing.T, p []string) {
		changeFirst(t, p[1], func(e *event.Event) bool {
			b, ok := e.Body.(*event.SpawnDecided)
			if ok = ok && b.Outcome == event.OutcomeRefused; ok {
				b.Code = "boundary-escape"
			}
			return ok
		})
	}, []string{"state 2 130", "hash 1 0"}, verify.ExitMismatch},
	{"record that is no event", func(t *testing.T, p []string) {
		edit(t, p[4], func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("events")).Put(key(270), frame(270, 0, []byte("hello")))
		})
	}, []string{"decode 4 270"}, verify.ExitCorrupt},
	{"key that is no seq", func(t *testing.T, p []string) {
		edit(t, p[4], func(tx *bolt.Tx) error { return tx.Bucket([]byte("events")).Put([]byte("x"), []byte("y")) })
	}, []string{"record 4 0"}, verify.ExitCorrupt},
	{"id goes back", func(t *testing.T, p []string) {
		change(t, p[4], 270, func(e *event.Event) { e.ID[0]-- })
	}, []string{"order 4 270"}, verify.ExitCorrupt},
	{"pointer to a wrong event", func(t *testing.T, p []string) {
		change(t, p[4], 270, func(e *event.Event) { e.Prev = 3 })
	}, []string{"link 4 270"}, verify.ExitCorrupt},
	{"process exits twice", func(t *testing.T, p []string) {
		var exited *event.Event
		change(t, p[4], 265, func(e *event.Event) { exited = e })
		change(t, p[4], 266, func(e *event.Event) { e.Body = exited.Body })
	}, nil, verify.ExitCorrupt},
	{"opening state changed", func(t *testing.T, p []string) {
		edit(t, p[2], func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("state"))
			state := bytes.Clone(b.Get([]byte("opening")))
			state[len(state)-1]++
			return b.Put([]byte("opening"), state)
		})
	}, nil, verify.ExitMismatch},
	{"seal removed", func(t *testing.T, p []string) {
		edit(t, p[1], func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Delete([]byte("sealed")) })
	}, []string{"meta 1 0", "hash 1 0"}, verify.ExitCorrupt},
	{"sealed too early", func(t *testing.T, p []string) {
		putMeta(t, p[1], "sealed", "127")
	}, []string{"order 1 129", "hash 1 0"}, verify.ExitCorrupt},
	{"ordinal changed", func(t *testing.T, p []string) {
		putMeta(t, p[4], "ordinal", "7")
	}, []string{"meta 4 0", "meta 4 258"}, verify.ExitCorrupt},
	{"another ledger's", func(t *testing.T, p []string) {
		putMeta(t, p[4], "ledger", "01KDY7X4PEX9V0QK4M2T6R8WBC")
	}, []string{"meta 4 0"}, verify.ExitCorrupt},
	{"another name", func(t *testing.T, p []string) {
		if err := os.Rename(p[4], segment.Path(filepath.Dir(p[4]), 260)); err != nil {
			t.Fatal(err)
		}
	}, nil, verify.ExitCorrupt},
	{"segment missing", func(t *testing.T, p []string) {
		if err := os.Remove(p[2]); err != nil {
			t.Fatal(err)
		}
	}, []string{"gap 2 130"}, verify.ExitGap}, // the index is that of the one after
	{"segment of noise", func(t *testing.T, p []string) {
		write(t, p[2], 0, bytes.Repeat([]byte("noise"), 10_000))
	}, []string{"page 2 0", "hash 2 0"}, verify.ExitCorrupt},
	{"empty file", func(t *testing.T, p []string) {
		if err := os.Truncate(p[2], 0); err != nil {
			t.Fatal(err)
		}
	}, []string{"page 2 0", "hash 2 0"}, verify.ExitCorrupt},
	{"copy of a segment under another name", func(t *testing.T, p []string) {
		if err := os.WriteFile(segment.Path(filepath.Dir(p[1]), 70), read(t, p[1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}, nil, verify.ExitCorrupt},
	{"unused bytes of a sealed segment", func(t *testing.T, p []string) {
		b := read(t, p[1])
		write(t, p[1], int64(len(b)-1), []byte{b[len(b)-1] + 1})
	}, []string{"hash 1 0"}, verify.ExitMismatch},
}

// TestDamage: each damage shows as the faults that it is, and no other.
func TestDamage(t *testing.T) {
	original := t.TempDir()
	build(t, original)
	_, last := bounds(t, original)
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			dir := copyLedger(t, original)
			d.do(t, segments(t, dir))
			r, short := check(t, dir)
			for _, f := range r.Faults {
				t.Log(f)
			}
			if d.want != nil && !slices.Equal(short, d.want) {
				t.Errorf("faults %q, want %q", short, d.want)
			}
			if r.ExitCode() != d.exit {
				t.Errorf("exit code %d, want %d", r.ExitCode(), d.exit)
			}
			if r.LastSeq != last {
				t.Errorf("read up to event %d, want %d: damage ended the verification", r.LastSeq, last)
			}
		})
	}
}

func bounds(t *testing.T, dir string) (first, last uint64) {
	t.Helper()
	a, err := ledger.OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	return a.Bounds()
}

func putMeta(t *testing.T, path, key, value string) {
	edit(t, path, func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte(key), []byte(value)) })
}

// flipInRecord changes a byte of a record where it stands in the file.
func flipInRecord(t *testing.T, path string, seq uint64) {
	var value []byte
	edit(t, path, func(tx *bolt.Tx) error {
		value = bytes.Clone(tx.Bucket([]byte("events")).Get(key(seq)))
		return nil
	})
	file := read(t, path)
	at := bytes.LastIndex(file, value)
	for at >= 0 { // all copies: old pages hold some
		write(t, path, int64(at+len(value)-1), []byte{value[len(value)-1] ^ 0x40})
		at = bytes.LastIndex(file[:at], value)
	}
}

// changeFirst offers the events of a segment to fn until it has changed one.
func changeFirst(t *testing.T, path string, fn func(*event.Event) bool) {
	done := false
	for seq := firstOf(t, path); !done; seq++ {
		change(t, path, seq, func(e *event.Event) { done = fn(e) })
	}
}

func ExampleFault_String() {
	fmt.Println(verify.Fault{Class: verify.ClassGap, Segment: "00000000000000000001.seg", Seq: 7, Detail: "events 7 to 9 are missing"})
	// Output: 00000000000000000001.seg: event 7: gap: events 7 to 9 are missing
}
