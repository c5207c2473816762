package crashpoint

import "slices"

// Points lists every crash point of the program. A call of Here with a name
// that is not listed, a name listed twice, and a name without a call are test
// failures.
var Points = slices.Concat(ledgerPoints, shimPoints, hostPoints, restartPoints, recoveryPoints, migrationPoints, salvagePoints, latePoints, restorePoints)

// ledgerPoints are passed by whoever writes the ledger.
var ledgerPoints = []Point{
	{"ledger.create.written", Ledger, "a complete segment under a temporary name, which the next opening removes"},
	{"ledger.create.renamed", Ledger, "the new segment, or on a lost power supply what was there before it; nothing in it was acknowledged"},
	{"ledger.create.durable", Ledger, "the new segment as the newest; the next opening goes on in it"},
	{"ledger.grow.extended", Ledger, "a newest segment with a longer tail of zeros than it needs"},
	{"ledger.commit.begin", Ledger, "nothing of the batch, of which nobody was told"},
	{"ledger.commit.durable", Ledger, "the whole batch, of which nobody was told"},
	{"ledger.commit.published", Ledger, "the whole batch; those who waited for it were not told"},
	{"ledger.roll.sealed", Ledger, "a sealed newest segment; the next opening begins its successor"},
	{"ledger.roll.opened-to-auditors", Ledger, "a sealed newest segment; the next opening begins its successor"},
	{"ledger.snapshot.written", Ledger, "a snapshot under a temporary name, which is removed after the next one"},
	{"ledger.snapshot.renamed", Ledger, "one snapshot more than is kept"},
	{"ledger.fail.marked", Ledger, "a newest segment that is marked as abandoned; the next opening salvages it"},
	{"ledger.salvage.set-aside", Ledger, "an abandoned segment and its finished copy under a temporary name; the next opening salvages again"},
}

// shimPoints are passed by the parent of a program.
var shimPoints = []Point{
	{"shim.files.laid", Shim, "a directory with a free lock and no go, and no mount: nothing ran"},
	{"shim.ready.unwritten", Shim, "a directory with a free lock and no go: nothing ran"},
	{"shim.ready.written", Shim, "the same with ready: nothing ran"},
	{"shim.go.unwritten", Shim, "the same, although go was sent: nothing ran"},
	{"shim.go.written", Shim, "go and neither started nor failed: may have run"},
	{"shim.started.unwritten", Shim, "go and neither started nor failed: it ran, and died with its shim"},
	{"shim.started.written", Shim, "started and no exit: it ran, and died with its shim"},
	{"shim.failed.unwritten", Shim, "go and neither started nor failed: it did not run, and nobody can know"},
	{"shim.failed.written", Shim, "failed, and nobody was told: recovery reads it"},
	{"shim.exit.reaped", Shim, "started and no exit: the program had ended by itself, and only the second witness knows how"},
	{"shim.exit.unwritten", Shim, "the same, with all output in the rings"},
	{"shim.exit.written", Shim, "an exit record that nobody was told of: recovery reads it"},
	{"shim.exit.told", Shim, "an exit record that was told and not synced"},
	{"shim.exit.synced", Shim, "an exit record written by a shim alone: recovery reads it"},
}

// hostPoints are passed by the daemon on the way of a spawn, a signal, an exit.
var hostPoints = []Point{
	{"daemon.spawn.prepared", Daemon, "a shim without go, which leaves by itself; the decision may be durable or not"},
	{"daemon.spawn.decided", Daemon, "a granted decision, perhaps a directory, no go: nothing ran"},
	{"daemon.spawn.go", Daemon, "a decision and a shim that has go, or has not read it: its files say whether the program ran"},
	{"daemon.spawn.started", Daemon, "a started process whose caller was not told"},
	{"daemon.spawn.aborting", Daemon, "a decision without go whose abort is not recorded: nothing ran"},
	{"daemon.spawn.failing", Daemon, "a decision and a record of the failed start"},
	{"daemon.exit.seen", Daemon, "a started process and its exit record on disk"},
	{"daemon.exit.recorded", Daemon, "a recorded outcome of which nobody was told, and a directory"},
	{"daemon.release.recorded", Daemon, "the directory of a released handle"},
	{"daemon.release.trashed", Daemon, "a released handle without a directory: nothing is left to do"},
	{"daemon.signal.asked", Daemon, "a signal requested by a guest and not sent: its delivery is unknown"},
	{"daemon.signal.requested", Daemon, "a signal requested by the host and not sent: its delivery is unknown"},
	{"daemon.signal.sent", Daemon, "a signal sent and not recorded as sent: its delivery is unknown"},
	{"daemon.signal.recorded", Daemon, "a signal recorded as sent; whoever asked was not told"},
	{"daemon.stdin.closed", Daemon, "an input that is recorded as closed and is open: the next daemon closes it"},
	{"daemon.timer.fired", Daemon, "a timer that fired, its TERM sent, its KILL to come"},
	{"daemon.handle.attached", Daemon, "a persistent process with a recorded attachment whose handle nobody has"},
	{"daemon.watch.armed", Daemon, "an armed watch whose capsule was not told"},
	{"daemon.watch.disarmed", Daemon, "a watch that is over, and a capsule that was not told"},
	{"daemon.stop.requested", Daemon, "a stop whose TERM was not sent; recovery goes on with it"},
	{"daemon.cancel.requested", Daemon, "an open cancel whose first signals were not sent"},
	{"daemon.invocation.started", Daemon, "an open invocation of a guest that was not called"},
	{"daemon.invocation.finished", Daemon, "a finished invocation whose caller was not told"},
	{"daemon.shutdown.requested", Daemon, "stops whose TERM was sent, their KILL to come"},
	{"daemon.stopped", Daemon, "an orderly end, all of it recorded"},
}

// restartPoints are passed while one daemon makes way for the next, beside those of
// an orderly end.
var restartPoints = []Point{
	{"daemon.restart.draining", Restart, "a daemon that served and takes no more calls; nothing has ended"},
	{"daemon.restart.exec", Restart, "an orderly end, all of it recorded, and nobody who goes on"},
	{"daemon.restart.taken", Restart, "the same: the next daemon has the lock and the socket, and nothing else"},
}

// recoveryPoints are passed while a start matches ledger and disk. Recovery
// also passes the daemon's own points, where it does what the daemon does.
var recoveryPoints = []Point{
	{"recovery.started", Recovery, "a recovery that has begun and done nothing"},
	{"recovery.end.requested", Recovery, "a KILL requested for a process whose owner is gone, and not sent"},
	{"recovery.kill.requested", Recovery, "a KILL requested for a silent shim, and not sent"},
	{"recovery.orphan.found", Recovery, "a recorded orphan whose shim was not killed"},
	{"recovery.orphan.recorded", Recovery, "a recorded orphan whose directory was not deleted"},
	{"recovery.settled", Recovery, "all settled, and the recovery not finished"},
	{"recovery.finished", Recovery, "a finished recovery of which nobody was told"},
}

// migrationPoints are passed in each step from one layout to the next.
var migrationPoints = []Point{
	{"migration.begin", Migration, "a data directory as it was, or a new one that is empty"},
	{"migration.noted", Migration, "the note of the step; the next run makes the backup and applies it"},
	{"migration.backup-copying", Migration, "part of a backup under a temporary name, which the next run makes again"},
	{"migration.backup-copied", Migration, "a backup under a temporary name, which the next run makes again"},
	{"migration.backed-up", Migration, "note and complete backup; the next run applies the step"},
	{"migration.applied", Migration, "the step's work under the old layout's number; the next run applies the step again"},
	{"migration.layout-written", Migration, "the new layout, and the note, which the next run removes"},
}

// salvagePoints are passed by whoever salvages a damaged ledger. It also passes
// the points of a segment that is made.
var salvagePoints = []Point{
	{"salvage.set-aside", Salvage, "damaged files under two names each; the ledger is as damaged as before"},
	{"ledger.rebuild.written", Salvage, "damaged files, and the finished new one under a temporary name, which is removed"},
	{"ledger.rebuild.cleared", Salvage, "a ledger whose newest file is one of the damaged ones; salvaging again ends it"},
}

// latePoints are passed where an ending is kept on disk because there is no
// ledger, and where it is forgotten once there is one again.
var latePoints = []Point{
	{"daemon.late.kept", Late, "an ending that is kept on disk and was not carried out"},
	{"daemon.late.recorded", Late, "an ending that is recorded, and its file"},
}

// restorePoints are passed by whoever puts a copy of a ledger back.
var restorePoints = []Point{
	{"restore.copied", Restore, "the data directory as it was, and the copy beside its ledger under another name"},
	{"restore.set-aside", Restore, "a data directory without a ledger, and the copy in it under another name"},
}
