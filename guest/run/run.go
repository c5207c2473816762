package run

import "errors"

// work is what was registered.
var work func() error

// Main registers what the capsule does, to be called from an init function. It
// should call sys.SignalReady once it has begun. When the host ends the
// capsule, what it waits for returns with an error that is context.Canceled;
// then f should return nil. Another error traps, and the host begins it again
// after a while.
func Main(f func() error) {
	if work != nil {
		panic("run: two functions were given to Main")
	}
	work = f
}

// perform runs what was registered.
func perform() error {
	if work == nil {
		return errors.New("run: the capsule imports package run and never calls Main")
	}
	return work()
}
