//go:build linux

package act

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// kept is a spec whose standard input stays open.
func (h *house) kept(script string) Spec {
	s := h.sh(script)
	s.KeepStdin = true
	return s
}

func (h *house) write(c *Child, s string) {
	h.t.Helper()
	if n, err := c.WriteStdin(h.t.Context(), []byte(s)); err != nil || n != len(s) {
		h.t.Errorf("write: %d of %d, %v", n, len(s), err)
	}
}

func (h *house) closeStdin(c *Child) {
	h.t.Helper()
	if err := c.CloseStdin(h.commit(c.ID(), &event.StdinClosed{Reason: "guest", Bytes: c.StdinWritten()})); err != nil {
		h.t.Errorf("close: %v", err)
	}
}

func TestStdinStaysOpenAfterThePrelude(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		for _, prelude := range [][]byte{nil, {}, []byte("first\n"), bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)} {
			s := h.kept("cat; echo end")
			s.Stdin, s.RingBytes = prelude, 8<<20
			c := h.start(s)
			h.started(c)
			h.write(c, "one\n")
			h.write(c, "")
			h.write(c, "two\n")
			h.closeStdin(c)
			if x := h.exited(c); ending(x.Exited.Exit) != "code 0" {
				t.Errorf("ended %s", show(Notice{Exited: x}))
			}
			if out, _ := h.drain(c); out != string(prelude)+"one\ntwo\nend\n" {
				t.Errorf("prelude of %d: got %d bytes, ending in %q", len(prelude), len(out), out[max(0, len(out)-20):])
			}
			if n := c.StdinWritten(); n != 8 {
				t.Errorf("%d bytes written, want 8", n)
			}
		}
	})
}

func TestCloseStdinIsSeenAfterThePreludeAndIdempotent(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		s := h.kept("sleep 0.1; cat")
		s.Stdin, s.RingBytes = bytes.Repeat([]byte("x"), 1<<20), 8<<20
		c := h.start(s)
		h.started(c)
		h.closeStdin(c)
		if c.StdinOpen() {
			t.Error("open after close")
		}
		h.closeStdin(c)
		if _, err := c.WriteStdin(t.Context(), []byte("late")); !errors.Is(err, ErrStdinClosed) {
			t.Errorf("write after close: %v", err)
		}
		h.exited(c)
		h.closeStdin(c)
		if out, _ := h.drain(c); len(out) != 1<<20 {
			t.Errorf("the program got %d bytes of the prelude", len(out))
		}
	})
}

// An input that was not to stay open is closed from the start.
func TestStdinThatWasNotKeptTakesNothing(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		s := h.sh("cat; read x")
		s.Stdin = []byte("all\n")
		c := h.start(s)
		if _, err := c.WriteStdin(t.Context(), []byte("more")); !errors.Is(err, ErrStdinClosed) || c.StdinOpen() {
			t.Errorf("write: %v", err)
		}
		h.closeStdin(c)
		if x := h.exited(c); ending(x.Exited.Exit) != "code 1" {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
	})
}

func TestCloseStdinTakesOnlyItsReceipt(t *testing.T) {
	h := newHouse(t, IsolationNone)
	c := h.start(h.kept("cat"))
	h.started(c)
	for _, r := range []*ledger.Receipt{nil, h.decided(c.ID()), h.commit(newID(), &event.StdinClosed{Reason: "guest"})} {
		if err := c.CloseStdin(r); err == nil || !c.StdinOpen() {
			t.Errorf("closed with a receipt of something else: %v", err)
		}
	}
	r := h.commit(c.ID(), &event.StdinClosed{Reason: "guest"})
	if err := c.CloseStdin(r); err != nil {
		t.Error(err)
	}
	if err := c.CloseStdin(r); !errors.Is(err, ledger.ErrReceiptUsed) {
		t.Errorf("closed twice with one receipt: %v", err)
	}
	h.exited(c)
}

// Each writer's bytes stand together, in the order in which the writers came.
func TestWritersTakeTurns(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		mkfifo(t, h.dir+"/gate")
		s := h.kept("read x <gate; cat")
		s.RingBytes = 8 << 20
		c := h.start(s)
		h.started(c)
		const writers, size = 12, 100 << 10 // more than a pipe takes
		done := make(chan error, writers)
		var want strings.Builder
		for i := range writers {
			chunk := strings.Repeat(string(rune('a'+i)), size)
			want.WriteString(chunk)
			go func() {
				n, err := c.WriteStdin(context.Background(), []byte(chunk))
				if err == nil && n != size {
					err = errors.New("a short write without an error")
				}
				done <- err
			}()
			h.until("the writer stands in line", func() bool {
				return i > 0 && c.in.queued.Load() == int64(i+1) || i == 0 && c.StdinWritten() > 0
			})
		}
		release(t, h.dir+"/gate")
		for range writers {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		h.closeStdin(c)
		h.exited(c)
		if out, _ := h.drain(c); out != want.String() {
			t.Errorf("the program read %d bytes in another order", len(out))
		}
	})
}

func TestAFullPipeHoldsTheWriterUntilCtxEnds(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		c := h.start(h.kept("exec sleep 1000"))
		h.started(c)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		drained := make(chan struct{}, 1)
		defer c.StdinDrained().Watch(drained)()
		n, err := c.WriteStdin(ctx, make([]byte, 1<<20))
		if !errors.Is(err, context.DeadlineExceeded) || n == 0 || n == 1<<20 {
			t.Errorf("%d bytes, %v", n, err)
		}
		if !c.StdinBroken() || c.StdinOpen() || c.StdinWritten() != uint64(n) {
			t.Errorf("broken %v, open %v, %d written", c.StdinBroken(), c.StdinOpen(), c.StdinWritten())
		}
		if _, err := c.WriteStdin(t.Context(), []byte("x")); !errors.Is(err, ErrStdinClosed) {
			t.Errorf("write behind a cut one: %v", err)
		}
		if len(drained) != 0 {
			t.Error("drained, although nobody read")
		}
		h.closeStdin(c)
		h.kill(c)
	})
}

// A writer who leaves before his turn harms nobody.
func TestAWriterWhoLeavesInLineBreaksNothing(t *testing.T) {
	h := newHouse(t, IsolationNone)
	mkfifo(t, h.dir+"/gate")
	s := h.kept("read x <gate; cat")
	s.RingBytes = 1 << 20
	c := h.start(s)
	h.started(c)
	first := make(chan error, 1)
	drained := make(chan struct{}, 1)
	defer c.StdinDrained().Watch(drained)()
	go func() { _, err := c.WriteStdin(context.Background(), bytes.Repeat([]byte("a"), 200<<10)); first <- err }()
	h.until("the pipe is full", func() bool { return c.StdinWritten() > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if n, err := c.WriteStdin(ctx, []byte("b")); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d, %v", n, err)
	}
	release(t, h.dir+"/gate")
	if err := <-first; err != nil {
		t.Error(err)
	}
	<-drained
	h.write(c, "c")
	h.closeStdin(c)
	h.exited(c)
	if out, _ := h.drain(c); out != strings.Repeat("a", 200<<10)+"c" {
		t.Errorf("the program read %d bytes", len(out))
	}
}

func TestWritersAreFreedByCloseAndByTheEnd(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		for what, end := range map[string]func(*Child){
			"close": h.closeStdin,
			"kill":  func(c *Child) { h.signal(c, int(syscall.SIGKILL), event.TargetTree, "kill") },
			"let go": func(c *Child) {
				c.Close()
				c, err := h.hands.Adopt(t.Context(), c.ID())
				if err != nil {
					t.Fatal(err)
				}
				h.signal(c, int(syscall.SIGKILL), event.TargetTree, "kill")
			},
		} {
			c := h.start(h.kept("exec sleep 1000"))
			h.started(c)
			done := make(chan error, 2)
			for range 2 {
				go func() { _, err := c.WriteStdin(context.Background(), make([]byte, 1<<20)); done <- err }()
			}
			h.until("both wait", func() bool { return c.in.queued.Load() == 2 && c.StdinWritten() > 0 })
			end(c)
			for range 2 {
				if err := <-done; !errors.Is(err, ErrStdinClosed) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if what == "close" {
				h.kill(c)
			}
		}
	})
}

func TestNobodyReadsAnyMore(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		c := h.start(h.kept("exec 0<&-; echo shut; exec sleep 1000"))
		h.started(c)
		h.waitOutput(c, "shut")
		n, err := c.WriteStdin(t.Context(), []byte("anybody?"))
		if n != 0 || !errors.Is(err, ErrStdinClosed) || !c.StdinBroken() || c.StdinOpen() {
			t.Errorf("%d, %v, broken %v", n, err, c.StdinBroken())
		}
		h.closeStdin(c)
		h.kill(c)
	})
}

func TestStdinStaysOpenOverARestart(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		c := h.start(h.kept("cat"))
		h.started(c)
		h.write(c, "one ")
		for range 2 {
			h.reopen()
			adopted, err := h.hands.Adopt(t.Context(), c.ID())
			if err != nil {
				t.Fatal(err)
			}
			c = adopted
			h.started(c)
			if !c.StdinOpen() || c.StdinBroken() {
				t.Error("closed by a restart")
			}
			h.write(c, "more ")
		}
		h.closeStdin(c)
		h.exited(c)
		if out, _ := h.drain(c); out != "one more more " || c.StdinWritten() != 14 {
			t.Errorf("the program read %q, %d are counted", out, c.StdinWritten())
		}
	})
}

// The daemon dies while the prelude is on its way, or in a write, or after a
// close: the next one finds the prelude whole, the write cut, the input closed.
func TestARestartFindsTheInputAsItIs(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		mkfifo(t, h.dir+"/gate")
		adopt := func(c *Child) *Child {
			h.reopen()
			c, err := h.hands.Adopt(t.Context(), c.ID())
			if err != nil {
				t.Fatal(err)
			}
			h.started(c)
			return c
		}
		s := h.kept("read x <gate; cat; read x <gate")
		s.Stdin, s.RingBytes = bytes.Repeat([]byte("p"), 1<<20), 8<<20
		c := h.start(s)
		h.started(c)
		c = adopt(c)
		release(t, h.dir+"/gate")
		h.write(c, "after")
		h.closeStdin(c)
		c = adopt(c)
		if c.StdinOpen() || c.StdinBroken() {
			t.Error("a restart opened what was closed")
		}
		release(t, h.dir+"/gate")
		h.exited(c)
		if out, _ := h.drain(c); out != strings.Repeat("p", 1<<20)+"after" {
			t.Errorf("the program read %d bytes", len(out))
		}

		c = h.start(h.kept("exec sleep 1000"))
		h.started(c)
		go c.WriteStdin(context.Background(), make([]byte, 1<<20))
		h.until("it is cut", func() bool { return c.StdinWritten() > 0 })
		c = adopt(c)
		if c.StdinOpen() || !c.StdinBroken() {
			t.Error("a cut input goes on")
		}
		h.closeStdin(c)
		h.kill(c)
	})
}

// A program that closes its input before the prelude is through has broken it:
// who waits to write is told.
func TestAPreludeThatNobodyReadsBreaksTheInput(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		mkfifo(t, h.dir+"/gate")
		s := h.kept("read x <gate; exec 0<&-; exec sleep 1000")
		s.Stdin = make([]byte, 1<<20)
		c := h.start(s)
		h.started(c)
		done := make(chan error, 1)
		go func() { _, err := c.WriteStdin(context.Background(), []byte("x")); done <- err }()
		release(t, h.dir+"/gate")
		if err := <-done; !errors.Is(err, ErrStdinClosed) || !c.StdinBroken() || c.StdinOpen() {
			t.Errorf("%v, broken %v, open %v", err, c.StdinBroken(), c.StdinOpen())
		}
		if n := h.next(c); !n.StdinBroken {
			t.Errorf("got %s", show(n))
		}
		h.closeStdin(c)
		h.kill(c)
	})
}

// A shim of an older build says that it knows no such request.
func TestAnOlderShimIsToldOf(t *testing.T) {
	h := newHouse(t, IsolationNone)
	conn, remote, err := shim.Pair()
	if err != nil {
		t.Fatal(err)
	}
	peer, err := shim.NewConn(remote)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c := &Child{h: h.hands, id: newID(), conn: conn, dirfd: -1, notices: newNotices(), in: newStdin(true), keepsStdin: true}
	go c.follow()
	go func() {
		if m, _, err := peer.Recv(); err == nil {
			peer.Send(&shim.Message{Type: shim.TypeUndefined, Seq: m.Seq})
		}
	}()
	err = c.CloseStdin(h.commit(c.id, &event.StdinClosed{Reason: "guest"}))
	if !errors.Is(err, errOldShim) || c.StdinOpen() {
		t.Errorf("close: %v, open %v", err, c.StdinOpen())
	}
	c.mu.Lock()
	c.released = true // so that its end is not looked into
	c.mu.Unlock()
	conn.Close()
	<-c.Notices()
}
