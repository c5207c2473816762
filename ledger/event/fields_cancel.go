package event

// What ends a process from outside.

// Kind returns KindCancelRequested.
func (*CancelRequested) Kind() Kind { return KindCancelRequested }

// Kind returns KindCancelFinished.
func (*CancelFinished) Kind() Kind { return KindCancelFinished }

// Kind returns KindStopRequested.
func (*StopRequested) Kind() Kind { return KindStopRequested }

// Kind returns KindTimerFired.
func (*TimerFired) Kind() Kind { return KindTimerFired }

// Kind returns KindSignalRequested.
func (*SignalRequested) Kind() Kind { return KindSignalRequested }

// Kind returns KindSignalSent.
func (*SignalSent) Kind() Kind { return KindSignalSent }

func (m *CancelRequested) fields(v visitor) {
	v.id(1, "cancel", &m.Cancel)
	v.texts(2, "call_ids", &m.CallIDs)
	v.ids(3, "handles", &m.Handles)
	v.text(4, "reason", &m.Reason)
}

func (m *CancelFinished) fields(v visitor) {
	v.id(1, "cancel", &m.Cancel)
}

func (m *StopRequested) fields(v visitor) {
	v.i64(1, "grace_nano", &m.GraceNano)
	v.text(2, "reason", &m.Reason)
}

func (m *TimerFired) fields(v visitor) {
	v.text(1, "timer", &m.Timer)
	v.i64(2, "due_boot", &m.DueBoot)
}

func (m *SignalRequested) fields(v visitor) {
	v.u32(1, "signal", &m.Signal)
	v.enum(2, "target", (*uint32)(&m.Target), targetNames)
	v.text(3, "cause", &m.Cause)
	v.id(4, "cancel", &m.Cancel)
	v.flag(5, "late", &m.Late)
	v.wall(6, "sent_wall", &m.SentWall)
}

func (m *SignalSent) fields(v visitor) {
	v.u64(1, "request", &m.Request)
	v.u32(2, "signal", &m.Signal)
	v.flag(3, "delivered", &m.Delivered)
	v.text(4, "detail", &m.Detail)
}
