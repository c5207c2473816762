//go:build linux

package shim

// Type says what a message is. The numbers are the protocol: a running shim of
// an older build speaks them with a newer daemon, so they are never reused.
type Type uint32

// From the daemon to the launcher and back.
const (
	TypeLaunch   Type = 1 // clone a shim; descriptors: lock, directory, connection, spec, [stdin], [contents of files]
	TypeLaunched Type = 2 // descriptor: pidfd of the shim; PID
	TypeRefused  Type = 3 // no shim was made; Errno, Text
)

// From the daemon to a shim: these are acts.
const (
	TypeGo     Type = 10 // run the program
	TypeSignal Type = 11 // Signal, Target, Cause; answered by TypeSignaled
	TypeHello  Type = 12 // a daemon took over; answered by TypeState

	TypeCloseStdin Type = 13 // end the program's standard input; answered by TypeStdinClosed
	TypeDrained    Type = 14 // a reader made room in a ring that its pump waits on; no answer
)

// From a shim to the daemon.
const (
	TypeReady     Type = 20 // Record: Ready
	TypeStarted   Type = 21 // Record: Started; descriptor: pidfd of the program
	TypeFailed    Type = 22 // Record: Failed; the shim is about to leave
	TypeFired     Type = 23 // a standing order fired: Order, Due
	TypeSignaled  Type = 24 // Errno 0: delivered
	TypeState     Type = 25 // Phase, Handle, Record: Started; descriptor: pidfd of the program, while it lives
	TypeExited    Type = 26 // Record: Exit; the shim is about to leave
	TypeUndefined Type = 27 // the message numbered Seq is of a type that this shim does not know

	TypeStdin       Type = 28 // Stdin has changed; descriptor, if it is open: the write end
	TypeStdinClosed Type = 29 // answers TypeCloseStdin: the program sees the end of its input
	TypeOutput      Type = 30 // a stream has output, and a reader had asked to be told
	TypeEnded       Type = 31 // Ended: a stream has ended, and the program has not
)

// Target of a signal; the numbers are those of event.SignalTarget.
const (
	TargetProgram uint32 = 1
	TargetTree    uint32 = 2
)

// Phase of a shim, in TypeState.
const (
	PhaseWaiting uint32 = 1 // no "go" yet
	PhaseRunning uint32 = 2 // the program runs, or its exit is not recorded yet
)

// State of a standard input, in TypeStarted, TypeState and TypeStdin. A shim
// that knows nothing of it says none.
const (
	StdinNone    uint32 = 0 // it was never to stay open
	StdinFeeding uint32 = 1 // the prelude is being written
	StdinOpen    uint32 = 2 // the prelude is through
	StdinClosed  uint32 = 3 // the write end is closed, or nobody reads any more
)

// Streams in Message.Ended.
const (
	EndedStdout uint32 = 1 << 0
	EndedStderr uint32 = 1 << 1
)

// Message is every message of the protocol; a type uses the fields that its
// comment names.
type Message struct {
	Version uint32
	Type    Type
	Seq     uint64 // number of a request; an answer carries its request's
	PID     uint32
	Errno   uint32
	Text    string
	Signal  uint32
	Target  uint32
	Cause   string // of a signal: event.SignalRequested.Cause
	Order   string // "lifetime" or "orphan"
	Due     int64  // CLOCK_BOOTTIME ns at which Order was due
	Phase   uint32
	Record  []byte

	// Isolation is what a launch asks for.
	Isolation string

	Stdin uint32 // one of StdinNone to StdinClosed
	Ended uint32 // the streams that have ended: EndedStdout, EndedStderr

	// Handle is that of the shim's spec, 16 bytes: a process directory can be
	// renamed, and a socket moved. A shim below VersionHandle sends none.
	Handle []byte
}

// Encode returns the wire form of m; its version is this build's.
func (m *Message) Encode() []byte {
	out := *m
	out.Version = ProtocolVersion
	return encode(&out)
}

// DecodeMessage reads what Encode wrote; it skips fields it does not know. A
// message without a type is malformed.
func DecodeMessage(b []byte) (*Message, error) {
	m, err := decoded[Message](b)
	if err != nil {
		return nil, err
	}
	if m.Type == 0 {
		return nil, ErrMalformed
	}
	return m, nil
}

func (m *Message) fields(c *codec) {
	number(c, 1, &m.Version)
	number(c, 2, &m.Type)
	number(c, 3, &m.Seq)
	number(c, 4, &m.PID)
	number(c, 5, &m.Errno)
	text(c, 6, &m.Text)
	number(c, 7, &m.Signal)
	number(c, 8, &m.Target)
	text(c, 9, &m.Cause)
	text(c, 10, &m.Order)
	number(c, 11, &m.Due)
	number(c, 12, &m.Phase)
	raw(c, 13, &m.Record)
	text(c, 14, &m.Isolation)
	number(c, 15, &m.Stdin)
	number(c, 16, &m.Ended)
	raw(c, 17, &m.Handle)
}
