package event

// The ledger about itself.

// Kind returns KindSegmentOpened.
func (*SegmentOpened) Kind() Kind { return KindSegmentOpened }

// Kind returns KindClockStepped.
func (*ClockStepped) Kind() Kind { return KindClockStepped }

// Kind returns KindLedgerMigrated.
func (*LedgerMigrated) Kind() Kind { return KindLedgerMigrated }

func (m *SegmentOpened) fields(v visitor) {
	v.u64(1, "ordinal", &m.Ordinal)
	v.u32(2, "layout", &m.Layout)
	v.blob(3, "state_sha256", &m.StateSHA256)
	v.blob(4, "previous_sha256", &m.PreviousSHA256)
	v.u64(5, "previous_first", &m.PreviousFirst)
	v.text(6, "reason", &m.Reason)
	v.u64(7, "salvaged_through", &m.SalvagedThrough)
}

func (m *ClockStepped) fields(v visitor) {
	v.i64(1, "delta_nano", &m.DeltaNano)
}

func (m *LedgerMigrated) fields(v visitor) {
	v.u32(1, "from", &m.From)
	v.u32(2, "to", &m.To)
	v.text(3, "backup", &m.Backup)
}
