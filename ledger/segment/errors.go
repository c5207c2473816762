package segment

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// Errors of reading. The ledger hands them on under its own names.
var (
	// ErrNotFound: the segment does not hold the seq asked for.
	ErrNotFound = errors.New("no such event")

	// ErrCorrupt: bytes are not what was written. It comes as a
	// [CorruptError].
	ErrCorrupt = errors.New("the ledger is corrupt")

	// ErrGap: a seq is missing between two others. It comes as a [GapError].
	ErrGap = errors.New("events are missing")

	// ErrNewerLayout: the file was written by a newer version.
	ErrNewerLayout = errors.New("the file is of a newer layout; use the version that wrote it, or a newer one")
)

// Errors of writing.
var (
	// ErrSealed: the segment takes no more events.
	ErrSealed = errors.New("the segment is sealed")

	// ErrReadOnly: the segment was opened for reading.
	ErrReadOnly = errors.New("the segment is open for reading only")
)

// CorruptError says where a file is damaged.
type CorruptError struct {
	Path string
	Seq  uint64 // the record concerned, 0 if it is none in particular
	Err  error  // what was found
}

// Error implements error.
func (e *CorruptError) Error() string {
	if e.Seq == 0 {
		return fmt.Sprintf("%s: %v: %v", e.Path, ErrCorrupt, e.Err)
	}
	return fmt.Sprintf("%s: event %d: %v: %v", e.Path, e.Seq, ErrCorrupt, e.Err)
}

// Unwrap makes errors.Is find ErrCorrupt and the cause.
func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

// GapError says which events are missing.
type GapError struct {
	Path string
	Want uint64 // the seq that should have come
	Got  uint64 // the seq that came instead, 0: none
}

// Error implements error.
func (e *GapError) Error() string {
	if e.Got == 0 {
		return fmt.Sprintf("%s: event %d: %v: there is no more", e.Path, e.Want, ErrGap)
	}
	return fmt.Sprintf("%s: event %d: %v: the next one is %d", e.Path, e.Want, ErrGap, e.Got)
}

// Unwrap makes errors.Is find ErrGap.
func (e *GapError) Unwrap() error { return ErrGap }

// errPage: a fault on the mapping, or a panic of bbolt.
var errPage = errors.New("a page makes no sense")

// guard runs fn, which reads pages of path, and turns a fault on the mapping
// or a panic of bbolt into a [CorruptError]. fn must not call back into code
// of the reader's, whose panics are not ours to swallow.
func guard(path string, seq uint64, fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if p := recover(); p != nil {
			err = &CorruptError{Path: path, Seq: seq, Err: fmt.Errorf("%w: %v", errPage, p)}
		}
	}()
	return fn()
}
