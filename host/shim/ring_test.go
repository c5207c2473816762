//go:build linux

package shim

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openBoth makes a ring and opens both of its ends.
func openBoth(t testing.TB, ring uint32, pressure ...bool) (*ringWriter, *RingReader, string) {
	t.Helper()
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := CreateRing(fd, FileStdout, ring, len(pressure) > 0); err != nil {
		t.Fatal(err)
	}
	w, err := openRingWriter(fd, FileStdout)
	if err != nil {
		t.Fatal(err)
	}
	r, err := OpenRingReader(fd, FileStdout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.close(); r.Close() })
	return w, r, filepath.Join(dir, FileStdout)
}

func all([]byte) int { return 0 }

func TestRingKeepsTheNewestAndCountsTheRest(t *testing.T) {
	for _, ring := range []uint32{MinRing, 5000, 64 << 10, 1 << 20} {
		w, r, _ := openBoth(t, ring)
		src := rand.New(rand.NewPCG(1, uint64(ring)))
		var want []byte // not drained yet
		var total, dropped uint64
		for range 300 {
			b := make([]byte, src.IntN(maxChunk)+1)
			for i := range b {
				b[i] = byte(src.Uint32())
			}
			w.write(b)
			total += uint64(len(b))
			want = append(want, b...)
			if extra := len(want) - int(ring); extra > 0 {
				want, dropped = want[extra:], dropped+uint64(extra)
			}
			if src.IntN(4) > 0 {
				continue
			}
			keep := src.IntN(3)
			got, _, err := r.Drain(func(b []byte) int { keep = min(keep, len(b)); return keep })
			if err != nil || !bytes.Equal(got, want[:len(want)-keep]) {
				t.Fatalf("ring %d after %d bytes: drained %d, want %d (%v)", ring, total, len(got), len(want)-keep, err)
			}
			want = want[len(want)-keep:]
		}
		if shown, err := r.Dropped(); w.evicted != dropped || shown != dropped || err != nil || w.lost != 0 {
			t.Errorf("ring %d: dropped %d, shown %d, want %d", ring, w.evicted, shown, dropped)
		}
	}
}

// TestRingNeverShowsTornBytes lets a writer overrun a reader: every 8 bytes say
// which they are, so a mixture of old and new shows.
func TestRingNeverShowsTornBytes(t *testing.T) {
	w, r, _ := openBoth(t, 8192)
	var stop atomic.Bool
	done := make(chan uint64)
	go func() {
		var n uint64
		src := rand.New(rand.NewPCG(3, 4))
		for !stop.Load() {
			b := make([]byte, 0, maxChunk)
			for range src.IntN(maxChunk/8) + 1 {
				b = binary.LittleEndian.AppendUint64(b, n)
				n++
			}
			w.write(b)
		}
		done <- n
	}()
	var next, drains uint64
	for end := time.Now().Add(700 * time.Millisecond); time.Now().Before(end); drains++ {
		b, from, err := r.Drain(func(b []byte) int { return len(b) % 8 })
		if err != nil {
			t.Fatal(err)
		}
		if next > from {
			t.Fatalf("byte %d again after %d", from, next)
		}
		next = from
		for len(b) >= 8 {
			if next%8 != 0 { // a skip ends anywhere
				cut := 8 - next%8
				b, next = b[cut:], next+cut
				continue
			}
			if got := binary.LittleEndian.Uint64(b); got != next/8 {
				t.Fatalf("at byte %d: read word %d", next, got)
			}
			b, next = b[8:], next+8
		}
		next += uint64(len(b))
	}
	stop.Store(true)
	t.Logf("%d drains beside %d words", drains, <-done)
}

func TestACutRingHarmsNobody(t *testing.T) {
	w, r, path := openBoth(t, 64<<10)
	w.write([]byte("hello"))
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if w.write([]byte("world")); w.lost != 5 {
		t.Errorf("lost %d bytes, want 5", w.lost)
	}
	if _, _, err := r.Drain(all); err != ErrRing {
		t.Errorf("drain: %v", err)
	}
	if err := os.Truncate(path, headerBytes+64<<10+slackBytes); err != nil {
		t.Fatal(err)
	}
	fd, _ := unix.Open(filepath.Dir(path), unix.O_DIRECTORY|unix.O_RDONLY, 0)
	defer unix.Close(fd)
	if _, err := OpenRingReader(fd, FileStdout); err == nil {
		t.Error("a zeroed ring was opened")
	}
}

func TestBufferedCountsWhatADrainGives(t *testing.T) {
	w, r, _ := openBoth(t, MinRing)
	for _, n := range []int{10, 5000} {
		w.write(make([]byte, n))
		want := uint64(min(n+10, MinRing))
		if n == 10 {
			want = 10
		}
		if got, total, err := r.Buffered(); total != w.total || err != nil || got != want {
			t.Errorf("buffered %d, %v; want %d", got, err, want)
		}
	}
}

// TestEachByteIsDrainedOrDropped holds that a reader beside a writer never gets
// what is counted as dropped, nor misses what is not.
func TestEachByteIsDrainedOrDropped(t *testing.T) {
	for _, ring := range []uint32{MinRing, 64 << 10} {
		w, r, _ := openBoth(t, ring)
		var over atomic.Bool
		go func() {
			src := rand.New(rand.NewPCG(5, 6))
			for range 20000 {
				w.write(make([]byte, src.IntN(2*MinRing)+1))
			}
			over.Store(true)
		}()
		var drained uint64
		for last := false; !last; {
			last = over.Load()
			b, _, err := r.Drain(all)
			if err != nil {
				t.Fatal(err)
			}
			drained += uint64(len(b))
		}
		if drained+w.evicted != w.total {
			t.Errorf("ring %d: %d drained and %d dropped of %d", ring, drained, w.evicted, w.total)
		}
	}
}

// Under backpressure there is room for what is not drained, and no more.
func TestRoomIsWhatIsNotDrained(t *testing.T) {
	w, r, _ := openBoth(t, MinRing, true)
	if n := w.room(w.ring); n != MinRing {
		t.Errorf("room %d in an empty ring", n)
	}
	w.write(make([]byte, MinRing-10))
	if n := w.room(w.ring); n != 10 {
		t.Errorf("room %d, want 10", n)
	}
	w.write(make([]byte, 10))
	w.write(make([]byte, slackBytes)) // as after the exit
	if a, b := w.room(w.ring), w.room(w.capacity); a != 0 || b != 0 {
		t.Errorf("room %d and %d in a full ring", a, b)
	}
	w.markBlocked()
	if b, from, err := r.Drain(all); err != nil || len(b) != MinRing+slackBytes || from != 0 || w.evicted != 0 {
		t.Errorf("drained %d from %d, %d evicted, %v", len(b), from, w.evicted, err)
	}
	if !r.WasBlocked() || r.WasBlocked() {
		t.Error("the mark is not seen once")
	}
	if n := w.room(w.ring); n != MinRing {
		t.Errorf("room %d after a drain", n)
	}
}
