//go:build linux

package act

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// ErrStdinClosed: the program's standard input takes no more. It was closed, or
// was never to stay open, or the program reads no more, or a write was cut short.
var ErrStdinClosed = errors.New("the standard input is closed")

// stdin is the daemon's end of a standard input that stays open.
type stdin struct {
	// turn is held by the writer whose turn it is, also while it waits for
	// the program to read. Acquire is first come, first served.
	turn   *semaphore.Weighted
	queued atomic.Int64 // who has the turn or waits for it

	// known is closed once the prelude is through, or will never be.
	known chan struct{}

	drained poll.Notifier

	mu     sync.Mutex // held for reading and writing the fields below, never while waiting
	open   bool       // it was to stay open, and nothing has closed it
	broken bool       // a write was cut short, or nobody reads any more
	heard  bool       // known is closed
	pipe   *os.File   // the write end; nil while it is not known, and once closed
}

func newStdin(keep bool) *stdin {
	s := &stdin{turn: semaphore.NewWeighted(1), known: make(chan struct{}), open: keep}
	if !keep {
		s.close()
	}
	return s
}

// take takes in what a shim says of the input; it owns the descriptors. It tells
// whether the input broke: the program did not read its prelude.
func (s *stdin) take(state uint32, fds []int) (broke bool) {
	if state == shim.StdinOpen && len(fds) == 1 {
		s.takePipe(fds[0])
		return false
	}
	shim.CloseAll(fds)
	broke = state == shim.StdinClosed && s.isOpen() // nobody had asked for that
	if broke {
		s.cut()
	}
	return broke
}

// takePipe takes over the write end.
func (s *stdin) takePipe(fd int) {
	// The shim's pipe does not block: so the runtime's poller waits for it.
	f := os.NewFile(uintptr(fd), "stdin")
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open || s.pipe != nil {
		f.Close()
		return
	}
	s.pipe = f
	s.hear()
}

// hear must be called with mu held.
func (s *stdin) hear() {
	if !s.heard {
		s.heard = true
		close(s.known)
	}
}

// close closes our end and fails whoever waits to write.
func (s *stdin) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = false
	s.hear()
	if s.pipe != nil {
		s.pipe.Close()
		s.pipe = nil
	}
}

// cut closes our end for good: what was written last is not whole, so nothing
// may follow it.
func (s *stdin) cut() {
	s.mu.Lock()
	s.broken = true
	s.mu.Unlock()
	s.close()
}

// end waits for the end to write to, which is there once the prelude is through.
func (s *stdin) end(ctx context.Context) (*os.File, error) {
	select {
	case <-s.known:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pipe == nil {
		return nil, ErrStdinClosed
	}
	return s.pipe, nil
}

func (s *stdin) isOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// takeStreams takes in what a started shim says of the program's streams.
func (c *Child) takeStreams(m *shim.Message) {
	c.mu.Lock()
	c.keepsStdin = m.Stdin == shim.StdinFeeding || m.Stdin == shim.StdinOpen
	c.mu.Unlock()
	if m.Stdin == shim.StdinNone || m.Stdin == shim.StdinClosed {
		c.in.close()
	}
	c.takeEnded(m.Ended)
}

// resumeInput looks at how the daemon before left the input: one that died in a
// write may have cut it anywhere.
func (c *Child) resumeInput() error {
	_, cut, err := c.logs[0].Input()
	if cut && c.in.isOpen() {
		c.in.cut()
	}
	return err
}

// StdinOpen tells whether the program's standard input may take more: it was to
// stay open, and nobody has closed it.
func (c *Child) StdinOpen() bool { return c.in.isOpen() }

// StdinHeld tells whether the shim holds the standard input open: the program
// sees no end of it before CloseStdin, also where it takes no more.
func (c *Child) StdinHeld() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keepsStdin && !c.ended
}

// StdinBroken tells whether the standard input was given up after a write that
// was cut short, by an error or by the end of an earlier daemon, or because
// nobody reads it any more, be it the prelude. It takes no more; whoever sees
// that first has it recorded and calls CloseStdin, so that the program sees the
// end too.
func (c *Child) StdinBroken() bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.broken
}

// StdinDrained notifies each time that a write which had found the pipe full is
// through.
func (c *Child) StdinDrained() *poll.Notifier { return &c.in.drained }

// StdinWritten returns how many bytes WriteStdin has written to the program, in
// this daemon and those before it. The prelude does not count.
func (c *Child) StdinWritten() uint64 {
	c.logMu.Lock()
	defer c.logMu.Unlock()
	if c.logs[0] == nil {
		return 0
	}
	n, _, err := c.logs[0].Input()
	if err != nil {
		return 0
	}
	return n
}

// WriteStdin writes b to the program's standard input, all of it unless it
// fails; n says how much the pipe took. Writers take turns, first come, first
// served, each whole; they wait for the prelude first, and then for the program
// to read, in the runtime's poller. ctx ends the wait.
//
// The errors are ErrStdinClosed or ctx's cause. After an error with n > 0, and
// when nobody reads any more, the standard input is broken: see StdinBroken.
func (c *Child) WriteStdin(ctx context.Context, b []byte) (n int, err error) {
	if n, err = c.writeStdin(ctx, b); err != nil {
		return n, fmt.Errorf("write to %s: %w", c.id, err)
	}
	return n, nil
}

func (c *Child) writeStdin(ctx context.Context, b []byte) (int, error) {
	if !c.in.isOpen() {
		return 0, ErrStdinClosed
	}
	c.in.queued.Add(1)
	defer c.in.queued.Add(-1)
	if c.in.turn.Acquire(ctx, 1) != nil {
		return 0, context.Cause(ctx)
	}
	defer c.in.turn.Release(1)
	f, err := c.in.end(ctx)
	if err != nil || len(b) == 0 {
		return 0, err
	}
	w := stdinWrite{c: c, f: f, rest: b}
	c.noteInput((*shim.RingReader).BeginInput)
	err = w.run(ctx)
	if err != nil && (w.n > 0 || err == ErrStdinClosed) && c.in.isOpen() {
		c.in.cut()
	}
	if err == nil || w.n == 0 {
		c.noteInput((*shim.RingReader).EndInput)
	}
	if err == nil && w.waited {
		c.in.drained.Notify()
	}
	return w.n, err
}

// noteInput notes for the next daemon how a write goes. Where it cannot be
// noted, that one does not learn it.
func (c *Child) noteInput(note func(*shim.RingReader) error) {
	c.logMu.Lock()
	defer c.logMu.Unlock()
	if c.logs[0] == nil {
		return
	}
	if err := note(c.logs[0]); err != nil {
		c.h.log.Warn("a write to a program could not be noted", "handle", c.id, "error", err)
	}
}

// stdinWrite is one write on its way.
type stdinWrite struct {
	c      *Child
	f      *os.File
	rest   []byte
	n      int
	waited bool // it found the pipe full
}

// run writes until all is written, or ctx or the pipe ends.
func (w *stdinWrite) run(ctx context.Context) error {
	rc, err := w.f.SyscallConn()
	if err != nil {
		return ErrStdinClosed
	}
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		w.f.SetWriteDeadline(time.Unix(1, 0))
		close(woken)
	})
	defer func() {
		if !stop() { // the next writer has a deadline of its own
			<-woken
			w.f.SetWriteDeadline(time.Time{})
		}
	}()
	var failed error
	if err := rc.Write(func(fd uintptr) bool { failed = w.some(int(fd)); return failed != unix.EAGAIN }); err != nil {
		failed = err
	}
	switch {
	case failed == nil:
		return nil
	case errors.Is(failed, os.ErrDeadlineExceeded):
		return context.Cause(ctx)
	}
	return ErrStdinClosed
}

// some writes what the pipe takes now; unix.EAGAIN says that it is full.
func (w *stdinWrite) some(fd int) error {
	for len(w.rest) > 0 {
		n, err := unix.Write(fd, w.rest)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			w.waited = w.waited || err == unix.EAGAIN
			return err
		}
		w.waited = w.waited || n < len(w.rest) // full then, though a reader may have made room by now
		w.rest, w.n = w.rest[n:], w.n+n
		w.c.noteInput(func(r *shim.RingReader) error { return r.TookInput(n) })
	}
	return nil
}

// CloseStdin ends the program's standard input: it sees the end after all that
// was written. The authority is stdin.closed of the handle. Writers that wait
// get ErrStdinClosed. Of an input that is closed already, or of a program that
// has ended, nothing is left to do. It blocks until the shim has answered:
// ErrShimGone and ErrNoAnswer say that nobody knows whether it is closed.
func (c *Child) CloseStdin(r *ledger.Receipt) error {
	if err := c.h.redeem(r, event.KindStdinClosed, c.id); err != nil {
		return fmt.Errorf("close the standard input of %s: %w", c.id, err)
	}
	if err := c.closeStdin(); err != nil {
		return fmt.Errorf("close the standard input of %s: %w", c.id, err)
	}
	return nil
}

// closeStdin is the act of CloseStdin.
func (c *Child) closeStdin() error {
	c.in.close()
	c.mu.Lock()
	none := c.ended || !c.keepsStdin
	c.mu.Unlock()
	if none {
		return nil
	}
	a, err := c.ask(&shim.Message{Type: shim.TypeCloseStdin}, answerBound)
	switch {
	case errors.Is(err, ErrShimGone):
		return nil // and the program with it
	case err != nil:
		return err
	case a.Type == shim.TypeUndefined:
		return errOldShim
	}
	c.mu.Lock()
	c.keepsStdin = false
	c.mu.Unlock()
	return nil
}

// errOldShim is of a program that was started before an upgrade.
var errOldShim = errors.New("the process was started by an older version, whose shim knows no such request: stop the process and start it again")
