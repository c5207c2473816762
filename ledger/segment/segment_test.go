package segment

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testLedger = ulid.MustParse("01JABCDEFGHJKMNPQRSTVWXYZ0")

// bytesOf is what the tests store under seq.
func bytesOf(seq uint64) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("<%d>", seq)), int(seq%50)+1)
}

// batchOf returns the records from seq first to seq last.
func batchOf(t testing.TB, first, last uint64) *Batch {
	t.Helper()
	b := &Batch{}
	b.Reset(first)
	for seq := first; seq <= last; seq++ {
		if err := b.AddRecord(Record{Seq: seq, Prev: seq / 2, Bytes: bytesOf(seq)}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// build makes a segment with the records from seq first to seq last.
func build(t testing.TB, dir string, first, last uint64, state string) string {
	t.Helper()
	b, err := Build(dir, Meta{Ledger: testLedger, Ordinal: 3, First: first}, []byte(state))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Add(batchOf(t, first, last)), b.Finish()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	return b.Path()
}

func closeAll(t testing.TB, s *Segment) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func checkRecords(t testing.TB, got []Record, first uint64) {
	t.Helper()
	for i, r := range got {
		seq := first + uint64(i)
		if r.Seq != seq || r.Prev != seq/2 || !bytes.Equal(r.Bytes, bytesOf(seq)) {
			t.Fatalf("record %d is %d, prev %d, %q", seq, r.Seq, r.Prev, r.Bytes)
		}
	}
}

func TestLifeOfASegment(t *testing.T) {
	dir := t.TempDir()
	path := build(t, dir, 100, 100, "the state")
	s, err := OpenNewest(path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(101); seq <= 3000; seq += 29 {
		if err := s.Append(batchOf(t, seq, seq+28)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Seal(3000); err != nil {
		t.Fatal(err)
	}
	wantIs(t, s.Append(batchOf(t, 3001, 3001)), ErrSealed)
	closeAll(t, s)
	_, err = OpenNewest(path, 1<<20)
	wantIs(t, err, ErrSealed)
	for _, access := range []Access{Random, Scan} {
		s, err := OpenRead(path, access)
		if err != nil {
			t.Fatal(err)
		}
		checkSealed(t, s)
		closeAll(t, s)
	}
}

func checkSealed(t *testing.T, s *Segment) {
	t.Helper()
	want := Meta{Layout: Layout, Ledger: testLedger, Ordinal: 3, First: 100, Sealed: true, Last: 3000, StateSHA256: sha256.Sum256([]byte("the state"))}
	if s.Meta() != want {
		t.Errorf("meta is %+v, want %+v", s.Meta(), want)
	}
	if state, err := s.State(); err != nil || string(state) != "the state" {
		t.Errorf("state is %q, %v", state, err)
	}
	if last, err := s.Last(); err != nil || last != 3000 {
		t.Errorf("last is %d, %v", last, err)
	}
	reads := 0
	for from := uint64(100); from <= 3000; reads++ {
		got, err := s.Read(from, 3000, nil)
		if err != nil || len(got) == 0 {
			t.Fatalf("%d records from %d on, %v", len(got), from, err)
		}
		checkRecords(t, got, from)
		from += uint64(len(got))
	}
	if reads < 2 {
		t.Error("one read took everything")
	}
	if got, err := s.Read(200, 210, nil); err != nil || len(got) != 11 {
		t.Errorf("%d records of 11, %v", len(got), err)
	}
	_, err := s.Read(2999, 3001, nil)
	wantIs(t, err, ErrGap)
	_, err = s.Get(99)
	wantIs(t, err, ErrNotFound)
	r, err := s.Get(2000)
	if err != nil {
		t.Error(err)
	}
	checkRecords(t, []Record{r}, 2000)
	wantIs(t, s.Append(batchOf(t, 3001, 3001)), ErrReadOnly)
	wantIs(t, s.Seal(3000), ErrReadOnly)
}

func wantIs(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

// TestKeptBytesStay holds that what a read returned is not touched by later
// reads, appends or the closing of the file.
func TestKeptBytesStay(t *testing.T) {
	path := build(t, t.TempDir(), 1, 2000, "")
	s, err := OpenNewest(path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var all []Record
	for from := uint64(1); from <= 2000; {
		got, err := s.Read(from, 2000, nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, got...)
		from += uint64(len(got))
		if err := s.Append(batchOf(t, 2000+from, 2000+from)); err != nil {
			t.Fatal(err)
		}
	}
	closeAll(t, s)
	checkRecords(t, all, 1)
}

func TestListAndLeftovers(t *testing.T) {
	dir := t.TempDir()
	build(t, dir, 900, 900, "")
	build(t, dir, 1, 5, "")
	for _, name := range []string{"00000000000000000007.seg.tmp", "copy-1.tmp", "7.seg", "0000000000000000000x.seg",
		"00000000000000000000.seg", "99999999999999999999.seg", "00000000000000000001.seg.abandoned.1"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := List(dir)
	if err != nil || len(files) != 2 || files[0] != (File{Path(dir, 1), 1}) || files[1] != (File{Path(dir, 900), 900}) {
		t.Errorf("%v, %v", files, err)
	}
	if removed, err := RemoveLeftovers(dir); err != nil || len(removed) != 2 {
		t.Errorf("removed %v, %v", removed, err)
	}
	if again, err := RemoveLeftovers(dir); err != nil || len(again) != 0 {
		t.Errorf("removed again: %v, %v", again, err)
	}
}

// TestSetAside holds that a file is marked once, that the mark is the file's
// and not the name's, and that it survives another file in its place.
func TestSetAside(t *testing.T) {
	dir := t.TempDir()
	path := build(t, dir, 1, 3, "old")
	is(t, path, false)
	first, err := SetAside(path)
	if err != nil {
		t.Fatal(err)
	}
	is(t, path, true)
	if again, err := SetAside(path); err != nil || again != first {
		t.Errorf("set aside again as %q, %v", again, err)
	}
	build(t, dir, 1, 3, "new")
	is(t, path, false)
	second, err := SetAside(path)
	if err != nil || second == first {
		t.Errorf("the second file is set aside as %q, %v", second, err)
	}
	for name, state := range map[string]string{first: "old", second: "new"} {
		s, err := OpenRead(name, Random)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.State(); err != nil || string(got) != state {
			t.Errorf("%s has the state %q, %v", name, got, err)
		}
		closeAll(t, s)
	}
}

func is(t *testing.T, path string, want bool) {
	t.Helper()
	if got, err := IsAbandoned(path); err != nil || got != want {
		t.Errorf("abandoned: %t, %v; want %t", got, err, want)
	}
}

func TestSnapshotIsASegment(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenNewest(build(t, dir, 1, 50, "state"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, s)
	v, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append(batchOf(t, 51, 60)); err != nil {
		t.Fatal(err)
	}
	var copied bytes.Buffer
	n, err := v.WriteTo(&copied)
	last, err2 := v.Last()
	if err := errors.Join(err, err2, v.Close()); err != nil || n != int64(copied.Len()) || last != 50 {
		t.Errorf("%d bytes up to %d, %v", n, last, err)
	}
	path := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(path, copied.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := OpenRead(path, Scan)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, c)
	if last, err := c.Last(); err != nil || last != 50 {
		t.Errorf("the copy ends at %d, %v", last, err)
	}
}

// TestDiscardLeavesNothing holds that a segment that was given up is gone.
func TestDiscardLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	b, err := Build(dir, Meta{Ledger: testLedger, Ordinal: 1, First: 1}, nil)
	if err == nil {
		err = b.Discard()
	}
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// TestReserve holds that a file grows before a batch and not for each, and that
// bbolt does not grow it on its own then.
func TestReserve(t *testing.T) {
	path := build(t, t.TempDir(), 1, 1, "")
	s, err := OpenNewest(path, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, s)
	grown, next := 0, uint64(2)
	for range 40 {
		b := &Batch{}
		b.Reset(next)
		for range 100 {
			if err := b.AddRecord(Record{Seq: next, Bytes: bytes.Repeat([]byte("long"), 700)}); err != nil {
				t.Fatal(err)
			}
			next++
		}
		before := sizeOf(t, path)
		if _, err := s.Reserve(b); err != nil {
			t.Fatal(err)
		}
		reserved := sizeOf(t, path)
		if reserved != before {
			grown++
		}
		if err := s.Append(b); err != nil {
			t.Fatal(err)
		}
		if after := sizeOf(t, path); after != reserved {
			t.Errorf("bbolt grew the file from %d to %d", reserved, after)
		}
	}
	if grown == 0 || grown > 25 {
		t.Errorf("the file grew %d times for 40 batches", grown)
	}
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Size()
}
