//go:build linux

package act

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/ledger/event"
)

// Notice is one thing that happened to a child; exactly one field is set.
// Failed, Exited and Gone are terminal.
type Notice struct {
	// StdinBroken: the program does not read its prelude any more, so its
	// input, which was to stay open, is given up; see Child.StdinBroken.
	StdinBroken bool

	Started *event.ProcessStarted
	Failed  *event.SpawnFailed
	Fired   *event.TimerFired // the shim carried out a standing order by itself
	Exited  *ExitRecord
	Gone    *Gone
}

// ExitRecord is how a program ended, as its shim recorded it.
type ExitRecord struct {
	// Exited is the event to be: Cause is "self", or the cause of the
	// request or order that ended the program, as the shim saw it.
	Exited event.ProcessExited

	// Order is "lifetime" or "orphan" if the shim carried out a standing
	// order by itself, due at DueBoot (CLOCK_BOOTTIME ns); else empty.
	Order   string
	DueBoot int64
}

// Gone says that a shim and everything below it is proven dead and left no exit
// record.
type Gone struct {
	// Ran tells whether the program may have run: `go` was written.
	Ran bool

	// Witness is the exit that the kernel remembered for us, nil if none.
	Witness *event.Exit
}

// maxNotices is more than a child can ever have: started, a broken input, fired
// twice, and a terminal one. So whoever announces never waits. What a shim says
// beyond that is not passed on.
const maxNotices = 8

// told is what a child's notices have said.
type told struct {
	started bool
	fired   map[string]bool // by order
}

func newNotices() chan Notice { return make(chan Notice, maxNotices) }

// Bounds of waiting for a shim.
const (
	endBound    = 10 * time.Second // for its end, after it was told or killed
	answerBound = 10 * time.Second // for an answer, which needs microseconds
	reapBound   = 5 * time.Second  // for init to reap a program whose shim was killed: some inits poll
)

// Child is one shim and its program. All methods may be called concurrently.
type Child struct {
	h         *Hands
	id        ulid.ULID
	path      string // of the process directory
	made      bool   // the directory is ours to remove
	dirfd     int    // open only while the child is being made
	conn      *shim.Conn
	shim      *pidfd
	shimID    event.Identity
	isolation string
	version   uint32 // of the protocol that the shim speaks; 0 counts as 1
	notices   chan Notice
	told      told // what was announced; follow's own
	placed    bool // who listens on the socket was seen to work in the directory

	in     *stdin
	output poll.Notifier // there may be output, or the end of it

	mu        sync.Mutex // held for reading and writing the fields below, never while waiting
	program   *pidfd     // nil until started
	seq       uint64
	waiting   map[uint64]chan *shim.Message
	went      bool // go was sent
	abandoned bool
	ended     bool // nothing will come from the shim any more
	released  bool

	keepsStdin   bool    // the shim holds a write end of the program's standard input
	streamsEnded [2]bool // as the shim told, or with its last word

	logMu sync.Mutex // held while the rings are read
	logs  [2]*shim.RingReader
	kept  [2]uint64 // what was written when a drain left an unfinished rune; 0: it left nothing
}

// ID returns the handle.
func (c *Child) ID() ulid.ULID { return c.id }

// Shim returns who the shim is.
func (c *Child) Shim() event.Identity { return c.shimID }

// Isolation returns what was applied, in the words of process.started.
func (c *Child) Isolation() string { return c.isolation }

// Notices returns what happens to the child, in order. It is closed after a
// terminal notice, or by Close. Nobody needs to read it for the child to go on.
func (c *Child) Notices() <-chan Notice { return c.notices }

// follow turns the shim's messages into notices until the child is at its end.
func (c *Child) follow() {
	defer close(c.notices)
	defer c.end()
	for {
		m, fds, err := c.conn.Recv()
		if errors.Is(err, shim.ErrMalformed) {
			continue
		}
		if err != nil {
			break
		}
		terminal := c.take(m, fds)
		if terminal {
			return
		}
	}
	c.afterlife()
}

// take handles one message and tells whether it was the last that matters. It
// owns the descriptors.
func (c *Child) take(m *shim.Message, fds []int) (terminal bool) {
	switch m.Type {
	case shim.TypeStarted:
		c.announceStart(m, fds)
		return false
	case shim.TypeFailed:
		terminal = c.finish(decode(shim.DecodeFailed, m.Record, func(f *shim.Failed) Notice { return Notice{Failed: failed(f)} }))
	case shim.TypeExited:
		terminal = c.finish(decode(shim.DecodeExit, m.Record, func(x *shim.Exit) Notice { return Notice{Exited: exitRecord(x)} }))
	case shim.TypeFired:
		c.announceFired(m)
	case shim.TypeSignaled, shim.TypeStdinClosed, shim.TypeUndefined:
		c.deliver(m)
	case shim.TypeStdin:
		if c.in.take(m.Stdin, fds) {
			c.announce(Notice{StdinBroken: true}, nil)
		}
		return false
	case shim.TypeOutput:
		c.output.Notify()
	case shim.TypeEnded:
		c.takeEnded(m.Ended)
	}
	shim.CloseAll(fds)
	return terminal
}

// decode reads a record and makes a notice of it.
func decode[T any](read func([]byte) (*T, error), record []byte, notice func(*T) Notice) (Notice, error) {
	v, err := read(record)
	if err != nil {
		return Notice{}, err
	}
	return notice(v), nil
}

// announce passes a notice on. A record that cannot be read is none: what the
// shim wrote on disk is looked at when it is gone.
func (c *Child) announce(n Notice, err error) bool {
	if err != nil {
		c.h.log.Error("a shim sent a damaged record", "handle", c.id, "error", err)
		return false
	}
	c.notices <- n
	return true
}

// finish passes the last notice on. By then DrainLogs knows that nothing more
// will be written.
func (c *Child) finish(n Notice, err error) bool {
	if err == nil {
		c.takeEnded(shim.EndedStdout | shim.EndedStderr)
		c.end()
	}
	return c.announce(n, err)
}

// announceStart takes the program's pidfd in. What the shim knows of the
// program's identity is overridden by what we read from the pidfd ourselves,
// unless the program is gone already.
func (c *Child) announceStart(m *shim.Message, fds []int) {
	if c.told.started {
		shim.CloseAll(fds)
		return
	}
	n, err := decode(shim.DecodeStarted, m.Record, func(s *shim.Started) Notice { return Notice{Started: started(s)} })
	c.told.started = n.Started != nil
	c.takeStreams(m)
	if len(fds) == 1 {
		if p, perr := newPidfd(fds[0]); perr == nil {
			if n.Started != nil {
				mergeIdentity(&n.Started.Program, p.identity(c.h.procfd))
			}
			c.hold(p)
		}
	} else {
		shim.CloseAll(fds)
	}
	c.announce(n, err)
}

// announceFired passes on that the shim carried out an order, once for each.
func (c *Child) announceFired(m *shim.Message) {
	if m.Order != shim.OrderLifetime && m.Order != shim.OrderOrphan || c.told.fired[m.Order] {
		return
	}
	if c.told.fired == nil {
		c.told.fired = map[string]bool{}
	}
	c.told.fired[m.Order] = true
	c.announce(Notice{Fired: &event.TimerFired{Timer: m.Order, DueBoot: m.Due}}, nil)
}

// hold keeps the program's pidfd for as long as the child is held.
func (c *Child) hold(p *pidfd) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released || c.program != nil {
		p.close()
		return
	}
	c.program = p
}

func mergeIdentity(known *event.Identity, read shim.Identity) {
	if read.PID != 0 {
		known.PID, known.StartTicks = read.PID, read.StartTicks
	}
	if len(read.PidfsHandle) > 0 {
		known.PidfsHandle = read.PidfsHandle
	}
	if read.PidNamespace != 0 {
		known.PidNamespace = read.PidNamespace
	}
}

// afterlife runs when the connection has ended without a last word. It waits
// for proof that the shim, and with it the program, is dead, and then looks at
// what was written.
func (c *Child) afterlife() {
	program, letGo := c.held()
	if letGo || c.shim.wait(0) != nil {
		return // this end let go, not the shim
	}
	if program != nil {
		if program.wait(0) != nil {
			return
		}
		program.reaped(reapBound) // without it there is no witness, and that is all
	}
	c.finish(c.lastWords(program), nil)
}

// lastWords reads what a dead shim left.
func (c *Child) lastWords(program *pidfd) Notice {
	var f Found
	if dirfd, err := openDir(c.path); err == nil {
		f = readDirectory(dirfd)
		closeFD(dirfd)
	}
	switch {
	case f.Exit != nil:
		return Notice{Exited: f.Exit}
	case f.Failed != nil:
		return Notice{Failed: f.Failed}
	}
	gone := &Gone{Ran: f.Go}
	if program != nil && !c.h.oldKernel {
		gone.Witness = program.witness()
	}
	return Notice{Gone: gone}
}

// end fails whoever still waits for an answer, or to write.
func (c *Child) end() {
	c.mu.Lock()
	c.ended = true
	for seq, w := range c.waiting {
		close(w)
		delete(c.waiting, seq)
	}
	c.mu.Unlock()
	c.in.close()
	c.output.Notify()
}

// deliver hands an answer to whoever asked.
func (c *Child) deliver(m *shim.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.waiting[m.Seq]; w != nil {
		w <- m
		delete(c.waiting, m.Seq)
	}
}

// ask sends a request and waits for its answer. ErrShimGone says that it may or
// may not have been carried out by a shim that is gone now, ErrNoAnswer the same
// of one that is silent for that long.
func (c *Child) ask(m *shim.Message, bound time.Duration) (*shim.Message, error) {
	answer := make(chan *shim.Message, 1)
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return nil, ErrShimGone
	}
	c.seq++
	m.Seq = c.seq
	if c.waiting == nil {
		c.waiting = map[uint64]chan *shim.Message{}
	}
	c.waiting[m.Seq] = answer
	c.mu.Unlock()
	timeout := time.NewTimer(bound)
	defer timeout.Stop()
	if err := c.send(m, timeout.C); err != nil {
		c.forgetAnswer(m.Seq)
		return nil, err
	}
	select {
	case a, ok := <-answer:
		if !ok {
			return nil, ErrShimGone
		}
		return a, nil
	case <-timeout.C:
		c.forgetAnswer(m.Seq)
		return nil, ErrNoAnswer
	}
}

// send sends a request, until late: a program of the same user can have its
// shim's queue run full, and must not hold up for ever whoever is to end it.
func (c *Child) send(m *shim.Message, late <-chan time.Time) error {
	for {
		err := c.conn.TrySend(m)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, shim.ErrWouldBlock):
			return fmt.Errorf("%w: %w", ErrShimGone, err)
		}
		select {
		case <-time.After(lookPause):
		case <-late:
			return ErrNoAnswer
		}
	}
}

// forgetAnswer is for whoever waits for it no more.
func (c *Child) forgetAnswer(seq uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, seq)
}

// held returns the program's pidfd, nil if none is known, and whether this end
// has let go of the child by Close or Abandon.
func (c *Child) held() (program *pidfd, letGo bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.program, c.released || c.abandoned
}

// Close lets go of the child without touching it: the shim sees what it would
// see if the daemon had died. Notices is closed. Closing twice is allowed.
func (c *Child) Close() error {
	if c != nil {
		c.release()
	}
	return nil
}

// release closes every descriptor.
func (c *Child) release() {
	c.mu.Lock()
	if c.released {
		c.mu.Unlock()
		return
	}
	c.released = true
	program := c.program
	c.mu.Unlock()
	if c.conn != nil {
		c.conn.Close()
	}
	c.shim.close()
	program.close()
	c.in.close()
	c.closeRings()
	c.output.Notify()
}

func (c *Child) closeRings() {
	c.logMu.Lock()
	defer c.logMu.Unlock()
	for i, r := range c.logs {
		if r != nil {
			r.Close()
			c.logs[i] = nil
		}
	}
}

var errClosedChild = fmt.Errorf("child: %w", os.ErrClosed)
