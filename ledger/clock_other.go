//go:build !linux

package ledger

import "time"

var processStart = time.Now()

// Now implements Clock. There is no CLOCK_BOOTTIME here: the time since the
// process started stands in, with a zero boot id, by which readers know that
// it is not comparable.
func (machineClock) Now() (wall, boottime int64) {
	return time.Now().UnixNano(), int64(time.Since(processStart))
}

// bootID returns zero: the platform has none that we read.
func bootID() (id [16]byte) { return id }
