package event

// From the request to the decision, and what a granted spawn may come to before it runs.

// Kind returns KindSpawnRequested.
func (*SpawnRequested) Kind() Kind { return KindSpawnRequested }

// Kind returns KindSpawnDecided.
func (*SpawnDecided) Kind() Kind { return KindSpawnDecided }

// Kind returns KindSpawnAborted.
func (*SpawnAborted) Kind() Kind { return KindSpawnAborted }

// Kind returns KindSpawnFailed.
func (*SpawnFailed) Kind() Kind { return KindSpawnFailed }

func (m *SpawnRequested) fields(v visitor) {
	v.enum(1, "tier", (*uint32)(&m.Tier), tierNames)
	v.text(2, "command", &m.Command)
	v.texts(3, "args", &m.Args)
	v.u32(4, "args_count", &m.ArgsCount)
	v.u64(5, "args_bytes", &m.ArgsBytes)
	v.flag(6, "args_cut", &m.ArgsCut)
	v.blob(7, "args_digest", &m.ArgsDigest)
	v.text(8, "cwd", &m.Cwd)
	v.texts(9, "env_keys", &m.EnvKeys)
	v.u64(10, "stdin_bytes", &m.StdinBytes)
	v.blob(11, "stdin_digest", &m.StdinDigest)
	optional(v, 12, "limits", &m.Limits)
	v.text(13, "label", &m.Label)
	v.optFlag(14, "keep_stdin_open", &m.KeepStdinOpen)
	v.enum(15, "overflow", (*uint32)(&m.Overflow), overflowNames)
	v.optU32(16, "ring_bytes", &m.RingBytes)
	v.optU64(17, "lifetime_ms", &m.LifetimeMS)
	v.optU64(18, "idle_ms", &m.IdleMS)
	v.optU64(19, "retention_ms", &m.RetentionMS)
	list(v, 20, "files", &m.Files)
}

func (m *InjectedFile) fields(v visitor) {
	v.text(1, "env_key", &m.EnvKey)
	v.text(2, "path", &m.Path)
	v.u64(3, "bytes", &m.Bytes)
	v.blob(4, "digest", &m.Digest)
}

func (m *Limits) fields(v visitor) {
	v.optU64(1, "memory_bytes", &m.MemoryBytes)
	v.optU64(2, "cpu_seconds", &m.CPUSeconds)
	v.optU32(3, "pids", &m.PIDs)
	v.optU32(4, "open_files", &m.OpenFiles)
}

func (m *SpawnDecided) fields(v visitor) {
	v.enum(1, "outcome", (*uint32)(&m.Outcome), outcomeNames)
	v.text(2, "code", &m.Code)
	v.text(3, "rule", &m.Rule)
	v.text(4, "detail", &m.Detail)
	list(v, 5, "quotas", &m.Quotas)
	optional(v, 6, "orders", &m.Orders)
	v.u32(7, "ring_bytes", &m.RingBytes)
	v.text(8, "isolation", &m.Isolation)
	v.text(9, "cwd", &m.Cwd)
	v.flag(10, "keep_stdin_open", &m.KeepStdinOpen)
	v.enum(11, "overflow", (*uint32)(&m.Overflow), overflowNames)
	v.i64(12, "idle_nano", &m.IdleNano)
	v.i64(13, "retention_nano", &m.RetentionNano)
	v.blob(14, "process_id_hash", &m.ProcessIDHash)
	v.text(15, "label", &m.Label)
}

func (m *QuotaSeen) fields(v visitor) {
	v.text(1, "scope", &m.Scope)
	v.u32(2, "used", &m.Used)
	v.u32(3, "cap", &m.Cap)
}

func (m *Orders) fields(v visitor) {
	v.i64(1, "lifetime_nano", &m.LifetimeNano)
	v.i64(2, "grace_nano", &m.GraceNano)
	v.i64(3, "orphan_nano", &m.OrphanNano)
}

func (m *SpawnAborted) fields(v visitor) {
	v.text(1, "reason", &m.Reason)
	v.text(2, "detail", &m.Detail)
}

func (m *SpawnFailed) fields(v visitor) {
	v.text(1, "step", &m.Step)
	v.u32(2, "errno", &m.Errno)
	v.text(3, "detail", &m.Detail)
}
