// Package uml runs the real daemon, shim and capsule on another kernel, and
// restarts that machine under them: an old one, Debian's user-mode Linux, which is
// an ordinary process and can be killed like one. It holds tests only, and they are
// no part of `go test ./...`: `make uml` runs them.
//
// # What it shows
//
// The kernel has no pidfs, no Landlock, no SO_PEERPIDFD, and forgets exits once
// they are reaped. Its root is the host's, read-only; the data directory is on an
// ext4 disk of its own. In the first boot processes are adopted across the SIGKILL
// of a daemon, and then the machine loses power while some run. In the second
// everything that ran is lost by reboot, or exited where its shim, alone, had made
// the record durable; nothing is adopted by number, although the numbers are given
// out as they were.
//
// # Where to look
//
//   - uml_test.go: the host's side: the disk, the machine, and what is checked.
//   - guest_test.go: the first process of the machine, and what it does there.
package uml
