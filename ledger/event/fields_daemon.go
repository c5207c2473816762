package event

// The daemon and its recovery.

// Kind returns KindDaemonStarted.
func (*DaemonStarted) Kind() Kind { return KindDaemonStarted }

// Kind returns KindDaemonStopped.
func (*DaemonStopped) Kind() Kind { return KindDaemonStopped }

// Kind returns KindRecoveryStarted.
func (*RecoveryStarted) Kind() Kind { return KindRecoveryStarted }

// Kind returns KindRecoveryFinished.
func (*RecoveryFinished) Kind() Kind { return KindRecoveryFinished }

func (m *DaemonStarted) fields(v visitor) {
	v.text(1, "version", &m.Version)
	v.u32(2, "pid", &m.PID)
	v.u32(3, "uid", &m.UID)
	v.text(4, "kernel", &m.Kernel)
	v.text(5, "isolation", &m.Isolation)
	v.blob(6, "config_sha256", &m.ConfigSHA256)
	v.text(7, "replaces", &m.Replaces)
	v.i64(8, "gap_nano", &m.GapNano)
}

func (m *DaemonStopped) fields(v visitor) {
	v.text(1, "reason", &m.Reason)
	v.u32(2, "ended", &m.Ended)
	v.text(3, "successor", &m.Successor)
	v.text(4, "binary", &m.Binary)
}

func (m *RecoveryStarted) fields(v visitor) {
	v.u32(1, "handles", &m.Handles)
	v.u32(2, "directories", &m.Directories)
}

func (m *RecoveryFinished) fields(v visitor) {
	v.u32(1, "adopted", &m.Adopted)
	v.u32(2, "exited", &m.Exited)
	v.u32(3, "lost", &m.Lost)
	v.u32(4, "aborted", &m.Aborted)
	v.u32(5, "failed", &m.Failed)
	v.u32(6, "ended", &m.Ended)
	v.u32(7, "orphans", &m.Orphans)
	v.u32(8, "resumed", &m.Resumed)
	v.i64(9, "took_nano", &m.TookNano)
	v.u32(10, "lost_reboot", &m.LostReboot)
	v.u32(11, "lost_maybe", &m.LostMaybe)
	v.u32(12, "lost_no_directory", &m.LostNoDirectory)
	v.u32(13, "released", &m.Released)
	v.u32(14, "retained", &m.Retained)
	v.u32(15, "pending", &m.Pending)
	v.u32(16, "silent", &m.Silent)
	v.u32(17, "damaged", &m.Damaged)
	v.u32(18, "trash", &m.Trash)
	v.u32(19, "foreign", &m.Foreign)
	v.u32(20, "missing", &m.Missing)
	v.u32(21, "unsent", &m.Unsent)
}
