package event

// What guests do with a process while it lives: attach, watch, end its input.

// Kind returns KindHandleAttached.
func (*HandleAttached) Kind() Kind { return KindHandleAttached }

// Kind returns KindWatchArmed.
func (*WatchArmed) Kind() Kind { return KindWatchArmed }

// Kind returns KindWatchDisarmed.
func (*WatchDisarmed) Kind() Kind { return KindWatchDisarmed }

// Kind returns KindStdinClosed.
func (*StdinClosed) Kind() Kind { return KindStdinClosed }

func (m *HandleAttached) fields(visitor) {}

func (m *WatchArmed) fields(v visitor) {
	v.text(1, "suffix", &m.Suffix)
}

func (m *WatchDisarmed) fields(v visitor) {
	v.text(1, "reason", &m.Reason)
}

func (m *StdinClosed) fields(v visitor) {
	v.text(1, "reason", &m.Reason)
	v.u64(2, "bytes", &m.Bytes)
}
