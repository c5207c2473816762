package process

import (
	"fmt"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

// Request says what to run.
type Request struct {
	// Cmd is the program: a name that is looked up in PATH, or a path. It must
	// stand in the manifest exactly like this.
	Cmd  string
	Args []string

	// Stdin is what the program reads, then it sees the end. nil: the end at
	// once. At most 4 MiB.
	Stdin []byte

	// Env is set on top of PATH, the locale and TZ, which come from the host.
	Env []Var

	// Dir is relative to the workspace; empty means the workspace itself.
	Dir string

	Limits *Limits
}

// Var is one variable of a program's environment.
type Var struct{ Key, Value string }

// Limits are resource limits; 0 asks for none.
type Limits struct {
	MemoryBytes uint64
	CPUSeconds  uint64
	Processes   uint32
	OpenFiles   uint32
}

// Result is how a program ended and what it wrote. Text that is not UTF-8 has
// U+FFFD in its place.
type Result struct {
	Stdout, Stderr string
	Exit           Exit
}

// Exit is how a program ended.
type Exit struct {
	// Code is its exit status, nil if it did not exit of itself.
	Code *int32 `json:"code,omitempty"`

	// Signal is the Linux number of the signal that ended it, nil if none
	// did.
	Signal *int32 `json:"signal,omitempty"`
}

// Success tells whether the program exited with status 0.
func (e Exit) Success() bool { return e.Code != nil && *e.Code == 0 }

// String reads like "exit status 1" or "signal 9".
func (e Exit) String() string {
	switch {
	case e.Code != nil:
		return fmt.Sprintf("exit status %d", *e.Code)
	case e.Signal != nil:
		return fmt.Sprintf("signal %d", *e.Signal)
	}
	return "end unknown"
}

// Logs is what a program has written since it was last asked for.
type Logs struct {
	Stdout, Stderr string
	Running        bool
	Exit           *Exit // nil while it runs
}

// Killed is the final state of a program that was killed.
type Killed struct {
	Killed         bool  // false: it had ended before
	Exit           *Exit // nil if it is unknown
	Stdout, Stderr string
}

// Signal is a signal that can be sent.
type Signal uint8

// The signals. KILL is [Handle.Kill].
const (
	Term Signal = iota
	Hup
	Usr1
	Usr2
	Int
	Stop
	Cont
)

// Code says why the host did not do what was asked.
type Code uint8

// The codes, in the contract's order.
const (
	CapabilityDenied Code = iota
	InvalidInput
	BoundaryEscape
	Quota
	TooLarge
	Closed
	Cancelled
	WaitTimeout
	NoSuchProcess
	RegistryFull
	PersistUnsupported
	Unknown
)

var codeNames = [...]string{
	"capability-denied", "invalid-input", "boundary-escape", "quota", "too-large", "closed",
	"cancelled", "wait-timeout", "no-such-process", "registry-full", "persist-unsupported", "unknown",
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
	Detail string // set for Unknown only
}

// Error reads like "process: quota".
func (e *Error) Error() string {
	if e.Detail == "" {
		return "process: " + e.Code.String()
	}
	return "process: " + e.Code.String() + ": " + e.Detail
}

// Is compares by code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// One error for each code that a program is likely to act on, for errors.Is.
var (
	ErrDenied      = &Error{Code: CapabilityDenied} // the manifest or the policy does not allow it
	ErrQuota       = &Error{Code: Quota}            // as many run as may
	ErrClosed      = &Error{Code: Closed}           // the program has ended
	ErrCancelled   = &Error{Code: Cancelled}        // the invocation was cancelled: clean up and return
	ErrWaitTimeout = &Error{Code: WaitTimeout}      // it still runs
)

// ErrOutside is returned by everything that is not built as a capsule.
var ErrOutside = mem.ErrOutside
