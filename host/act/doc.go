// Package act is the only hands of the house: everything that changes the world
// outside of the ledger happens here.
//
// # No receipt, no act
//
// Each act takes a [ledger.Receipt] and redeems it: it must be of this ledger,
// of the kind that authorizes this act, of this handle, and unused.
//
//	act                 authority
//	Child.Go            spawn.decided, granted
//	Child.Signal        signal.requested: the signal and its target are the event's
//	Child.CloseStdin    stdin.closed
//	Hands.Kill          orphan.ended or signal.requested
//	Hands.Trash         handle.released or orphan.ended
//
// What may still be undone is no act: [Hands.Prepare] makes a directory and a
// shim that waits, [Child.Abandon] takes both back, and neither has run
// anything. Looking is no act either: [Hands.Scan], [Hands.Adopt],
// [Child.DrainLogs]. Nor is [Child.WriteStdin]: that its owner may go on writing
// to the program was granted with its start.
//
// The one exception is [Hands.Emergency], with [Hands.EmergencyKill] for a shim
// that only its directory is known of: while the ledger cannot commit,
// programs can still be ended, and what was done is queued for the first commit
// that succeeds.
//
// # What it speaks to
//
// One shim for each process, see host/shim, over a socket each. The daemon may
// die at any moment; what a shim did meanwhile stands in its process directory,
// and [Hands.Scan] reads it.
package act
