package projector

import (
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// Errors of Apply.
var (
	// ErrGap is in the chain of an error for an event that does not follow
	// the state's last one: events are missing, repeated or out of order.
	ErrGap = errors.New("events do not follow each other")

	// ErrTransition is in the chain of every [TransitionError].
	ErrTransition = errors.New("invalid transition")

	// ErrMalformed is in the chain of an error for an event that lacks what
	// its kind needs, or holds a value out of range.
	ErrMalformed = errors.New("malformed event")
)

// ErrBypassed is the error of a decision before which events were submitted to
// the ledger past Live: they are not durable yet, so it cannot see them.
var ErrBypassed = errors.New("events were submitted past the projector")

// Errors of Decode.
var (
	// ErrCorruptState is in the chain of every error about bytes that are not
	// what Encode writes.
	ErrCorruptState = errors.New("not an encoded state")

	// ErrNewerState is in the chain of the error for a state that a newer
	// build wrote.
	ErrNewerState = errors.New("state of a newer format")
)

// TransitionError is an event that may not follow what the state holds. The
// state is as it was before the event.
type TransitionError struct {
	// Subject is what the transition is of: "handle 01J…", "cancel 01J…",
	// "capsule builder", "invocation c-1", "daemon", "recovery".
	Subject string

	// Handle is the handle concerned, zero for other subjects.
	Handle ulid.ULID

	From string // the state it is in: "exited", "none", …
	To   string // what the event would make of it

	Seq  uint64     // of the event
	Kind event.Kind // of the event
}

// Error reads like "invalid transition [exited -> started] of handle 01J… by
// event 17".
func (e *TransitionError) Error() string {
	return fmt.Sprintf("%v [%s -> %s] of %s by event %d", ErrTransition, e.From, e.To, e.Subject, e.Seq)
}

// Unwrap lets errors.Is find ErrTransition.
func (e *TransitionError) Unwrap() error { return ErrTransition }

// ofHandle is the error for an event that a handle in phase from cannot take.
func ofHandle(e *event.Event, id ulid.ULID, from Phase, to string) error {
	return &TransitionError{
		Subject: "handle " + id.String(), Handle: id,
		From: from.String(), To: to, Seq: e.Seq, Kind: e.Kind(),
	}
}

// of is the error for an event that subject cannot take.
func of(e *event.Event, subject, from, to string) error {
	return &TransitionError{Subject: subject, From: from, To: to, Seq: e.Seq, Kind: e.Kind()}
}

// malformed is the error for an event that contradicts its own kind.
func malformed(e *event.Event, format string, args ...any) error {
	return fmt.Errorf("event %d (%v): %w: %s", e.Seq, e.Kind(), ErrMalformed, fmt.Sprintf(format, args...))
}
