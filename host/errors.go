package host

import (
	"errors"
	"fmt"
)

// Code is the contract's error-code; the numbers are its discriminants.
type Code uint8

// The error codes, in the contract's order.
const (
	CapabilityDenied   Code = 0
	InvalidInput       Code = 1
	BoundaryEscape     Code = 2
	Quota              Code = 3
	TooLarge           Code = 4
	Closed             Code = 5
	Cancelled          Code = 6
	WaitTimeout        Code = 7
	NoSuchProcess      Code = 8
	RegistryFull       Code = 9
	PersistUnsupported Code = 10
	Unknown            Code = 11
)

// codeNames spells the codes as the contract and the ledger do.
var codeNames = [...]string{
	"capability-denied", "invalid-input", "boundary-escape", "quota", "too-large", "closed",
	"cancelled", "wait-timeout", "no-such-process", "registry-full", "persist-unsupported", "unknown",
}

// String returns the code's name in the contract.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "unknown"
}

// Error is an answer of the host that is not a success. A guest sees the code,
// and the detail too if the code is Unknown; operators see both.
type Error struct {
	Code   Code
	Detail string // one sentence for people, may be empty

	cause error // of a ledger that cannot commit, for the host itself; else nil
}

// Unwrap returns what made a ledger unable to commit, where that is the reason.
func (e *Error) Unwrap() error { return e.cause }

// Error reads like "quota: principal alice has 8 of 8 background processes".
func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Detail
}

// Is lets errors.Is compare by code: a target without a detail matches every
// error of its code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Detail == "" || t.Detail == e.Detail)
}

// CodeOf returns the contract's code for any error of this package: that of
// the *Error in its chain, else Unknown.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Unknown
}

// errorf makes an *Error.
func errorf(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Detail: fmt.Sprintf(format, args...)}
}
