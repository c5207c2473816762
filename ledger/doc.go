// Package ledger is the log: it opens a directory, takes events in, makes them
// durable, and reads them back.
//
// # Writing
//
// [Open] takes the writer's lock. [Ledger.Submit] runs a closure in the one
// committer goroutine and returns when the events that it returned are
// durable; whatever queued while the last commit ran shares the next one. A
// [Receipt] for each event is proof of the commit, and good for one act.
//
// The program's state is a [Fold] over the events. The committer tells it what
// became durable before it tells anybody else, and stores its bytes at the
// head of each segment.
//
// # Reading
//
// [Reader] is what a live [Ledger] and an offline [Archive] have in common.
// Reads see what is durable and nothing else; they hold no transaction while
// the caller works.
//
// # The directory
//
//	lock                             held by the writer; names it in JSON
//	segments/
//	  00000000000000000001.seg       a segment, named by the seq of its first event
//	  00000000000000262145.seg       the newest: the only one that is written
//	  ….seg.tmp, copy-….tmp          being made; removed at the next opening
//	  ….seg.abandoned.1              a file whose commit failed, kept as it was
//	snapshots/
//	  00000000000000278529.snap      the state after that event; may be deleted at any time
//
// Package segment says what a file holds, package snapshot how a start uses the
// states between.
//
// # After a crash
//
// The next [Open] flushes the newest segment and its name before it reads it:
// the writer before may have been killed between a write and its flush, and what
// it left is not on the disk then, although everybody can read it.
//
// # When a commit fails
//
// Nobody knows then what the disk holds. The file is never appended to again:
// [Ledger.Failed] closes, every Submit is refused, and [Ledger.Reopen] copies
// what verifies into a new file that takes the old one's place.
//
// # When the disk is full, or cannot be written
//
// Submit is refused with ErrNoSpace before the disk is full, and nothing is
// written. [Ledger.SubmitEnding] goes on from a reserve whose blocks the newest
// segment's file holds: space.go says how. Where the file is not in its place
// any more, or its file system is read-only, both are refused with
// ErrUnwritable. [Ledger.Condition] tells which it is, since when, and what to
// do; it looks again every second, and goes on by itself.
//
// # What is assumed
//
// A flush that returns without error has reached the disk; a rename is atomic;
// a write of one process does not change bytes that it does not cover. Local
// file systems of Linux do so. Network file systems are not supported.
package ledger
