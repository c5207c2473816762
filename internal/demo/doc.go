// Package demo shows the whole program at work on one machine, from source:
// two principals' programs run, the daemon is killed under them, and the
// ledger answers for all of it afterwards.
//
// The steps stand in steps.go, in the order they are shown. What the ledger
// says in the end is compared with a witness that it knows nothing of: each
// program writes a nonce into a file of its own when it starts and when it
// ends (witness.go). "0 lost" is what that comparison found.
//
// Everything happens in one temporary directory. It is removed in the end,
// and so is every process that runs from it, also after an interrupt
// (cleanup.go).
package demo
