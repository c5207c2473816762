// Package sys is what the host tells a capsule of itself and of its caller, by
// astrid:sys/host@1.0.0: configuration, the caller, the log, clocks, sleep,
// random bytes and capabilities.
//
//	slog.SetDefault(slog.New(sys.NewHandler(nil)))
//	url, found, err := sys.Config("url")
//
// Go's own clock, time.Sleep and crypto/rand work in a capsule as well. What
// they lack: [Sleep] ends when the call of the capsule is cancelled,
// time.Sleep does not.
//
// Built for anything but wasip1 there is no host: functions that can fail
// return [ErrOutside], the log goes to stderr, the clocks are Go's.
package sys
