// Package projector folds the ledger's events into the state that the rest of
// the program decides by: the table of process handles, the counters of live
// processes, the open cancels, invocations and loaded capsules.
//
// Three things live here:
//
//   - [State] is a pure fold. [State.Apply] is the only way it changes, in the
//     running daemon, in recovery and in an auditor's replay alike. It reads no
//     clock, no randomness and no map in map order, so equal events give states
//     that are equal byte for byte ([State.Encode]).
//   - [Live] is where decisions are taken. It keeps two states: tip, which is
//     ahead by the batch that is being written and which decisions run on, and
//     committed, which everybody else reads. It is the [ledger.Fold] of its
//     ledger.
//   - [At] answers what the state was after any event of the past.
//
// A newcomer reads handle.go for what is remembered of a process, then
// apply.go for which event may follow which.
package projector
