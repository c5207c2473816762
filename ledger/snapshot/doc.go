// Package snapshot keeps states of a ledger's fold between the openings of its
// segments, so that a start need not replay a whole segment.
//
// A snapshot is derived: every one may be deleted at any time, and nobody but
// the opening of a ledger reads them. So a file is not flushed to the disk.
// Instead it proves what it is: a hash covers all of it, and its [Mark] names
// the one event of the one ledger after which the state was that.
//
// Where to look: file.go has what a file holds, dir.go where files lie and
// which are kept.
package snapshot
