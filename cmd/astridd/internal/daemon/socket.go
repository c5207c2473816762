package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// listen takes the control socket. A socket that nobody serves any more (its
// daemon was killed) is replaced; one that is served, or a file that is no
// socket, is an error. Closing the listener removes the socket.
func listen(path string, open bool) (net.Listener, error) {
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
		if err := os.Chmod(path, 0o666); err != nil {
			return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
		}
	}
	return l, nil
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
