// Package salvage makes a ledger that cannot be opened one that can.
//
// A daemon opens a ledger by the newest segment alone: it restores the state in
// its head and replays its events. So only damage to that file, or to the
// state, keeps a daemon from starting; damage to a sealed segment does not, and
// is healed by putting the file back from a backup.
//
// [Run] reads the files page by page, without bbolt. From the newest segment
// backwards it looks for one whose opening state can be read, and replays it as
// far as every record is what was written and is a legal step of the state.
// What comes after that cannot be kept: each later state depends on it. A new
// newest segment holds what is kept, a segment.opened, and a ledger.salvaged
// for each file that was set aside, with the range that is lost.
//
// Nothing is deleted: every damaged file stays, under a name that says what it
// is, with its SHA-256 in the ledger. What can still be read of the lost events
// is counted, and can be looked at there.
//
// Where to look:
//
//   - survey.go: what can be read of each file, and up to where.
//   - run.go: the choice of what is kept, and the work.
package salvage
