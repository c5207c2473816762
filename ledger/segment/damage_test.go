package segment

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestMetaDamage has one value of the meta bucket wrong at a time.
func TestMetaDamage(t *testing.T) {
	for _, c := range []struct {
		key, value string
		want       error
	}{
		{"layout", "2", ErrNewerLayout}, {"layout", "x", ErrCorrupt}, {"ledger", "?", ErrCorrupt},
		{"ordinal", "-1", ErrCorrupt}, {"first", "", ErrCorrupt}, {"state-sha256", "00", ErrCorrupt},
		{"state-sha256", "zz", ErrCorrupt}, {"sealed", "x", ErrCorrupt},
	} {
		path := build(t, t.TempDir(), 1, 3, "")
		edit(t, path, func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put([]byte(c.key), []byte(c.value)) })
		_, err := OpenRead(path, Random)
		if !errors.Is(err, c.want) {
			t.Errorf("%s %q: %v, want %v", c.key, c.value, err, c.want)
		}
	}
	for _, bucket := range [][]byte{bucketMeta, bucketState, bucketEvents} {
		path := build(t, t.TempDir(), 1, 3, "")
		edit(t, path, func(tx *bolt.Tx) error { return tx.DeleteBucket(bucket) })
		_, err := OpenRead(path, Random)
		wantIs(t, err, ErrCorrupt)
	}
}

func edit(t testing.TB, path string, fn func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestRecordDamage has records go missing, move, change and turn up.
func TestRecordDamage(t *testing.T) {
	key := func(seq uint64) []byte { k := seqKey(seq); return k[:] }
	cases := []struct {
		name  string
		do    func(*bolt.Bucket) error
		seq   uint64
		want  error
		first uint64 // records before the damage
	}{
		{"missing", func(b *bolt.Bucket) error { return b.Delete(key(5)) }, 5, ErrGap, 4},
		{"moved", func(b *bolt.Bucket) error { return b.Put(key(5), bytes.Clone(b.Get(key(6)))) }, 5, ErrCorrupt, 4},
		{"short", func(b *bolt.Bucket) error { return b.Put(key(5), []byte("short")) }, 5, ErrCorrupt, 4},
		{"empty", func(b *bolt.Bucket) error { return b.Put(key(1), nil) }, 1, ErrCorrupt, 0},
		{"prev changed", func(b *bolt.Bucket) error {
			v := bytes.Clone(b.Get(key(9)))
			v[4]++
			return b.Put(key(9), v)
		}, 9, ErrCorrupt, 8},
		{"stray key", func(b *bolt.Bucket) error { return b.Put(append(key(7), 'x'), []byte("?")) }, 8, ErrCorrupt, 7},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := build(t, t.TempDir(), 1, 10, "")
			edit(t, path, func(tx *bolt.Tx) error { return c.do(tx.Bucket(bucketEvents)) })
			s, err := OpenRead(path, Random)
			if err != nil {
				t.Fatal(err)
			}
			defer closeAll(t, s)
			got, err := s.Read(1, 10, nil)
			wantIs(t, err, c.want)
			checkRecords(t, got, 1)
			var corrupt *CorruptError
			var gap *GapError
			switch {
			case errors.As(err, &corrupt) && corrupt.Seq != c.seq, errors.As(err, &gap) && gap.Want != c.seq, uint64(len(got)) != c.first:
				t.Errorf("%d records and %v; want %d and event %d named", len(got), err, c.first, c.seq)
			}
		})
	}
}

func TestStateDamage(t *testing.T) {
	path := build(t, t.TempDir(), 1, 10, "state")
	edit(t, path, func(tx *bolt.Tx) error { return tx.Bucket(bucketState).Put(keyOpening, []byte("other")) })
	s, err := OpenRead(path, Random)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, s)
	_, err = s.State()
	wantIs(t, err, ErrCorrupt)
}

// TestFlippedBytes holds that whatever byte of a file changes, a reader gets
// the right records or an error, never wrong ones and never a crash.
func TestFlippedBytes(t *testing.T) {
	path := build(t, t.TempDir(), 1, 400, "state")
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	seen := 0
	for range 300 {
		file := bytes.Clone(sound)
		file[rnd.IntN(len(file))] ^= byte(1 + rnd.IntN(255))
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		if readAll(t, path) != nil {
			seen++
		}
	}
	if seen == 0 {
		t.Error("no change was seen")
	}
	t.Logf("%d of 300 changes were seen; the others lie in unused space", seen)
	if err := os.WriteFile(path, sound[:len(sound)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if readAll(t, path) == nil {
		t.Error("half of a file reads like all of it")
	}
}

// readAll reads everything and checks what it gets.
func readAll(t *testing.T, path string) error {
	t.Helper()
	s, err := OpenRead(path, Random)
	if err != nil {
		return err
	}
	defer closeAll(t, s)
	last, err := s.Last()
	if err != nil {
		return err
	}
	if _, err := s.State(); err != nil {
		return err
	}
	for from := uint64(1); from <= last; {
		got, err := s.Read(from, last, nil)
		checkRecords(t, got, from)
		if err != nil {
			return err
		}
		from += uint64(len(got))
	}
	if last != 400 {
		return fmt.Errorf("last is %d", last)
	}
	return nil
}
