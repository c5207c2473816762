package abi

import "fmt"

// Trap says how a guest broke the canonical ABI. Lifting and lowering panic
// with it; the guest's instance is of no use afterwards.
type Trap struct {
	// Reason is one sentence for people.
	Reason string

	// Err is the guest's own failure inside cabi_realloc, if that is what
	// happened.
	Err error
}

// Error reads like "spawn-request.cmd: string of 4294967295 bytes at 16 lies outside the memory".
func (t *Trap) Error() string {
	if t.Err != nil {
		return t.Reason + ": " + t.Err.Error()
	}
	return t.Reason
}

// Unwrap returns the guest's own failure, if there was one.
func (t *Trap) Unwrap() error { return t.Err }

// trap ends the call: the guest is at fault.
func trap(format string, args ...any) {
	panic(&Trap{Reason: fmt.Sprintf(format, args...)})
}

// Catch, deferred, turns a panic with a *Trap into an error. It is for lifting
// and lowering outside of a host function; other panics go on.
func Catch(err *error) {
	switch r := recover().(type) {
	case nil:
	case *Trap:
		*err = r
	default:
		panic(r)
	}
}
