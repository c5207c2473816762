//go:build unix

package ledger

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// freeBytes returns what an ordinary user may still write to dir's disk. The
// error is errReadOnly where nobody may write anything.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if readOnly(&st) {
		return 0, &os.PathError{Op: "write", Path: dir, Err: errReadOnly}
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// isFull tells whether err says that the disk, or the user's share of it, is
// full.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
