// Package worldcheck compares what the ledger says with what is: the state in
// use with a replay, the process directories with the handle table and their
// records with the events field by field, the processes of the machine with
// both, and what test programs wrote themselves (the witness) with what the
// ledger says they did.
//
// It is for tests, of the host and of the daemon: everything that it reads, it
// reads from outside, never from the host's own memory. It has a reader of the
// shim's records and rings of its own, so that a mistake in theirs shows.
//
// Where to look:
//
//   - check.go: [World], [CheckWorld] and the [Checker] that goes on from its
//     last look; settled.go waits for a running daemon to be done.
//   - history.go: the ledger as one story a handle.
//   - projections.go: the state and the table in use against the replay.
//   - directories.go, records.go, ring.go: the process directories.
//   - processes.go: /proc.
//   - witness.go: what the programs wrote, and how they are to write it.
package worldcheck
