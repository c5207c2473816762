package event

// The ledger about itself.

// Kind returns KindSegmentOpened.
func (*SegmentOpened) Kind() Kind { return KindSegmentOpened }

// Kind returns KindClockStepped.
func (*ClockStepped) Kind() Kind { return KindClockStepped }

// Kind returns KindLedgerMigrated.
func (*LedgerMigrated) Kind() Kind { return KindLedgerMigrated }

// Kind returns KindLedgerSalvaged.
func (*LedgerSalvaged) Kind() Kind { return KindLedgerSalvaged }

// Kind returns KindLedgerBackedUp.
func (*LedgerBackedUp) Kind() Kind { return KindLedgerBackedUp }

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

func (m *LedgerSalvaged) fields(v visitor) {
	v.u64(1, "kept_from", &m.KeptFrom)
	v.u64(2, "kept_to", &m.KeptTo)
	v.u64(3, "lost_from", &m.LostFrom)
	v.u64(4, "lost_to", &m.LostTo)
	v.u64(5, "readable", &m.Readable)
	v.text(6, "fault", &m.Fault)
	v.text(7, "set_aside", &m.SetAside)
	v.blob(8, "sha256", &m.SHA256)
}

func (m *LedgerBackedUp) fields(v visitor) {
	v.text(1, "directory", &m.Directory)
	v.u64(2, "through", &m.Through)
	v.u32(3, "segments", &m.Segments)
	v.u64(4, "bytes", &m.Bytes)
	v.blob(5, "manifest_sha256", &m.ManifestSHA256)
}
