package host

import (
	"github.com/astrid-os/processledger/ledger/event"
)

// Caller is on whose behalf a call is made. It is told with every call and
// never remembered from an earlier one: the same handle may be used under two
// callers, and the second is refused.
type Caller struct {
	// Principal is the user or agent: 1 to 64 of [A-Za-z0-9_-].
	Principal string

	// Capsule is the name of the capsule whose guest calls.
	Capsule string

	// Instance is the id of the capsule's instance, unique in the ledger.
	// There is one instance for each (capsule, principal) at a time.
	Instance string

	// CallID is the invocation's, empty outside of one.
	CallID string

	// Source is the id of the capsule whose message led to the call, empty if
	// none did.
	Source string

	// Hops is how many messages led to the call, one leading to another.
	Hops uint8

	// Soft is closed when the call's invocation is cancelled, nil for never. It is
	// for functions that work after a cancel, so that a guest can clean up, and
	// so take a context that the cancel does not end: where one has to wait after
	// all it returns Cancelled.
	Soft <-chan struct{}

	// Actor is who is behind the call; the zero Actor stands for the guest
	// itself. An invocation asked for at the control socket names its
	// operator here.
	Actor event.Actor
}

// EnvVar is one variable of a request's environment.
type EnvVar struct {
	Key   string
	Value string
}

// Overflow says what a full output ring does.
type Overflow uint8

// The overflow policies, in the contract's order.
const (
	DropOldest   Overflow = 0
	Backpressure Overflow = 1
)

// FileInjection is one file that exists for one program only. Exactly one of
// EnvKey and Path is set; the host refuses any other.
type FileInjection struct {
	Content []byte

	// EnvKey names a variable in which the program finds the path of the
	// file; where that is, is the host's choice.
	EnvKey *string

	// Path is where the program finds the file: absolute.
	Path *string
}

// Request is a guest's spawn-request, as the binding lifted it. Pointers are
// the contract's options: nil is none.
type Request struct {
	Cmd  string
	Args []string

	// Stdin is a prelude, then the program sees EOF. HasStdin tells an empty
	// prelude from none.
	Stdin    []byte
	HasStdin bool

	Env    []EnvVar
	Cwd    *string
	Limits *event.Limits

	// Files are what the host lays before the program, and nobody can change.
	// They count for every tier.
	Files []FileInjection

	// Unread is not nil for a request that is not to be granted whatever it
	// asks for, and holds no more of it than is needed to record it.
	Unread *Unread

	// What follows counts for the persistent tier alone; the others ignore it.
	Label           *string
	KeepStdinOpen   *bool
	Overflow        *Overflow
	LogRingBytes    *uint32
	MaxLifetimeMS   *uint64
	IdleTimeoutMS   *uint64
	ExitRetentionMS *uint64
}

// Unread tells what the binding left out of a request that is beyond a bound,
// rather than copy it. Policy and gate come first all the same, and the refusal
// is recorded like any other.
type Unread struct {
	// Refusal is the answer, once policy and gate have let the request pass.
	Refusal *Error

	// What the guest had: 0 where all of it is in the request.
	ArgsCount             uint32
	ArgsBytes, StdinBytes uint64
}

// Result is the outcome of a sync spawn: how the program ended and what it
// wrote, as raw bytes. The newest 8 MiB of each stream are kept.
type Result struct {
	Stdout, Stderr []byte
	Exit           event.Exit
}

// Logs is what a drain of both output rings gave, as raw bytes. While the
// program runs a drain ends on a rune's boundary.
type Logs struct {
	Stdout, Stderr []byte

	// Running is true until the exit is recorded; Exit is set from then on.
	Running bool
	Exit    *event.Exit
}

// Stream is the contract's log-stream; the numbers are its discriminants.
type Stream uint8

// The streams.
const (
	Stdout Stream = 0
	Stderr Stream = 1
)

// Chunk is what a read since a cursor gave; it drains nothing.
type Chunk struct {
	Data []byte

	// Next is the cursor behind Data.
	Next string

	// Dropped is how many bytes between the cursor and Data were overwritten
	// before this read.
	Dropped uint64

	// DrainedEOF is true once the stream has ended and nothing follows Data.
	DrainedEOF bool
}

// KillResult is the final state of a killed process.
type KillResult struct {
	// Killed is false if the process had ended before.
	Killed bool

	// Exit is nil if the process is proven dead and its exit is unknown.
	Exit *event.Exit

	// Stdout and Stderr are what was left in the rings.
	Stdout, Stderr []byte
}

// Signal is the contract's process-signal; the numbers are its discriminants.
type Signal uint8

// The signals a guest may send. KILL is a method of its own.
const (
	SigTerm Signal = 0
	SigHup  Signal = 1
	SigUsr1 Signal = 2
	SigUsr2 Signal = 3
	SigInt  Signal = 4
	SigStop Signal = 5
	SigCont Signal = 6
)

// Linux returns the signal's number on Linux, 0 for a value out of range.
func (s Signal) Linux() uint32 {
	numbers := [...]uint32{SigTerm: 15, SigHup: 1, SigUsr1: 10, SigUsr2: 12, SigInt: 2, SigStop: 19, SigCont: 18}
	if int(s) >= len(numbers) {
		return 0
	}
	return numbers[s]
}
