// Package segment is one file of the ledger: a bbolt database that holds a run
// of events without a gap, and the state before the first of them.
//
// A segment is made complete under a temporary name ([Build]), takes appends
// while it is the ledger's newest ([OpenNewest], [Segment.Append]), is sealed
// once ([Segment.Seal]) and from then on only read ([OpenRead]). Nothing in a
// segment is ever changed or deleted.
//
// The package knows bytes, not events: an event's own encoding is the business
// of package event.
//
// # What a damaged file does
//
// bbolt has no page checksums. Each record here has one of its own, so damage
// to a record is an [ErrCorrupt] with the record's seq. Damage to a page that
// holds the tree can send bbolt to an address outside of the mapping; while it
// reads, this package turns such a fault, and any panic of bbolt, into an
// [ErrCorrupt] too. A page that leads back to itself, which bbolt would follow
// for ever, is looked for at the opening. That is best effort: whoever opens files of unknown origin
// does it in a process of its own.
package segment
