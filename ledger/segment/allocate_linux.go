package segment

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocate gives the file blocks for its first n bytes, without making it
// longer or changing what is read from it. The error is errors.ErrUnsupported
// where the file system cannot.
func allocate(f *os.File, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, n)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EOPNOTSUPP, err == unix.ENOSYS:
			return errors.ErrUnsupported
		}
		return os.NewSyscallError("fallocate", err)
	}
}
