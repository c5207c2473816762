// Package report puts events into words: an English [Sentence] for every kind,
// the whole [Story] of one process, and the explanation of a decision ([Why]).
//
// The package is pure: it reads no ledger, no clock and no environment. What
// it returns is safe to show on a terminal (see ui.Safe); the exact values
// stand in an event's JSON.
package report
