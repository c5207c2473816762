package migrations

import (
	"errors"
	"fmt"
)

// Errors of Run and Read.
var (
	// ErrNewer is in the chain of every [NewerError].
	ErrNewer = errors.New("data directory of a newer layout")

	// ErrForeign is for a directory that holds something, and not a data
	// directory of ours.
	ErrForeign = errors.New("not a data directory")

	// ErrDamaged is for a layout file or note that cannot be read as one.
	ErrDamaged = errors.New("damaged data directory")
)

// NewerError is a data directory that a newer build has brought to a layout
// that this one does not know. Nothing was changed.
type NewerError struct {
	Dir   string
	Have  int // the directory's layout
	Known int // the newest that this build knows
}

// Error names both versions and says what to do.
func (e *NewerError) Error() string {
	return fmt.Sprintf("%v: %s has layout %d and this build knows layouts up to %d; "+
		"run a build that knows layout %d, or put the backup-* directory that it left there back in place",
		ErrNewer, e.Dir, e.Have, e.Known, e.Have)
}

// Unwrap lets errors.Is find ErrNewer.
func (e *NewerError) Unwrap() error { return ErrNewer }
