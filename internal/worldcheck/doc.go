// Package worldcheck compares what the ledger says with what is: the state with
// a replay, the process directories and their locks with the handle table, the
// processes of the machine with both, and what test programs wrote themselves
// (the witness) with what the ledger says they did.
//
// It is for tests, of the host and of the daemon: everything that it reads, it
// reads from outside, never from the host's own memory.
package worldcheck
