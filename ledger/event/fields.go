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
	_, body := newEvent(k)
	return body
}

// newEvent returns such a body and an event for it, in one piece of memory. The
// event is empty.
func newEvent(k Kind) (*Event, Body) {
	if int(k) < len(makers) && makers[k] != nil {
		return makers[k]()
	}
	e, body := made[Unknown]()
	body.(*Unknown).Of = k
	return e, body
}

func made[T any, P interface {
	*T
	Body
}]() (*Event, Body) {
	both := new(struct {
		event Event
		body  T
	})
	return &both.event, P(&both.body)
}

var makers = [...]func() (*Event, Body){
	KindDaemonStarted:      made[DaemonStarted],
	KindDaemonStopped:      made[DaemonStopped],
	KindRecoveryStarted:    made[RecoveryStarted],
	KindRecoveryFinished:   made[RecoveryFinished],
	KindSegmentOpened:      made[SegmentOpened],
	KindClockStepped:       made[ClockStepped],
	KindCapsuleLoaded:      made[CapsuleLoaded],
	KindCapsuleUnloaded:    made[CapsuleUnloaded],
	KindPolicyChanged:      made[PolicyChanged],
	KindInvocationStarted:  made[InvocationStarted],
	KindInvocationFinished: made[InvocationFinished],
	KindSpawnRequested:     made[SpawnRequested],
	KindSpawnDecided:       made[SpawnDecided],
	KindSpawnAborted:       made[SpawnAborted],
	KindSpawnFailed:        made[SpawnFailed],
	KindProcessStarted:     made[ProcessStarted],
	KindProcessAdopted:     made[ProcessAdopted],
	KindProcessExited:      made[ProcessExited],
	KindProcessLost:        made[ProcessLost],
	KindCancelRequested:    made[CancelRequested],
	KindCancelFinished:     made[CancelFinished],
	KindStopRequested:      made[StopRequested],
	KindTimerFired:         made[TimerFired],
	KindSignalRequested:    made[SignalRequested],
	KindSignalSent:         made[SignalSent],
	KindHandleReleased:     made[HandleReleased],
	KindOrphanEnded:        made[OrphanEnded],
	KindLedgerMigrated:     made[LedgerMigrated],
	KindHandleAttached:     made[HandleAttached],
	KindWatchArmed:         made[WatchArmed],
	KindWatchDisarmed:      made[WatchDisarmed],
	KindStdinClosed:        made[StdinClosed],
	KindLedgerSalvaged:     made[LedgerSalvaged],
	KindLedgerBackedUp:     made[LedgerBackedUp],
}

// Kind returns the number that the event came with.
func (m *Unknown) Kind() Kind { return m.Of }

// An Unknown has no field that this build knows: keep and kept hold it all.
func (m *Unknown) fields(visitor)   {}
func (m *Unknown) keep(wire string) { m.Raw = []byte(wire) }
func (m *Unknown) kept() string     { return string(m.Raw) }
