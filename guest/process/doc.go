// Package process runs programs on the host that a capsule runs on, by
// astrid:process/host@1.1.0.
//
//	res, err := process.Spawn(process.Request{Cmd: "git", Args: []string{"status", "--short"}})
//
// Programs run in the capsule's workspace. Which ones may is in the manifest's
// host_process; each is decided on, and recorded, before it starts. An error of
// the host is an [*Error]; compare it by errors.Is with the values of this
// package.
//
// There are three ways to run one:
//
//   - [Spawn] blocks until the program has ended.
//   - [SpawnBackground] returns a [Handle] that may be kept from one call of the
//     capsule to the next; the program ends with the handle, and so with the
//     capsule's instance.
//   - [SpawnPersistent] returns an [ID]. The program goes on whatever becomes of
//     the instance and of the host's daemon, until it is stopped, its time is
//     over or it ends. Any later call of the same capsule and principal finds it
//     by [List] and uses it by its id: reads its output from a [Cursor] on,
//     writes to its stdin, waits, has its end told on the bus, or attaches a
//     [Handle]. The manifest must have allow_persistent.
//
// Whatever waits stops the whole instance, its other goroutines too, and ends
// with [ErrCancelled] when the call of the capsule is cancelled: then clean up
// and return, or the host interrupts the instance soon after.
//
// Built for anything but wasip1, every function returns [ErrOutside].
package process
