package ledger

import (
	"errors"
	"math"

	"golang.org/x/sys/windows"
)

// freeBytes returns what this user may still write to dir's disk.
func freeBytes(dir string) (int64, error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, nil, nil); err != nil {
		return 0, err
	}
	return int64(min(free, math.MaxInt64)), nil
}

// isFull tells whether err says that the disk is full.
func isFull(err error) bool { return errors.Is(err, windows.ERROR_DISK_FULL) }
