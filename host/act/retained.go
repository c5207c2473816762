//go:build linux

package act

import (
	"fmt"
	"os"

	"github.com/oklog/ulid/v2"
)

// Retained returns a process that has ended and is not released, as a daemon
// finds it that was started since: its output can be read and drained, and
// nothing else. Close it, or Trash does. It is no act. The error wraps
// os.ErrNotExist if the process has no directory any more.
func (h *Hands) Retained(id ulid.ULID) (*Child, error) {
	c := &Child{h: h, id: id, path: h.path(id), dirfd: -1, notices: newNotices(), in: newStdin(false), went: true, ended: true, streamsEnded: [2]bool{true, true}}
	close(c.notices)
	err := c.openRetained()
	closeFD(c.dirfd)
	if err != nil {
		c.release()
		return nil, fmt.Errorf("retained %s: %w", id, err)
	}
	h.forget(id).Close()
	if !h.remember(c) {
		c.release()
		return nil, fmt.Errorf("retained %s: hands: %w", id, os.ErrClosed)
	}
	return c, nil
}

func (c *Child) openRetained() (err error) {
	if c.dirfd, err = openDir(c.path); err != nil {
		return err
	}
	f := readDirectory(c.dirfd)
	c.shimID, c.isolation = f.Shim, f.Isolation
	return c.openRings()
}
