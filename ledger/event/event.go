// Package event defines what the ledger remembers: the kinds of event, their
// fields, and their wire format.
//
// An [Event] is a header (where it stands in the ledger and when it was
// written), a [Scope] (whom it concerns and who caused it) and a [Body] (what
// happened, one Go type for each [Kind]). The wire format is the protobuf wire
// format described by event.proto, written and read by hand; see codec.go.
//
// The package holds data only: no clock, no I/O, no process.
package event

import (
	"github.com/oklog/ulid/v2"
)

// MaxEncoded is the most bytes an encoded event may have: 60 KiB, so that a
// record with its frame stays below bbolt's page overflow sweet spot of 64 KiB
// and a reader can size its buffers once. Longer arguments are cut by whoever
// makes the event (see [SpawnRequested]), never here.
const MaxEncoded = 60 << 10

// Event is one entry of the ledger.
//
// Invariant: once committed, an Event and everything it points to is never
// changed; it is shared between goroutines without a lock.
type Event struct {
	Header
	Scope

	// Prev is the seq of the previous event of the same handle, 0 if there is
	// none or the event has no handle. It is stored beside the event in its
	// record, not in the event's own bytes.
	Prev uint64

	// Body is what happened. It is an [Unknown] for a kind this build does
	// not know, never nil in a decoded event.
	Body Body

	// unknown holds fields of the envelope that this build does not know, as
	// they stood on the wire, so that a round trip keeps them.
	unknown string
}

// Kind returns the kind of the event's body, 0 if it has none.
func (e *Event) Kind() Kind {
	if e.Body == nil {
		return 0
	}
	return e.Body.Kind()
}

// Header says where an event stands in the ledger and when it was written.
// The ledger's committer fills it in; nobody else does.
type Header struct {
	// Seq is the event's place: 1 for the first event of a ledger, then one
	// more for each, without a gap. It is the order of events and the cursor
	// of readers.
	Seq uint64

	// ID is the event's public name. Its time part (milliseconds since 1970)
	// is the order time: it never decreases, also when the clock steps back,
	// and it is what ranges by time search.
	ID ulid.ULID

	// Wall is the wall clock as read, in nanoseconds since 1970 UTC. It may
	// step in either direction.
	Wall int64

	// Boottime is CLOCK_BOOTTIME in nanoseconds: it counts suspended time and
	// is comparable only between events of the same BootID.
	Boottime int64

	// BootID is the machine's boot id (/proc/sys/kernel/random/boot_id),
	// zero where the platform has none.
	BootID [16]byte
}

// Scope says whom an event concerns. Fields that do not apply are empty.
type Scope struct {
	// Principal is the id of the user or agent on whose behalf it happened:
	// 1 to 64 of [A-Za-z0-9_-].
	Principal string

	// Capsule is the name of the capsule.
	Capsule string

	// Instance is the id of the capsule's instance, unique in the ledger.
	Instance string

	// CallID groups everything that one invocation caused. It comes from the
	// caller, so it is only as unique as callers make it.
	CallID string

	// Handle is the process handle concerned; zero if none. It is also the
	// name of the process's directory.
	Handle ulid.ULID

	// Actor is who caused the event.
	Actor Actor
}

// ActorKind says what sort of actor caused an event.
type ActorKind uint32

// The sorts of actors. The numbers are the wire format.
const (
	ActorUnknown  ActorKind = 0
	ActorGuest    ActorKind = 1 // a capsule's code
	ActorOperator ActorKind = 2 // a person or program at the control socket
	ActorTimer    ActorKind = 3 // a lifetime, idle or retention timer
	ActorHost     ActorKind = 4 // the daemon itself, recovery included
	ActorShim     ActorKind = 5 // a shim carrying out its standing orders alone
)

// Actor is who caused an event.
type Actor struct {
	Kind ActorKind

	// UID is the operator's user id as the kernel reports it (SO_PEERCRED);
	// meaningful only for ActorOperator.
	UID uint32

	// Role is the operator's role at the time; empty for other actors.
	Role string
}
