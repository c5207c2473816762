package ledger

import (
	"errors"
	"fmt"

	"github.com/astrid-os/processledger/ledger/segment"
)

// Errors of opening.
var (
	// ErrLocked: another process holds the writer's place. It comes as a
	// [LockedError], which names it.
	ErrLocked = errors.New("the ledger is in use")

	// ErrWriterActive: a ledger that somebody writes cannot be read from its
	// files. It comes as a [LockedError].
	ErrWriterActive = errors.New("the ledger has a live writer; ask it instead of reading its files")

	// ErrNewerLayout: a segment was written by a newer version.
	ErrNewerLayout = segment.ErrNewerLayout
)

// Errors of Submit.
var (
	// ErrClosed: the ledger was closed.
	ErrClosed = errors.New("the ledger is closed")

	// ErrFailed: a commit failed. If it was the caller's own, nobody knows
	// whether its events are in the ledger. Reopen goes on.
	ErrFailed = errors.New("a commit failed; whether it took effect is unknown")

	// ErrNoSpace: the disk is as full as it may be, for Submit; for
	// SubmitEnding there is nothing left at all. Nothing was appended, and the
	// ledger goes on once there is space.
	ErrNoSpace = errors.New("no space for the ledger; free some on its disk")

	// ErrUnwritable: the newest segment is gone from its place, or its file
	// system is read-only or fails. Nothing was appended, and the ledger goes
	// on once its files can be written.
	ErrUnwritable = errors.New("the ledger's files cannot be written")

	// ErrTooLarge: an event is longer than event.MaxEncoded, or the events of
	// one request are longer than 4 MiB. Nothing of the request was appended.
	ErrTooLarge = errors.New("the event is too large")

	// ErrMalformed: a closure returned an event that is nil, has no body, or
	// is refused by event.Check. Nothing of the request was appended.
	ErrMalformed = errors.New("the event is malformed")
)

// CannotCommit tells the errors of a ledger that cannot commit just now: the
// same request may succeed later. Only after ErrFailed is it unknown whether
// the events are in the ledger.
func CannotCommit(err error) bool {
	return errors.Is(err, ErrFailed) || errors.Is(err, ErrNoSpace) || errors.Is(err, ErrUnwritable)
}

// Errors of Redeem.
var (
	// ErrReceiptForeign: no commit of this ledger made the receipt.
	ErrReceiptForeign = errors.New("the receipt is not of this ledger")

	// ErrReceiptUsed: the receipt's act was done before.
	ErrReceiptUsed = errors.New("the receipt is used")

	// ErrReceiptMismatch: the receipt is of another kind or handle.
	ErrReceiptMismatch = errors.New("the receipt is for something else")
)

// Errors of reading.
var (
	// ErrNotFound: the ledger does not hold the seq asked for.
	ErrNotFound = segment.ErrNotFound

	// ErrGap: a seq is missing between two others.
	ErrGap = segment.ErrGap

	// ErrCorrupt: bytes are not what was written.
	ErrCorrupt = segment.ErrCorrupt
)

// CorruptError says where a file is damaged; errors.Is(err, ErrCorrupt).
type CorruptError = segment.CorruptError

// GapError says which events are missing; errors.Is(err, ErrGap).
type GapError = segment.GapError

// PanicError is the answer to a request whose closure panicked. Nothing of it
// was appended; other requests are not concerned.
type PanicError struct {
	Value any    // what was passed to panic
	Stack []byte // of the panic
}

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("the request panicked: %v", e.Value) }
