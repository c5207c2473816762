package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// socket is the listening control socket.
type socket struct {
	net.Listener
	path string

	// fd is the same socket once more. While it is open, whoever connects waits,
	// also after the Listener was closed: the daemon that takes over gets it.
	fd int

	// managed is true of a socket that a service manager has made and keeps.
	managed bool
}

// openSocket takes the control socket: from the daemon that makes way, from the
// service manager, or a new one.
func (d *Daemon) openSocket() (*socket, error) {
	open := len(d.cfg.Operators) > 0
	activated := activation.Files(true)
	switch {
	case d.before != nil:
		closeAll(activated)
		return d.inheritSocket(open)
	case len(activated) > 0:
		return activatedSocket(activated, d.cfg.Socket)
	}
	l, err := listen(d.cfg.Socket, open)
	if err != nil {
		return nil, err
	}
	return keep(l, d.cfg.Socket, false)
}

// inheritSocket takes the socket that the daemon before left, unless the
// configuration meanwhile names another place.
func (d *Daemon) inheritSocket(open bool) (*socket, error) {
	s, err := adopt(d.before.Socket, d.cfg.Socket)
	switch {
	case err == nil && d.before.Managed:
		s.managed = true
		return s, nil
	case err == nil:
		if err := os.Chmod(s.path, socketMode(open)); err != nil { // somebody removed it
			d.problem(fmt.Sprintf("the control socket may not be reached: %v", err))
		}
		return s, nil
	case d.before.Managed:
		return nil, fmt.Errorf("control socket of the service manager: %w", err)
	}
	d.log.Warn("the control socket moves", "to", d.cfg.Socket, "reason", err)
	if old := boundTo(d.before.Socket); old != "" {
		_ = os.Remove(old)
	}
	_ = unix.Close(d.before.Socket)
	l, err := listen(d.cfg.Socket, open)
	if err != nil {
		return nil, err
	}
	return keep(l, d.cfg.Socket, false)
}

// activatedSocket takes the socket that a service manager listens at for us.
func activatedSocket(files []*os.File, path string) (*socket, error) {
	if len(files) > 1 {
		names := make([]string, len(files))
		for i, f := range files {
			names[i] = f.Name()
		}
		closeAll(files)
		return nil, fmt.Errorf("control socket: the service manager hands over %d sockets (%q), and there is one; leave the others out of the socket unit", len(names), names)
	}
	fd, err := unix.FcntlInt(files[0].Fd(), unix.F_DUPFD_CLOEXEC, 3)
	closeAll(files)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	s, err := adopt(fd, path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("control socket of the service manager: %w", err), unix.Close(fd))
	}
	s.managed = true
	return s, nil
}

// adopt makes a descriptor that came with this process the control socket at
// path, if that is what it is. It owns the descriptor then.
func adopt(fd int, path string) (*socket, error) {
	if err := isListening(fd); err != nil {
		return nil, err
	}
	if bound := boundTo(fd); bound != path && !sameFile(bound, path) {
		return nil, fmt.Errorf("it is at %q, and the configuration says %s; set both to the same path", bound, path)
	}
	again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(again), path)
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return &socket{Listener: l, path: path, fd: fd}, nil
}

// isListening tells why fd is no unix stream socket that listens.
func isListening(fd int) error {
	for _, want := range []struct{ option, value int }{
		{unix.SO_DOMAIN, unix.AF_UNIX}, {unix.SO_TYPE, unix.SOCK_STREAM}, {unix.SO_ACCEPTCONN, 1},
	} {
		got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, want.option)
		if err != nil {
			return fmt.Errorf("descriptor %d is no socket: %w", fd, err)
		}
		if got != want.value {
			return errors.New("it is not a unix stream socket that listens; use ListenStream= with a path")
		}
	}
	return nil
}

// boundTo is the path of a unix socket, empty if it has none.
func boundTo(fd int) string {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return ""
	}
	if u, ok := sa.(*unix.SockaddrUnix); ok {
		return u.Name
	}
	return ""
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// keep makes a socket of a listener of our own.
func keep(l *net.UnixListener, path string, managed bool) (*socket, error) {
	raw, err := l.SyscallConn()
	fd := -1
	if err == nil {
		// Not by way of File, which could make the listener itself blocking.
		cerr := raw.Control(func(n uintptr) { fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 3) })
		err = errors.Join(err, cerr)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	l.SetUnlinkOnClose(false)
	return &socket{Listener: l, path: path, fd: fd, managed: managed}, nil
}

// discard ends the socket for good: nobody takes over.
func (s *socket) discard() {
	_ = s.Close() // the server has closed it, unless it never got to run
	_ = unix.Close(s.fd)
	if !s.managed {
		_ = os.Remove(s.path) // the next start replaces what is left
	}
}

// listen makes the control socket. A socket that nobody serves any more (its
// daemon was killed) is replaced; one that is served, or a file that is no
// socket, is an error.
func listen(path string, open bool) (*net.UnixListener, error) {
	if err := clearStale(path); err != nil {
		return nil, err
	}
	// Between bind and chmod nobody else may connect; who does later is asked
	// for his credentials all the same.
	old := unix.Umask(0o177)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	unix.Umask(old)
	if err != nil {
		return nil, listenError(path, err)
	}
	if open {
		if err := os.Chmod(path, socketMode(open)); err != nil {
			return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
		}
	}
	return l, nil
}

// socketMode is the mode of a socket that other users may, or may not, connect to.
func socketMode(open bool) fs.FileMode {
	if open {
		return 0o666
	}
	return 0o600
}

// listenError says what to do where that is known.
func listenError(path string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint = "; make the directory " + filepath.Dir(path) + " first, or set socket to another path"
	case errors.Is(err, unix.EINVAL) || len(path) > 107:
		hint = "; a unix socket's path may have 107 bytes at most: set socket to a shorter one"
	}
	return fmt.Errorf("control socket %s: %w%s", path, errors.Unwrap(err), hint)
}

// clearStale removes a socket that nobody serves.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("control socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("control socket %s: a file that is no socket is in the way; remove it, or set socket to another path", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		return errors.Join(fmt.Errorf("control socket %s: another process serves it; stop that, or set socket to another path", path), conn.Close())
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("control socket %s: cannot tell whether it is served: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}
