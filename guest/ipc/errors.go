package ipc

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

// Code says why the host did not do what was asked.
type Code uint8

// The codes, in the contract's order.
const (
	CapabilityDenied Code = iota
	InvalidInput
	Closed
	RateLimited
	Backpressure
	Quota
	Timeout
	Unknown
)

var codeNames = [...]string{
	"capability-denied", "invalid-input", "closed", "rate-limited", "backpressure", "quota", "timeout", "unknown",
}

// String returns the code's name in the contract.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Error is an answer of the host that is not a success.
type Error struct {
	Code   Code
	Detail string // set for Unknown, and where this package refused itself
}

// Error reads like "ipc: quota".
func (e *Error) Error() string {
	if e.Detail == "" {
		return "ipc: " + e.Code.String()
	}
	return "ipc: " + e.Code.String() + ": " + e.Detail
}

// Is compares by code. A cancelled call is context.Canceled: the contract has
// no code for it here, so that it comes as unknown, with that word.
func (e *Error) Is(target error) bool {
	if t, ok := target.(*Error); ok {
		return t.Code == e.Code
	}
	return target == context.Canceled && e.Code == Unknown && e.Detail == "cancelled"
}

// One error for each code that a program is likely to act on, for errors.Is.
var (
	ErrDenied       = &Error{Code: CapabilityDenied} // the manifest or the policy does not allow it
	ErrInvalid      = &Error{Code: InvalidInput}     // a topic, pattern or payload that may not be
	ErrClosed       = &Error{Code: Closed}           // the subscription was dropped
	ErrRateLimited  = &Error{Code: RateLimited}      // too many messages in a short time
	ErrBackpressure = &Error{Code: Backpressure}     // the bus takes no more for now
	ErrQuota        = &Error{Code: Quota}            // as many subscriptions as may be
	ErrTimeout      = &Error{Code: Timeout}          // the host gave up
)

// ErrLost is told by [Subscription.Messages] where messages were lost.
var ErrLost = errors.New("ipc: messages were lost, because they came faster than they were received")

// ErrOutside is returned by everything that is not built as a capsule.
var ErrOutside = mem.ErrOutside

// call calls a host function whose result is size bytes, with the ok or error
// case at an offset.
func call(size int, at uint32, raw func(ret uint32)) (mem.View, error) {
	return mem.Result(size, at, raw, liftError)
}

func liftError(v mem.View, at uint32) error {
	code, detail := v.ErrorCode(at, uint8(Unknown))
	return &Error{Code: Code(code), Detail: detail}
}

// valid refuses text that is not UTF-8: the host would trap the capsule.
func valid(texts ...string) error {
	for _, s := range texts {
		if !utf8.ValidString(s) {
			return &Error{Code: InvalidInput, Detail: "not UTF-8"}
		}
	}
	return nil
}
