//go:build linux

package shim

import (
	"google.golang.org/protobuf/encoding/protowire"
)

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
	TypeState     Type = 25 // Phase, Record: Started; descriptor: pidfd of the program, while it lives
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
}

// Encode returns the wire form of m.
func (m *Message) Encode() []byte {
	b := appendNum(nil, 1, ProtocolVersion)
	b = appendNum(b, 2, uint64(m.Type))
	b = appendNum(b, 3, m.Seq)
	b = appendNum(b, 4, uint64(m.PID))
	b = appendNum(b, 5, uint64(m.Errno))
	b = appendText(b, 6, m.Text)
	b = appendNum(b, 7, uint64(m.Signal))
	b = appendNum(b, 8, uint64(m.Target))
	b = appendText(b, 9, m.Cause)
	b = appendText(b, 10, m.Order)
	b = appendNum(b, 11, uint64(m.Due))
	b = appendNum(b, 12, uint64(m.Phase))
	b = appendBytes(b, 13, m.Record)
	b = appendText(b, 14, m.Isolation)
	b = appendNum(b, 15, uint64(m.Stdin))
	return appendNum(b, 16, uint64(m.Ended))
}

// DecodeMessage reads what Encode wrote; it skips fields it does not know. A
// message without a type is malformed.
func DecodeMessage(b []byte) (*Message, error) {
	m := &Message{}
	if err := eachField(b, m.set); err != nil {
		return nil, err
	}
	if m.Type == 0 {
		return nil, ErrMalformed
	}
	return m, nil
}

func (m *Message) set(n protowire.Number, v value) error {
	switch n {
	case 1:
		m.Version = uint32(v.num)
	case 2:
		m.Type = Type(v.num)
	case 3:
		m.Seq = v.num
	case 4:
		m.PID = uint32(v.num)
	case 5:
		m.Errno = uint32(v.num)
	case 6:
		m.Text = v.text()
	case 7:
		m.Signal = uint32(v.num)
	case 8:
		m.Target = uint32(v.num)
	case 9:
		m.Cause = v.text()
	case 10:
		m.Order = v.text()
	case 11:
		m.Due = int64(v.num)
	case 12:
		m.Phase = uint32(v.num)
	case 13:
		m.Record = v.b
	case 14:
		m.Isolation = v.text()
	case 15:
		m.Stdin = uint32(v.num)
	case 16:
		m.Ended = uint32(v.num)
	}
	return nil
}
