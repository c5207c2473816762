package process

import (
	"fmt"
	"time"
)

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

// Info is what the host tells of a persistent process.
type Info struct {
	ID      ID
	Label   string
	Command string
	OSPid   uint32 // the program's pid on the host, 0 if it has none
	Phase   Phase
	Exit    *Exit // nil until it has ended

	// Age is the time since it was started, Idle since it was last asked
	// anything.
	Age, Idle time.Duration

	// Buffered is how many bytes of both streams wait for ReadLogs, Dropped how
	// many were lost.
	Buffered, Dropped uint64

	StdinOpen bool

	CPU        *time.Duration // nil if the host does not know
	MemoryPeak *uint64        // in bytes, nil if the host does not know
}

// Phase is how far a process has come.
type Phase uint8

// The phases.
const (
	Starting Phase = iota
	Running
	Exited
)

// String returns the phase's name in the contract.
func (p Phase) String() string {
	switch p {
	case Starting:
		return "starting"
	case Running:
		return "running"
	case Exited:
		return "exited"
	}
	return fmt.Sprintf("phase %d", uint8(p))
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
