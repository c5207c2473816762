package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/projector"
)

// The exit codes. They are part of the interface: scripts depend on them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNothing     = 3
	exitUnreachable = 4
	exitDenied      = 5
	exitQuota       = 6
	exitCorrupt     = 10
	exitGap         = 11
	exitMismatch    = 12
	exitInterrupted = 130
)

// exitCodesHelp explains them in the help.
const exitCodesHelp = `Exit codes:
  0 ok                    5 denied               10 the ledger is damaged
  1 failed                6 over quota           11 events are missing
  2 wrong usage           3 nothing matched      12 a checkpoint or state does not fit
  4 daemon unreachable  130 interrupted          run: the program's, or 125, 126, 127, 134
An unknown code means failure.`

// codedError is an error with an exit code of its own.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// silentError is an error whose reason has been shown already.
type silentError struct{ code int }

func (e silentError) Error() string { return fmt.Sprintf("exit %d", e.code) }

var errInterrupted = &codedError{exitInterrupted, errors.New("interrupted")}

// usagef is an error of the command line.
func usagef(format string, args ...any) error {
	return &codedError{exitUsage, fmt.Errorf(format, args...)}
}

// nothingf says that nothing was found.
func nothingf(format string, args ...any) error {
	return &codedError{exitNothing, fmt.Errorf(format, args...)}
}

// exitCode is the one place where errors become exit codes.
func exitCode(err error) int {
	var coded *codedError
	var silent silentError
	var ambiguous *query.AmbiguousError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &silent):
		return silent.code
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &ambiguous):
		return exitUsage
	case errors.Is(err, ledger.ErrCorrupt):
		return exitCorrupt
	case errors.Is(err, ledger.ErrGap), errors.Is(err, projector.ErrGap):
		return exitGap
	case errors.Is(err, projector.ErrTransition), errors.Is(err, projector.ErrMalformed), errors.Is(err, projector.ErrCorruptState):
		return exitMismatch
	case errors.Is(err, ledger.ErrNotFound):
		return exitNothing
	case errors.Is(err, fs.ErrPermission):
		return exitDenied
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return control.ExitCode(err)
}

// withHint adds what to do about errors that come from below.
func withHint(err error) error {
	var hinted *ui.HintError
	var refused *control.Error
	var unreachable *control.UnreachableError
	switch {
	case errors.As(err, &hinted):
		return err
	case errors.As(err, &unreachable):
		return ui.Hint(fmt.Errorf("daemon unreachable at %s: %w", unreachable.Socket, unreachable.Err), "is astridd running? start it with: astridd --config FILE")
	case errors.As(err, &refused) && refused.Hint != "":
		return ui.Hint(errors.New(refused.Message), "%s", refused.Hint)
	case errors.Is(err, ledger.ErrCorrupt):
		return ui.Hint(err, "find all faults with: astridctl verify")
	case errors.Is(err, ledger.ErrWriterActive):
		return ui.Hint(err, "ask the daemon: name its socket with --socket PATH")
	case errors.Is(err, ledger.ErrNewerLayout):
		return ui.Hint(err, "use an astridctl at least as new as the daemon that wrote it")
	case errors.Is(err, fs.ErrPermission):
		return ui.Hint(err, "run as the daemon's user, or as a member of the group that may read the ledger")
	case exitCode(err) == exitUsage:
		return ui.Hint(err, "see: astridctl help")
	}
	return err
}
