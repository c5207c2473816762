//go:build linux

package shim

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// boottime returns CLOCK_BOOTTIME in nanoseconds.
func boottime() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0 // Linux has had it since 2.6.39
	}
	return ts.Nano()
}

// walltime returns ns since 1970.
func walltime() int64 { return time.Now().UnixNano() }

// alarm fires at a CLOCK_BOOTTIME: Go's own timers stand still while the
// machine sleeps, and a lifetime does not.
type alarm struct {
	f  *os.File
	fd int
	C  chan struct{}
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	a := &alarm{f: os.NewFile(uintptr(fd), "alarm"), fd: fd, C: make(chan struct{}, 1)}
	go a.run()
	return a, nil
}

// run turns expirations into at most one waiting tick.
func (a *alarm) run() {
	var n [8]byte
	for {
		if _, err := a.f.Read(n[:]); err != nil && !errors.Is(err, unix.ECANCELED) {
			return
		}
		select {
		case a.C <- struct{}{}:
		default:
		}
	}
}

// set arms the alarm for due, CLOCK_BOOTTIME ns; 0 disarms it. A time that has
// passed fires at once.
func (a *alarm) set(due int64) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(due)}
	return os.NewSyscallError("timerfd_settime", unix.TimerfdSettime(a.fd, unix.TFD_TIMER_ABSTIME, &spec, nil))
}
