package control

import (
	"errors"
	"fmt"
	"net/http"
)

// Code says in one word what went wrong; programs may depend on it.
type Code string

// The codes. Each has one HTTP status and one exit code of astridctl.
const (
	CodeUsage       Code = "usage"         // the request makes no sense
	CodeDenied      Code = "denied"        // this caller may not, or a gate refused
	CodeQuota       Code = "quota"         // a cap is reached
	CodeNotFound    Code = "not-found"     // no such principal, capsule, handle, segment
	CodeUnavailable Code = "unavailable"   // not now: starting, recovering, stopping
	CodeRestarting  Code = "restarting"    // not now: another daemon takes over; nothing was done, ask again
	CodeLedger      Code = "ledger"        // the ledger cannot commit
	CodeCorrupt     Code = "corrupt"       // the ledger is damaged
	CodeGap         Code = "gap"           // events that were asked for are missing
	CodeTrap        Code = "trap"          // the guest trapped
	CodeNotRunnable Code = "not-a-program" // the module is no program that can be run
	CodeDeadline    Code = "deadline"      // the invocation took too long
	CodeCancelled   Code = "cancelled"     // a cancel or a leaving caller ended it
	CodeVersion     Code = "version"       // client and daemon do not fit
	CodeFailed      Code = "failed"        // anything else
)

// ruling is what a code means on the wire and for a shell.
type ruling struct{ status, exit int }

// rulings is the one table of codes; docs of astridctl's exit codes follow it.
var rulings = map[Code]ruling{
	CodeUsage:       {http.StatusBadRequest, 2},
	CodeDenied:      {http.StatusForbidden, 5},
	CodeQuota:       {http.StatusTooManyRequests, 6},
	CodeNotFound:    {http.StatusNotFound, 3},
	CodeUnavailable: {http.StatusServiceUnavailable, 4},
	CodeRestarting:  {http.StatusServiceUnavailable, 4},
	CodeLedger:      {http.StatusInsufficientStorage, 1},
	CodeCorrupt:     {http.StatusInternalServerError, 10},
	CodeGap:         {http.StatusGone, 11},
	CodeTrap:        {http.StatusBadGateway, 1},
	CodeNotRunnable: {http.StatusUnprocessableEntity, 1},
	CodeDeadline:    {http.StatusGatewayTimeout, 1},
	CodeCancelled:   {http.StatusConflict, 1},
	CodeVersion:     {http.StatusUpgradeRequired, 1},
	CodeFailed:      {http.StatusInternalServerError, 1},
}

// Error is a failure as the daemon tells it.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`        // what was wrong, lower case, no full stop
	Hint    string `json:"hint,omitempty"` // what to do about it
}

// Error returns the message and, where there is one, the hint.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + " (" + e.Hint + ")"
}

// Status returns the HTTP status of the error's code.
func (e *Error) Status() int {
	if r, ok := rulings[e.Code]; ok {
		return r.status
	}
	return http.StatusInternalServerError
}

// Errorf makes an Error without a hint.
func Errorf(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

// WithHint returns e with a hint.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// UnreachableError says that nobody answers at the socket.
type UnreachableError struct {
	Socket string
	Err    error // of the dial
}

// Error names the socket and what to do.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("daemon unreachable at %s: %v: is astridd running? start it with: astridd --config FILE", e.Socket, e.Err)
}

// Unwrap returns the dial's error.
func (e *UnreachableError) Unwrap() error { return e.Err }

// ExitCode returns the exit code of astridctl for err: 0 for nil, that of the
// code for an [Error], 4 for an [UnreachableError], else 1.
func ExitCode(err error) int {
	var ce *Error
	var ue *UnreachableError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ue):
		return 4
	case errors.As(err, &ce):
		if r, ok := rulings[ce.Code]; ok {
			return r.exit
		}
	}
	return 1
}
