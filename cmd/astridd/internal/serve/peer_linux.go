package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// peer is who is at the other end of a connection, as of its connect.
type peer struct {
	uid uint32
	pid int32
	err error // why the kernel did not tell, or why it is no operator
}

type peerKey struct{}

// withPeer puts the peer of a new connection into its context.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	p := peer{}
	p.uid, p.pid, p.err = credentials(c)
	if p.err == nil {
		p.err = outside(c.(*net.UnixConn), p.pid)
	}
	return context.WithValue(ctx, peerKey{}, p)
}

// credentials asks the kernel. The pid is for logs: it may be anybody's by now.
func credentials(c net.Conn) (uid uint32, pid int32, err error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, 0, fmt.Errorf("a %T has no credentials", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Ucred
	cerr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(cerr, err); err != nil {
		return 0, 0, fmt.Errorf("the kernel does not tell who you are: SO_PEERCRED: %w", err)
	}
	return cred.Uid, cred.Pid, nil
}

// peerOf returns the peer of a request's connection.
func peerOf(ctx context.Context) peer {
	p, ok := ctx.Value(peerKey{}).(peer)
	if !ok {
		p.err = fmt.Errorf("the connection has no peer")
	}
	return p
}

// bootTime is when the machine started: now, less the time that has passed
// since, suspended time included. Zero if the kernel does not tell.
func bootTime() time.Time {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(ts.Nano()))
}
