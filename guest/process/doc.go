// Package process runs programs on the host that a capsule runs on, by
// astrid:process/host@1.0.0.
//
//	res, err := process.Spawn(process.Request{Cmd: "git", Args: []string{"status", "--short"}})
//
// Programs run in the capsule's workspace. Which ones may is in the manifest's
// host_process; each is decided on, and recorded, before it starts. An error of
// the host is an [*Error]; compare it by errors.Is with the values of this
// package.
//
// Spawn blocks the whole capsule until the program has ended. SpawnBackground
// returns a [Handle] that may be kept from one call to the next; it ends with
// the capsule's instance.
//
// Built for anything but wasip1, every function returns [ErrOutside].
package process
