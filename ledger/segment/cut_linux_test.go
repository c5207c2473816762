package segment

import (
	"os"
	"testing"
	"time"
)

// TestCutFile cuts the file of an open segment short. The program goes on: every
// use is an error, closing does not hang, and bbolt's lock on the file is free.
func TestCutFile(t *testing.T) {
	for _, c := range []struct {
		name   string
		unseen bool // the cut comes after the look at the size
		size   int64
	}{
		{"to nothing", false, 0},
		{"to the meta pages", false, minSize},
		{"to nothing, in the wrong moment", true, 0},
		{"to the meta pages, in the wrong moment", true, minSize},
	} {
		for _, first := range []string{"append", "read", "snapshot"} {
			t.Run(c.name+"/"+first, func(t *testing.T) { testCutFile(t, c.unseen, c.size, first) })
		}
	}
}

func testCutFile(t *testing.T, unseen bool, size int64, first string) {
	path := build(t, t.TempDir(), 1, 200, "the state")
	s, err := OpenNewest(path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append(batchOf(t, 201, 300)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	if unseen {
		s.used.Store(0)
	}
	uses := map[string]func() error{
		"append": func() error { return s.Append(batchOf(t, 301, 301)) },
		"read":   func() error { _, err := s.Get(7); return err },
		"snapshot": func() error {
			v, err := s.Snapshot()
			if err != nil {
				return err
			}
			defer v.Close()
			if _, err := v.Last(); err != nil {
				return err
			}
			_, err = v.WriteTo(discard{})
			return err
		},
	}
	done := make(chan error, 1)
	go func() {
		if err := uses[first](); err != nil {
			done <- err
			return
		}
		done <- nil
	}()
	select {
	case err := <-done:
		wantIs(t, err, ErrCorrupt)
	case <-time.After(30 * time.Second):
		t.Fatal("it hangs")
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("closing hangs")
	}
	_, err = OpenRead(path, Random)
	wantIs(t, err, ErrCorrupt) // and not a wait for a lock
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
