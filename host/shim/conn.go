//go:build linux

package shim

import (
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrWouldBlock means that the peer does not read: its socket buffer is full.
var ErrWouldBlock = errors.New("peer does not read its messages")

// maxRights is room for the control message of the most descriptors that a
// message carries: six, in TypeLaunch, take 40 bytes.
const maxRights = 64

// messageBuffers are shared, so that a thousand idle connections hold none.
var messageBuffers = sync.Pool{New: func() any { return new([MaxMessage]byte) }}

// Conn is one end of a SOCK_SEQPACKET unix socket that carries messages with
// descriptors. Receiving waits in the runtime's poller and costs no thread. One
// goroutine may receive while others send.
type Conn struct {
	f  *os.File
	rc syscall.RawConn
}

// NewConn takes over fd, a connected SOCK_SEQPACKET socket; fd is closed also
// on error.
func NewConn(fd int) (*Conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(fd), "shim-socket")
	rc, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Conn{f: f, rc: rc}, nil
}

// Pair returns a connected pair: a Conn, and the bare descriptor of the other
// end, close-on-exec, for handing to another process.
func Pair() (*Conn, int, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, os.NewSyscallError("socketpair", err)
	}
	c, err := NewConn(fds[0])
	if err != nil {
		unix.Close(fds[1])
		return nil, -1, err
	}
	return c, fds[1], nil
}

// Close closes the connection and wakes a blocked Recv.
func (c *Conn) Close() error { return c.f.Close() }

// SetReadDeadline makes Recv fail with os.ErrDeadlineExceeded from t on.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.f.SetReadDeadline(t) }

// Send sends m and descriptors; it blocks while the peer's buffer is full. The
// descriptors stay open here.
func (c *Conn) Send(m *Message, fds ...int) error { return c.send(m, fds, true) }

// TrySend is Send that fails with ErrWouldBlock where Send would block.
func (c *Conn) TrySend(m *Message, fds ...int) error { return c.send(m, fds, false) }

func (c *Conn) send(m *Message, fds []int, wait bool) error {
	b := m.Encode()
	if len(b) > MaxMessage {
		return ErrMalformed
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	var sent error
	err := c.rc.Write(func(fd uintptr) bool {
		for {
			sent = unix.Sendmsg(int(fd), b, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
			if sent != unix.EINTR {
				break
			}
		}
		return !wait || sent != unix.EAGAIN
	})
	if err != nil {
		return err
	}
	if sent == unix.EAGAIN {
		return ErrWouldBlock
	}
	return os.NewSyscallError("sendmsg", sent)
}

// Unread returns how much of the socket's memory, in bytes, is taken by messages
// that the peer has not read yet; 0 if that cannot be told.
func (c *Conn) Unread() (n int) {
	_ = c.rc.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n
}

// Recv waits for the next message. Its descriptors are close-on-exec and the
// caller's to close. io.EOF means that the peer is gone.
func (c *Conn) Recv() (*Message, []int, error) {
	var (
		m    *Message
		fds  []int
		got  error
		call = func(fd uintptr) bool {
			m, fds, got = recvOnce(int(fd))
			return got != unix.EAGAIN
		}
	)
	if err := c.rc.Read(call); err != nil {
		return nil, nil, err
	}
	return m, fds, got
}

// recvOnce reads one message without waiting.
func recvOnce(fd int) (*Message, []int, error) {
	buf := messageBuffers.Get().(*[MaxMessage]byte)
	defer messageBuffers.Put(buf)
	var oob [maxRights]byte
	n, oobn, flags, _, err := unix.Recvmsg(fd, buf[:], oob[:], unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	for err == unix.EINTR {
		n, oobn, flags, _, err = unix.Recvmsg(fd, buf[:], oob[:], unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	}
	switch {
	case err == unix.EAGAIN:
		return nil, nil, err
	case err == unix.ECONNRESET || err == nil && n == 0 && hungUp(fd):
		return nil, nil, io.EOF
	case err != nil:
		return nil, nil, os.NewSyscallError("recvmsg", err)
	}
	fds := rights(oob[:oobn])
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		CloseAll(fds)
		return nil, nil, ErrMalformed
	}
	m, err := DecodeMessage(append([]byte(nil), buf[:n]...))
	if err != nil {
		CloseAll(fds)
		return nil, nil, err
	}
	return m, fds, nil
}

// hungUp tells an end of the connection from a message of no bytes, which reads
// the same.
func hungUp(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err != nil || n > 0
}

// rights returns the descriptors in control messages.
func rights(oob []byte) (fds []int) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range msgs {
		if got, err := unix.ParseUnixRights(&msgs[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

// CloseAll closes descriptors; it is for those that a message brought and
// nobody wants.
func CloseAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// PeerCred returns the pid (0 if the peer is outside of this PID namespace) and
// the user id of the peer, as they were when it connected or listened.
func (c *Conn) PeerCred() (pid int32, uid uint32, err error) {
	var cred *unix.Ucred
	ctl := c.rc.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(ctl, err); err != nil {
		return 0, 0, err
	}
	return cred.Pid, cred.Uid, nil
}

// PeerPidfd returns a pidfd of the peer (Linux 6.5 and later); it is the
// caller's to close.
func (c *Conn) PeerPidfd() (fd int, err error) {
	ctl := c.rc.Control(func(s uintptr) {
		fd, err = unix.GetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	})
	if err = errors.Join(ctl, err); err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	return fd, nil
}

// Dial connects to the shim that listens in a process directory. The name goes
// through /proc, because a socket's own may have 108 bytes at most.
func Dial(dirfd int) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	name := "/proc/self/fd/" + strconv.Itoa(dirfd) + "/" + FileSock
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return NewConn(fd)
}
