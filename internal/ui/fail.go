package ui

import (
	"errors"
	"fmt"
	"io"
)

// HintError is an error that knows what to do about it.
type HintError struct {
	Err  error
	Hint string // an instruction, lower case, no full stop
}

// Error returns the text of the error alone; [PrintError] shows the hint on a
// line of its own.
func (e *HintError) Error() string { return e.Err.Error() }

// Unwrap returns the error.
func (e *HintError) Unwrap() error { return e.Err }

// Hint adds a hint to err; nil stays nil.
func Hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &HintError{Err: err, Hint: fmt.Sprintf(format, args...)}
}

// PrintError writes err for people: what was wrong on one line and each hint
// on the next.
func PrintError(w io.Writer, p Palette, program string, err error) {
	fmt.Fprintf(w, "%s: %s\n", program, p.Paint(Bad, SafeText(err.Error())))
	var h *HintError
	if errors.As(err, &h) {
		fmt.Fprintf(w, "hint: %s\n", Safe(h.Hint))
	}
}
