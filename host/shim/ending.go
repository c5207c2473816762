//go:build linux

package shim

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/internal/crashpoint"
)

// Bounds of an ending.
const (
	// drainBound is how long the pumps may run on after the program's exit
	// while a descendant holds its pipes.
	drainBound = 100 * time.Millisecond

	// cutBound is how long the pipes may stay open after the whole tree is
	// gone: then somebody outside of it holds them.
	cutBound = time.Second

	// retryKill is the pause between two attempts to end the rest of a tree:
	// a walk can be outrun, and an uninterruptible process dies later.
	retryKill = 20 * time.Millisecond

	// retryRecord is the pause between two attempts to write the exit record.
	retryRecord = time.Second
)

// stage of an ending, in this order.
type stage int

const (
	running   stage = iota // the program has not been reaped
	draining               // it has; its output is still coming
	sweeping               // the rest of its tree is being killed
	closing                // the tree is gone; the pipes should be at their end
	recording              // the exit record could not be written yet
)

// ending is how far the program's end has come.
type ending struct {
	stage stage
	timer <-chan time.Time // of the stage; nil when there is none or it has run out
	late  bool             // it has run out
	ws    unix.WaitStatus
	ru    unix.Rusage
	boot  int64
	wall  int64
	rest  uint32

	record []byte // encoded, once all is known
	told   bool
}

func (e *ending) enter(s stage, d time.Duration) {
	e.stage, e.timer, e.late = s, nil, false
	if d > 0 {
		e.timer = time.After(d)
	}
}

func (e *ending) programEnded(ws unix.WaitStatus, ru unix.Rusage) {
	e.ws, e.ru, e.boot, e.wall = ws, ru, boottime(), walltime()
	// A crash here loses the exit: nobody can wait for the program again.
	// Recovery says lost, with what the second witness saw.
	crashpoint.Here("shim.exit.reaped")
	e.enter(draining, drainBound)
}

// otherEnded counts those that outlived the program and were killed for it.
func (e *ending) otherEnded(ws unix.WaitStatus) {
	if e.stage > running && ws.Signaled() && ws.Signal() == unix.SIGKILL {
		e.rest++
	}
}

// wake is ready when the ending may be able to go on: a stream has ended.
func (e *ending) wake(out, err *pump) <-chan struct{} {
	if e.stage != draining && e.stage != closing {
		return nil
	}
	if !out.ended() {
		return out.done
	}
	return err.done
}

// advance takes the ending as far as it can go now, and tells whether the shim
// may leave.
func (s *supervisor) advance() (done bool) {
	for {
		before := s.end.stage
		switch s.end.stage {
		case running:
			return false
		case draining:
			s.drained()
		case sweeping:
			s.sweep()
		case closing:
			s.closed()
		case recording:
			return s.recorded()
		}
		if s.end.stage == before {
			return false
		}
	}
}

// drained goes on when both streams are at their end, or a descendant has held
// them for long enough.
func (s *supervisor) drained() {
	if s.out.ended() && s.err.ended() || s.end.late {
		s.end.enter(sweeping, 0)
	}
}

// sweep kills what the program left behind until nobody is left. It never gives
// up: a process that cannot be killed is not gone, and its slot not free.
func (s *supervisor) sweep() {
	if s.tree.empty() {
		s.end.enter(closing, cutBound)
		return
	}
	if s.end.timer != nil {
		return
	}
	s.tree.signal(unix.SIGKILL) // ESRCH: they ended meanwhile, and are to be reaped
	s.end.enter(sweeping, retryKill)
}

// closed makes the exit record when all output is in.
func (s *supervisor) closed() {
	s.out.enter(pumpRest)
	s.err.enter(pumpRest)
	if s.end.late {
		s.out.cut()
		s.err.cut()
	}
	if !s.out.ended() || !s.err.ended() {
		return
	}
	s.end.record = EncodeExit(s.exitRecord())
	s.end.enter(recording, 0)
}

func (s *supervisor) exitRecord() *Exit {
	e := &s.end
	r := &Exit{
		Signaled: e.ws.Signaled(), Core: e.ws.CoreDump(), Cause: s.sent.of(e.ws), Order: s.orders.fired, Due: s.orders.due,
		UserNano: e.ru.Utime.Nano(), SystemNano: e.ru.Stime.Nano(), MaxRSSKiB: uint64(e.ru.Maxrss),
		Stdout: s.out.summary(), Stderr: s.err.summary(), RestKilled: e.rest, Boot: e.boot, Wall: e.wall,
	}
	if r.Signaled {
		r.Signal = int32(e.ws.Signal())
	} else {
		r.Code = int32(e.ws.ExitStatus())
	}
	return r
}

// recorded puts the exit record where it outlives the shim. Until that has
// worked the shim stays, and a daemon that asks gets the record from it. Only
// where its directory was deleted, with nobody there, it leaves: no daemon will
// ever find it.
func (s *supervisor) recorded() bool {
	if s.end.timer != nil {
		return false
	}
	err := s.writeExit()
	if err == nil || s.conn == nil && deleted(s.dir) {
		return true
	}
	s.end.enter(recording, retryRecord)
	return false
}

// deleted tells whether a directory that is held open has no name any more.
func deleted(dirfd int) bool {
	var st unix.Stat_t
	return unix.Fstat(dirfd, &st) == nil && st.Nlink == 0
}

// writeExit writes the record; with a daemon there, it tells as soon as the
// record is visible, and makes it durable while the daemon commits.
func (s *supervisor) writeExit() error {
	// A crash before the rename loses the exit: recovery finds `started` and
	// a free lock, and says lost, with what the second witness saw.
	crashpoint.Here("shim.exit.unwritten")
	if s.conn == nil {
		err := writeRecord(s.dir, FileExit, s.end.record, durable)
		crashpoint.Here("shim.exit.synced")
		return err
	}
	err := writeRecord(s.dir, FileExit, s.end.record, visible)
	// From here on a crash loses nothing but a power failure's worth: the
	// record is found by name.
	crashpoint.Here("shim.exit.written")
	if !s.end.told {
		s.end.told = s.tell(&Message{Type: TypeExited, Record: s.end.record})
	}
	crashpoint.Here("shim.exit.told")
	if err != nil {
		return err
	}
	return syncRecord(s.dir, FileExit)
}
