//go:build linux

package act

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/ledger/event"
)

// pressed is a spec under backpressure with the smallest ring.
func (h *house) pressed(script string) Spec {
	s := h.sh(script)
	s.Overflow, s.RingBytes = event.OverflowBackpressure, 4<<10
	return s
}

// await waits for output.
func (h *house) await(c *Child) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), bound)
	defer cancel()
	if _, err := poll.Wait(ctx, c.Output()); err != nil {
		h.t.Fatalf("no output came: %v", err)
	}
}

// produced is the script and the SHA-256 of a producer of n bytes that no chunk
// size divides.
func produced(n int) (script, sum string) {
	sha := sha256.New()
	for line := []byte("0123456789abc\n"); n > 0; n -= len(line) {
		sha.Write(line[:min(n, len(line))])
	}
	return "yes 0123456789abc | head -c %d", fmt.Sprintf("%x", sha.Sum(nil))
}

// A reader who drains slowly gets every byte, and none is counted as dropped.
func TestBackpressureDeliversEverything(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		const total = 11<<20 + 13
		script, sum := produced(total)
		c := h.start(h.pressed(fmt.Sprintf(script, total)))
		h.started(c)
		sha, got := sha256.New(), 0
		for drains := 0; got < total; drains++ {
			h.await(c)
			out, _ := h.drain(c)
			sha.Write([]byte(out))
			if got += len(out); len(out) > 4<<10+slack {
				t.Fatalf("a drain of %d bytes", len(out))
			}
			if drains%500 == 0 {
				time.Sleep(time.Millisecond) // a reader who is slow at times
			}
		}
		x := h.exited(c)
		if got != total || fmt.Sprintf("%x", sha.Sum(nil)) != sum {
			t.Errorf("read %d bytes, sum %x", got, sha.Sum(nil))
		}
		if o := x.Exited.Stdout; o.Bytes != total || fmt.Sprintf("%x", o.SHA256) != sum || o.Dropped != 0 {
			t.Errorf("recorded %+v", o)
		}
	})
}

const slack = 64 << 10

func TestDropOldestCountsAndDigestsEverything(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		const total = 10<<20 + 7
		script, sum := produced(total)
		s := h.sh(fmt.Sprintf(script, total))
		s.RingBytes = 4 << 10
		c := h.start(s)
		h.started(c)
		x, got := (*ExitRecord)(nil), 0
		for x == nil {
			out, _ := h.drain(c)
			got += len(out)
			select {
			case n := <-c.Notices():
				x = n.Exited
			default:
			}
		}
		out, _ := h.drain(c)
		got += len(out)
		if o := x.Exited.Stdout; o.Bytes != total || fmt.Sprintf("%x", o.SHA256) != sum || o.Dropped != uint64(total-got) {
			t.Errorf("recorded %+v, read %d", o, got)
		}
		if _, dropped := c.Buffered(); dropped != uint64(total-got) {
			t.Errorf("%d dropped, want %d", dropped, total-got)
		}
	})
}

// A program that waits for room can be killed; what it had written comes in.
func TestABlockedProgramCanBeKilled(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		c := h.start(h.pressed("exec yes 0123456789abc"))
		h.started(c)
		h.until("the ring is full", func() bool { n, _ := c.Buffered(); return n == 4<<10 })
		began := time.Now()
		x := h.kill(c)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("its end took %v", took)
		}
		out, _ := h.drain(c)
		o := x.Exited.Stdout
		if o.Bytes != uint64(len(out)) || o.Dropped != 0 || len(out) < 4<<10 || len(out) > 4<<10+slack || fmt.Sprintf("%x", o.SHA256) != fmt.Sprintf("%x", sha256.Sum256([]byte(out))) {
			t.Errorf("recorded %d bytes, %d dropped; read %d", o.Bytes, o.Dropped, len(out))
		}
	})
}

// The last output of a program that nobody read is all there after its exit.
func TestTheLastOutputOfABlockedProgramFitsTheSlack(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		x, c := h.run(h.pressed("head -c 60000 /dev/zero; exit 5"))
		out, _ := h.drain(c)
		if ending(x.Exited.Exit) != "code 5" || len(out) != 60000 || x.Exited.Stdout.Bytes != 60000 || x.Exited.Stdout.Dropped != 0 {
			t.Errorf("%s, read %d", show(Notice{Exited: x}), len(out))
		}
		if data, from, eof, err := c.ReadSince(Stdout, 100, 1<<20); err != nil || from != 100 || len(data) != 59900 || !eof {
			t.Errorf("read %d from %d, eof %v, %v", len(data), from, eof, err)
		}
	})
}

// A descendant that floods on after the exit does not keep it from being told,
// and what it wrote is counted.
func TestAFloodingDescendantDoesNotBlockTheEnd(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		x, c := h.run(h.pressed("echo mine; (setsid yes flood &); sleep 0.05; exit 6"))
		out, _ := h.drain(c)
		o := x.Exited.Stdout
		if ending(x.Exited.Exit) != "code 6" || x.Exited.RestKilled == 0 || o.Bytes != o.Dropped+uint64(len(out)) || len(out) < 4<<10 {
			t.Errorf("%s, read %d", show(Notice{Exited: x}), len(out))
		}
	})
}

// A daemon that dies while a program waits for room leaves it waiting: the next
// one drains, and nothing is lost.
func TestABlockedProgramGoesOnUnderTheNextDaemon(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		const total = 1<<20 + 1
		script, sum := produced(total)
		c := h.start(h.pressed(fmt.Sprintf(script, total)))
		h.started(c)
		sha, got := sha256.New(), 0
		for restarts := 0; got < total; restarts++ {
			if restarts < 3 {
				h.until("the ring is full", func() bool { n, _ := c.Buffered(); return n == 4<<10 })
				h.reopen()
				adopted, err := h.hands.Adopt(t.Context(), c.ID())
				if err != nil {
					t.Fatal(err)
				}
				c = adopted
				h.started(c)
			}
			h.await(c)
			out, _ := h.drain(c)
			sha.Write([]byte(out))
			got += len(out)
		}
		if x := h.exited(c); fmt.Sprintf("%x", sha.Sum(nil)) != sum || x.Exited.Stdout.Dropped != 0 || fmt.Sprintf("%x", x.Exited.Stdout.SHA256) != sum {
			t.Errorf("read %d bytes, recorded %+v", got, x.Exited.Stdout)
		}
	})
}

// The daemon dies between a drain and telling of it: as here, where the mark is
// taken and nobody is told. The next daemon's coming wakes the pump.
func TestADrainThatWasNotToldIsMadeGood(t *testing.T) {
	h := newHouse(t, IsolationNone)
	c := h.start(h.pressed("head -c 200000 /dev/zero; exit 0"))
	h.started(c)
	h.until("the pump waits", func() bool {
		c.logMu.Lock()
		defer c.logMu.Unlock()
		n, _, _ := c.logs[0].Buffered()
		return n == 4<<10 && c.logs[0].WasBlocked()
	})
	c.logMu.Lock()
	_, _, err := c.logs[0].Drain(func([]byte) int { return 0 })
	c.logMu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	h.reopen()
	if c, err = h.hands.Adopt(t.Context(), c.ID()); err != nil {
		t.Fatal(err)
	}
	h.started(c)
	for got := 4 << 10; got < 200000; {
		h.await(c)
		out, _ := h.drain(c)
		got += len(out)
	}
	if x := h.exited(c); x.Exited.Stdout.Bytes != 200000 || x.Exited.Stdout.Dropped != 0 {
		t.Errorf("recorded %+v", x.Exited.Stdout)
	}
}

// Output is ready exactly while there is something to drain, or nothing more to
// come; in each daemon.
func TestOutputIsLevelTriggered(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		for i := range 4 {
			mkfifo(t, fmt.Sprintf("%s/gate%d", h.dir, i))
		}
		gate := func(i int) { release(t, fmt.Sprintf("%s/gate%d", h.dir, i)) }
		c := h.start(h.sh("read x <gate0; echo one >&2; read x <gate1; echo two; read x <gate2; exec >&- 2>&-; read x <gate3"))
		h.started(c)
		quiet := func(when string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			if _, err := poll.Wait(ctx, c.Output()); !errors.Is(err, context.DeadlineExceeded) || c.Output().Ready() {
				t.Errorf("ready %s", when)
			}
		}
		quiet("before anything was written")
		gate(0)
		h.await(c)
		h.await(c)
		if out, errs := h.drain(c); out != "" || errs != "one\n" {
			t.Errorf("drained %q, %q", out, errs)
		}
		quiet("after a drain")
		h.reopen()
		adopted, err := h.hands.Adopt(t.Context(), c.ID())
		if err != nil {
			t.Fatal(err)
		}
		c = adopted
		h.started(c)
		quiet("after a restart")
		more := c.More(c.Written())
		gate(1)
		h.await(c)
		if !more.Ready() {
			t.Error("no more than before, although it wrote")
		}
		if out, _ := h.drain(c); out != "two\n" {
			t.Errorf("drained %q", out)
		}
		if more = c.More(c.Written()); more.Ready() {
			t.Error("more than it wrote")
		}
		quiet("after the next drain")
		gate(2)
		h.await(c)
		if _, _, eof, err := c.ReadSince(Stdout, 4, 10); err != nil || !eof {
			t.Errorf("no end of a stream that is closed: %v", err)
		}
		gate(3)
		h.exited(c)
		h.await(c)
	})
}

// The shim tells of output when it was asked, and not for each chunk.
func TestNobodyIsWokenWhoDidNotAsk(t *testing.T) {
	h := newHouse(t, IsolationNone)
	mkfifo(t, h.dir+"/gate")
	c := h.start(h.sh("i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i+1)); done; read x <gate"))
	h.started(c)
	wake := make(chan struct{}, 1)
	told := 0
	defer c.output.Watch(wake)()
	for {
		select {
		case <-wake:
			told++
		default:
		}
		if c.Written()[0] == 8890 {
			break
		}
	}
	release(t, h.dir+"/gate")
	h.exited(c)
	if told > 1 {
		t.Errorf("told %d times, and nobody had asked", told)
	}
}

// ReadSince is by position, drains nothing, and says what it skipped.
func TestReadSince(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		mkfifo(t, h.dir+"/gate")
		s := h.sh("yes 0123456789abc | head -c 50000; read x <gate; printf end")
		s.RingBytes = 4 << 10
		c := h.start(s)
		h.started(c)
		h.until("it has written", func() bool { return c.Written()[0] == 50000 })
		var whole []byte
		for range 50000/14 + 1 {
			whole = append(whole, "0123456789abc\n"...)
		}
		for _, r := range []struct {
			pos  uint64
			most int
			from uint64
			n    int
		}{{0, 10, 50000 - 4096, 10}, {0, 1 << 20, 50000 - 4096, 4096}, {49990, 5, 49990, 5}, {50000, 5, 50000, 0}, {49000, 0, 49000, 0}} {
			b, from, eof, err := c.ReadSince(Stdout, r.pos, r.most)
			if err != nil || eof || from != r.from || len(b) != r.n || !bytes.Equal(b, whole[from:from+uint64(len(b))]) {
				t.Errorf("%+v: %d bytes from %d, eof %v, %v", r, len(b), from, eof, err)
			}
		}
		if _, _, _, err := c.ReadSince(Stdout, 50001, 1); !errors.Is(err, ErrPosition) {
			t.Errorf("beyond the end: %v", err)
		}
		if n, dropped := c.Buffered(); n != 4096 || dropped != 50000-4096 {
			t.Errorf("%d buffered, %d dropped", n, dropped)
		}
		release(t, h.dir+"/gate")
		h.exited(c)
		if b, from, eof, err := c.ReadSince(Stdout, 50000, 100); string(b) != "end" || from != 50000 || !eof || err != nil {
			t.Errorf("%q from %d, eof %v, %v", b, from, eof, err)
		}
		if _, _, eof, _ := c.ReadSince(Stdout, 50000, 2); eof {
			t.Error("an end before the end")
		}
		h.reopen()
		c, err := h.hands.Retained(c.ID())
		if err != nil {
			t.Fatal(err)
		}
		if b, _, eof, err := c.ReadSince(Stdout, 50000, 100); string(b) != "end" || !eof || err != nil {
			t.Errorf("retained: %q, eof %v, %v", b, eof, err)
		}
		if out, _ := h.drain(c); len(out) != 4096 || !c.Output().Ready() {
			t.Errorf("retained: drained %d", len(out))
		}
		if _, ok := <-c.Notices(); ok {
			t.Error("a retained child has a notice")
		}
		if _, err := c.WriteStdin(t.Context(), nil); !errors.Is(err, ErrStdinClosed) {
			t.Errorf("retained: write: %v", err)
		}
		if err := h.hands.Trash(h.commit(c.ID(), &event.HandleReleased{}), c.ID()); err != nil {
			t.Error(err)
		}
		if _, err := h.hands.Retained(c.ID()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("retained of nothing: %v", err)
		}
	})
}

// That a daemon lets go of a program is no end of its output.
func TestLettingGoIsNoEndOfTheOutput(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		c := h.start(h.sh("echo one; exec sleep 1000"))
		h.started(c)
		h.until("it has written", func() bool { return c.Written()[Stdout] == 4 })
		tail, err := c.Tail()
		if err != nil {
			t.Fatal(err)
		}
		defer tail.Close()
		h.reopen()
		h.until("nobody follows it", func() bool { _, open := <-c.Notices(); return !open })
		if b, _, eof, err := tail.ReadSince(Stdout, 0, 100); err != nil || string(b) != "one\n" || eof {
			t.Errorf("%q, end %v, %v", b, eof, err)
		}
		if !tail.More([2]uint64{4}).Ready() {
			t.Error("who waits for more is not woken")
		}
		if _, _, eof, err := tail.ReadSince(Stdout, 4, 100); !errors.Is(err, os.ErrClosed) {
			t.Errorf("behind all of it: end %v, %v", eof, err)
		}
		again, err := h.hands.Adopt(t.Context(), c.ID())
		if err != nil {
			t.Fatal(err)
		}
		h.kill(again)
	})
}
