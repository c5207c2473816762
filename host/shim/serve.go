//go:build linux

package shim

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listen opens `sock` in the process directory. The shim's own working directory
// is the process directory, because the name of a socket may have 108 bytes at
// most and a data directory may be deeper.
func (s *supervisor) listen() error {
	if err := unix.Fchdir(s.dir); err != nil {
		return os.NewSyscallError("fchdir", err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	s.listener = os.NewFile(uintptr(fd), FileSock)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: FileSock}); err != nil {
		return os.NewSyscallError("bind sock", err)
	}
	return os.NewSyscallError("listen", unix.Listen(fd, 4))
}

// acceptPause is the pause after a connection that could not be taken: a shim
// that tried again at once would use a processor until somebody closes a file.
const acceptPause = 50 * time.Millisecond

// accept hands connections of daemons to the supervisor.
func (s *supervisor) accept() {
	rc, err := s.listener.SyscallConn()
	if err != nil {
		return
	}
	for {
		var fd int
		var got error
		err := rc.Read(func(l uintptr) bool {
			fd, _, got = unix.Accept4(int(l), unix.SOCK_CLOEXEC)
			return got != unix.EAGAIN
		})
		if err != nil {
			return
		}
		if got != nil { // the machine has no descriptor left, which may last
			time.Sleep(acceptPause)
			continue
		}
		if c, err := NewConn(fd); err == nil && s.welcome(c) {
			s.inbox <- delivery{conn: c, new: true}
		}
	}
}

// welcome tells whether the peer may command this shim: it runs as the same
// user, and no capsule runs it, neither below this shim nor below another.
// Otherwise it closes the connection.
func (s *supervisor) welcome(c *Conn) bool {
	pid, uid, err := c.PeerCred()
	ok := err == nil && uid == uint32(os.Geteuid())
	if ok && s.spec.Isolation == IsolationPIDNS {
		ok = pid == 0 // peers from outside of the namespace have no number in it
	}
	ok = ok && s.isDaemon(c, int(pid))
	if !ok {
		c.Close()
	}
	return ok
}

// isDaemon tells whether nobody below a shim is at the other end. pid is the
// peer's number in this namespace, or 0. Before Linux 6.5 a shim in a namespace
// cannot learn who it is, and a program in another shim's namespace that runs as
// the same user passes.
func (s *supervisor) isDaemon(c *Conn, pid int) bool {
	peer, err := c.PeerNumber(s.procfd)
	if errors.Is(err, errors.ErrUnsupported) {
		if s.spec.Isolation == IsolationPIDNS {
			return true
		}
		peer, err = pid, nil
	}
	if err != nil {
		return false
	}
	below, err := BelowShim(s.procfd, peer)
	return err == nil && !below
}

// receive hands messages to the supervisor until the connection ends.
func (s *supervisor) receive(c *Conn) {
	for {
		m, fds, err := c.Recv()
		CloseAll(fds)
		if errors.Is(err, ErrMalformed) {
			continue
		}
		if err != nil {
			s.inbox <- delivery{conn: c}
			return
		}
		s.inbox <- delivery{conn: c, m: m}
	}
}

// handle takes in one delivery. The newest daemon is the one that counts: an
// older connection can only be one whose daemon hangs.
func (s *supervisor) handle(d delivery) {
	switch {
	case d.new:
		if s.conn != nil {
			s.disconnect(s.conn)
		}
		s.conn = d.conn
		go s.receive(d.conn)
	case d.m == nil:
		s.disconnect(d.conn)
	case d.conn == s.conn:
		s.answer(d.m)
	}
}

// answer carries out one message of the daemon.
func (s *supervisor) answer(m *Message) {
	switch m.Type {
	case TypeHello:
		s.tellState(m.Seq)
	case TypeCloseStdin:
		s.in.end()
		s.tell(&Message{Type: TypeStdinClosed, Seq: m.Seq})
	case TypeDrained:
		s.lookForRoom()
	case TypeSignal:
		s.tell(&Message{Type: TypeSignaled, Seq: m.Seq, Errno: s.signal(m)})
	default:
		s.tell(&Message{Type: TypeUndefined, Seq: m.Seq})
	}
}

// lookForRoom has pumps that wait for a reader look again.
func (s *supervisor) lookForRoom() {
	s.out.look()
	s.err.look()
}

// tellState tells a daemon that took over all that the one before was told. The
// one before may have died between a drain and telling of it.
func (s *supervisor) tellState(seq uint64) {
	s.lookForRoom()
	s.ended = s.endedStreams()
	m := &Message{
		Type: TypeState, Seq: seq, Phase: PhaseRunning, Record: EncodeStarted(s.started),
		Order: s.orders.fired, Due: s.orders.due, Stdin: s.in.told(), Ended: s.ended, Handle: s.spec.ID,
	}
	s.tell(m, s.prog.pidfd)
	s.tellStdin()
	if s.end.record != nil {
		s.tell(&Message{Type: TypeExited, Record: s.end.record})
	}
}

func (s *supervisor) endedStreams() (mask uint32) {
	if s.out.ended() {
		mask |= EndedStdout
	}
	if s.err.ended() {
		mask |= EndedStderr
	}
	return mask
}

// signal carries out a request and returns the error number, 0 for delivered.
func (s *supervisor) signal(m *Message) uint32 {
	err := s.send(unix.Signal(m.Signal), m.Target)
	if err == nil {
		s.sent.note(m.Signal, m.Cause)
		s.orders.heard(m.Signal, m.Cause)
		return 0
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return uint32(errno)
	}
	return uint32(unix.EIO)
}

// send signals the program alone or the whole tree. unix.ESRCH says that nobody
// was there. INT and TERM to the tree are to end it within a grace, in which a
// stopped one would not hear them: it is continued.
func (s *supervisor) send(sig unix.Signal, target uint32) error {
	if target != TargetTree && target != TargetProgram {
		return unix.EINVAL // a later version's: not to be taken for another
	}
	if target == TargetTree {
		err := s.tree.signal(sig)
		if err == nil && (sig == unix.SIGINT || sig == unix.SIGTERM) {
			s.tree.signal(unix.SIGCONT)
		}
		return err
	}
	if s.prog.reaped {
		return unix.ESRCH
	}
	return unix.PidfdSendSignal(s.prog.pidfd, sig, nil, 0)
}
