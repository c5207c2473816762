package host

import (
	"time"

	"github.com/astrid-os/processledger/ledger/event"
)

// Stream is the contract's log-stream; the numbers are its discriminants.
type Stream uint8

// The streams.
const (
	Stdout Stream = 0
	Stderr Stream = 1
)

// ProcessPhase is the contract's process-phase; the numbers are its
// discriminants.
type ProcessPhase uint8

// The phases of a persistent process.
const (
	Starting ProcessPhase = 0
	Running  ProcessPhase = 1
	Exited   ProcessPhase = 2
)

// Info is what its creator is told of a persistent process. A nil pointer is
// what is not known, or not any more.
type Info struct {
	ID      string // the process id
	Label   string
	Command string
	OSPid   *uint32
	Phase   ProcessPhase
	Exit    *event.Exit

	Age  time.Duration // since it was started
	Idle time.Duration // since it was last used

	Buffered uint64 // bytes of output that nobody has drained yet
	Dropped  uint64 // bytes of output that were lost to full rings

	StdinOpen bool
	CPU       *time.Duration
	MemPeak   *uint64 // bytes
}

// Chunk is a piece of a persistent process's output, read without draining it.
type Chunk struct {
	Data []byte

	// Next is the cursor that goes on behind Data.
	Next string

	// Dropped is how many bytes between the cursor and Data are lost.
	Dropped uint64

	// DrainedEOF is true once nothing comes behind Data.
	DrainedEOF bool
}
