package event

import "google.golang.org/protobuf/encoding/protowire"

// Each message says once, in its method fields, which fields it has; the
// encoder, the decoder, the JSON writer and reader and the checks are visitors
// of that one description. event.proto says the same for other tools, and a
// test compares the two.

// num is a field's number on the wire. Numbers are never reused.
type num = protowire.Number

// message is a body or a part of one.
type message interface {
	// fields tells v of each field, in ascending order of the numbers.
	fields(v visitor)

	// keep takes the fields that this build does not know, as they stood on
	// the wire; kept returns them.
	keep(wire string)
	kept() string
}

// visitor is told of each field of a message: its number, its name in
// event.proto and in JSON, and where the value is. A visitor that decodes
// sets the value, any other only reads it.
type visitor interface {
	text(n num, name string, p *string)          // string
	texts(n num, name string, p *[]string)       // repeated string
	blob(n num, name string, p *[]byte)          // bytes
	id(n num, name string, p *[]byte)            // bytes, 16 of them or none: a ULID
	ids(n num, name string, p *[][]byte)         // repeated bytes, 16 each
	u32(n num, name string, p *uint32)           // uint32
	u64(n num, name string, p *uint64)           // uint64
	i64(n num, name string, p *int64)            // int64
	wall(n num, name string, p *int64)           // int64, ns since 1970
	flag(n num, name string, p *bool)            // bool
	enum(n num, name string, p *uint32, e names) // an enum, open
	optFlag(n num, name string, p **bool)        // optional bool
	optI32(n num, name string, p **int32)        // optional int32
	optU32(n num, name string, p **uint32)       // optional uint32
	optU64(n num, name string, p **uint64)       // optional uint64

	// message visits a part. An empty part is written only if always.
	message(n num, name string, m message, always bool)

	// has says whether an optional part is to be visited; set is whether it
	// is there now.
	has(n num, name string, set bool) bool

	// open starts a list of parts and returns how many are to be visited;
	// have is how many there are now. element visits one, close ends the
	// list; both are called only if open returned more than 0.
	open(n num, name string, have int) int
	element(n num, name string, i int, m message)
	close()
}

// part is a pointer to a message struct T.
type part[T any] interface {
	*T
	message
}

// optional visits a part whose absence is nil.
func optional[T any, P part[T]](v visitor, n num, name string, p **T) {
	if !v.has(n, name, *p != nil) {
		return
	}
	if *p == nil {
		*p = new(T)
	}
	v.message(n, name, P(*p), true)
}

// list visits a repeated part.
func list[T any, P part[T]](v visitor, n num, name string, p *[]T) {
	count := v.open(n, name, len(*p))
	if count == 0 {
		return
	}
	if len(*p) != count {
		*p = make([]T, count)
	}
	for i := range *p {
		v.element(n, name, i, P(&(*p)[i]))
	}
	v.close()
}

// newBody returns an empty body for each kind this build knows, an [Unknown]
// for any other.
func newBody(k Kind) Body {
	if int(k) < len(makers) && makers[k] != nil {
		return makers[k]()
	}
	return &Unknown{Of: k}
}

var makers = [...]func() Body{
	KindDaemonStarted:      func() Body { return new(DaemonStarted) },
	KindDaemonStopped:      func() Body { return new(DaemonStopped) },
	KindRecoveryStarted:    func() Body { return new(RecoveryStarted) },
	KindRecoveryFinished:   func() Body { return new(RecoveryFinished) },
	KindSegmentOpened:      func() Body { return new(SegmentOpened) },
	KindClockStepped:       func() Body { return new(ClockStepped) },
	KindCapsuleLoaded:      func() Body { return new(CapsuleLoaded) },
	KindCapsuleUnloaded:    func() Body { return new(CapsuleUnloaded) },
	KindPolicyChanged:      func() Body { return new(PolicyChanged) },
	KindInvocationStarted:  func() Body { return new(InvocationStarted) },
	KindInvocationFinished: func() Body { return new(InvocationFinished) },
	KindSpawnRequested:     func() Body { return new(SpawnRequested) },
	KindSpawnDecided:       func() Body { return new(SpawnDecided) },
	KindSpawnAborted:       func() Body { return new(SpawnAborted) },
	KindSpawnFailed:        func() Body { return new(SpawnFailed) },
	KindProcessStarted:     func() Body { return new(ProcessStarted) },
	KindProcessAdopted:     func() Body { return new(ProcessAdopted) },
	KindProcessExited:      func() Body { return new(ProcessExited) },
	KindProcessLost:        func() Body { return new(ProcessLost) },
	KindCancelRequested:    func() Body { return new(CancelRequested) },
	KindCancelFinished:     func() Body { return new(CancelFinished) },
	KindStopRequested:      func() Body { return new(StopRequested) },
	KindTimerFired:         func() Body { return new(TimerFired) },
	KindSignalRequested:    func() Body { return new(SignalRequested) },
	KindSignalSent:         func() Body { return new(SignalSent) },
	KindHandleReleased:     func() Body { return new(HandleReleased) },
	KindOrphanEnded:        func() Body { return new(OrphanEnded) },
	KindLedgerMigrated:     func() Body { return new(LedgerMigrated) },
	KindHandleAttached:     func() Body { return new(HandleAttached) },
	KindWatchArmed:         func() Body { return new(WatchArmed) },
	KindWatchDisarmed:      func() Body { return new(WatchDisarmed) },
	KindStdinClosed:        func() Body { return new(StdinClosed) },
	KindLedgerSalvaged:     func() Body { return new(LedgerSalvaged) },
	KindLedgerBackedUp:     func() Body { return new(LedgerBackedUp) },
}

// Kind returns the number that the event came with.
func (m *Unknown) Kind() Kind { return m.Of }

// An Unknown has no field that this build knows: keep and kept hold it all.
func (m *Unknown) fields(visitor)   {}
func (m *Unknown) keep(wire string) { m.Raw = []byte(wire) }
func (m *Unknown) kept() string     { return string(m.Raw) }
