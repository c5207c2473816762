package host

import (
	"time"

	"golang.org/x/sys/unix"
)

// boottime returns CLOCK_BOOTTIME in nanoseconds: the clock of standing orders,
// which counts suspended time.
func boottime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("host: CLOCK_BOOTTIME: " + err.Error()) // every Linux since 2.6.39 has it
	}
	return ts.Nano()
}

// walltime returns the wall clock in nanoseconds since 1970.
func walltime() int64 { return time.Now().UnixNano() }
