//go:build unix

package segment

import (
	"os"

	"golang.org/x/sys/unix"
)

// unlock gives bbolt's lock on the file back. Closing the file does not, while
// its mapping stays.
func unlock(f *os.File) error {
	return os.NewSyscallError("flock", unix.Flock(int(f.Fd()), unix.LOCK_UN))
}
