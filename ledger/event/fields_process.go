package event

// The life of a process.

// Kind returns KindProcessStarted.
func (*ProcessStarted) Kind() Kind { return KindProcessStarted }

// Kind returns KindProcessAdopted.
func (*ProcessAdopted) Kind() Kind { return KindProcessAdopted }

// Kind returns KindProcessExited.
func (*ProcessExited) Kind() Kind { return KindProcessExited }

// Kind returns KindProcessLost.
func (*ProcessLost) Kind() Kind { return KindProcessLost }

// Kind returns KindHandleReleased.
func (*HandleReleased) Kind() Kind { return KindHandleReleased }

// Kind returns KindOrphanEnded.
func (*OrphanEnded) Kind() Kind { return KindOrphanEnded }

func (m *ProcessStarted) fields(v visitor) {
	v.message(1, "program", &m.Program, false)
	v.message(2, "shim", &m.Shim, false)
	v.text(3, "isolation", &m.Isolation)
	v.message(4, "executable", &m.Executable, false)
	optional(v, 5, "interpreter", &m.Interpreter)
	v.wall(6, "started_wall", &m.StartedWall)
	v.i64(7, "started_boot", &m.StartedBoot)
}

func (m *Identity) fields(v visitor) {
	v.u32(1, "pid", &m.PID)
	v.u64(2, "start_ticks", &m.StartTicks)
	v.blob(3, "pidfs_handle", &m.PidfsHandle)
	v.u64(4, "pid_namespace", &m.PidNamespace)
}

func (m *File) fields(v visitor) {
	v.text(1, "path", &m.Path)
	v.u64(2, "device", &m.Device)
	v.u64(3, "inode", &m.Inode)
	v.blob(4, "sha256", &m.SHA256)
}

func (m *ProcessAdopted) fields(v visitor) {
	v.message(1, "shim", &m.Shim, false)
}

func (m *ProcessExited) fields(v visitor) {
	v.message(1, "exit", &m.Exit, false)
	v.flag(2, "core_dumped", &m.CoreDumped)
	v.text(3, "cause", &m.Cause)
	v.i64(4, "user_nano", &m.UserNano)
	v.i64(5, "system_nano", &m.SystemNano)
	v.u64(6, "max_rss_kib", &m.MaxRSSKiB)
	v.message(7, "stdout", &m.Stdout, false)
	v.message(8, "stderr", &m.Stderr, false)
	v.u32(9, "rest_killed", &m.RestKilled)
	v.wall(10, "ended_wall", &m.EndedWall)
	v.i64(11, "ended_boot", &m.EndedBoot)
	v.flag(12, "after_restart", &m.AfterRestart)
}

func (m *Exit) fields(v visitor) {
	v.optI32(1, "code", &m.Code)
	v.optI32(2, "signal", &m.Signal)
}

func (m *StreamSummary) fields(v visitor) {
	v.u64(1, "bytes", &m.Bytes)
	v.blob(2, "sha256", &m.SHA256)
	v.u64(3, "dropped", &m.Dropped)
}

func (m *ProcessLost) fields(v visitor) {
	v.text(1, "reason", &m.Reason)
	v.text(2, "detail", &m.Detail)
	optional(v, 3, "witness", &m.Witness)
}

func (m *HandleReleased) fields(v visitor) {
	v.text(1, "reason", &m.Reason)
}

func (m *OrphanEnded) fields(v visitor) {
	v.text(1, "directory", &m.Directory)
	optional(v, 2, "shim", &m.Shim)
	v.text(3, "reason", &m.Reason)
	v.flag(4, "go", &m.Go)
	optional(v, 5, "started", &m.Started)
	optional(v, 6, "failed", &m.Failed)
	optional(v, 7, "exited", &m.Exited)
}
