package event

// Body is what happened: one of the struct types of this package, held by
// pointer, or an [Unknown]. The set is closed: only this package implements
// it.
type Body interface {
	// Kind returns the kind of event that carries this body.
	Kind() Kind

	message
}

// rest keeps the fields of a message that this build does not know, as they
// stood on the wire. Every message embeds it. It is a string so that messages
// without slices stay comparable with ==.
type rest struct{ unknown string }

func (r *rest) keep(wire string) { r.unknown = wire }
func (r *rest) kept() string     { return r.unknown }

// Unknown is the body of an event whose kind this build does not know. Its
// bytes survive a round trip unchanged.
type Unknown struct {
	// Of is the kind's number on the wire.
	Of Kind

	// Raw is the body's message as it stood on the wire.
	Raw []byte
}

// DaemonStarted is written by a daemon once it holds the ledger.
//
// Actor: host. Scope: none.
type DaemonStarted struct {
	Version      string // of the daemon's build
	PID          uint32 // of the daemon, host namespace; for people, never an identity
	UID          uint32 // effective user id
	Kernel       string // uname release
	Isolation    string // "pidns" or "none": what programs will run in
	ConfigSHA256 []byte // of the config text as read

	// Replaces is the version of the daemon that handed over to this one in an
	// orderly restart, empty for any other start.
	Replaces string

	// GapNano is how long no daemon was in charge then, by CLOCK_BOOTTIME, ns:
	// from the moment the old one had let go of ledger and shims to just before
	// this event.
	GapNano int64
	rest
}

// DaemonStopped is written by an orderly shutdown, last.
//
// Actor: host; of a restart the operator who asked for it. Scope: none.
type DaemonStopped struct {
	Reason string // "signal: terminated", "restart", …
	Ended  uint32 // processes ended by the shutdown

	Successor string // version of the build that goes on after a restart; empty if nobody does
	Binary    string // path of its program
	rest
}

// RecoveryStarted opens the matching of ledger and disk after a start.
//
// Actor: host. Scope: none.
type RecoveryStarted struct {
	Handles     uint32 // handles not terminal in the ledger
	Directories uint32 // process directories found on disk
	rest
}

// RecoveryFinished closes it, with what it found.
//
// Actor: host. Scope: none.
type RecoveryFinished struct {
	Adopted  uint32 // living processes held again
	Exited   uint32 // processes that ended meanwhile, with a true exit
	Lost     uint32 // processes proven dead whose exit is unknown
	Aborted  uint32 // granted spawns of which nothing ran
	Failed   uint32 // granted spawns that could not be started
	Ended    uint32 // living ephemeral processes cancelled as owner-lost
	Orphans  uint32 // shims and directories unknown to the ledger or terminal in it, ended
	Resumed  uint32 // unfinished cancels, stops and timers taken up again
	TookNano int64  // from recovery.started to this event, ns

	LostReboot      uint32 // of those lost: by a restart of the machine
	LostMaybe       uint32 // of those lost: of which nothing tells whether they ran
	LostNoDirectory uint32 // of those lost: whose process directory is gone, too

	Released uint32 // processes that had ended before, whose handles nobody can hold any more
	Retained uint32 // persistent processes that had ended before, kept for their creators
	Pending  uint32 // of all that was found: not at its end yet, but ended or waited for in the background from here on
	Silent   uint32 // of those pending: whose shim had not answered, or left, by then
	Damaged  uint32 // process directories with records that cannot be read
	Trash    uint32 // directories whose deletion an earlier daemon had begun

	// Foreign is how many programs were let run that this ledger cannot have
	// decided on, because it tells nothing of the time in which they were asked
	// for: it was restored from an older copy, or replaced. They are ended as
	// orphans.
	Foreign uint32

	// Missing is how many handles have lost their process directory: the
	// directories were deleted or replaced, or the ledger was restored from an
	// older copy.
	Missing uint32

	Unsent uint32 // signals requested before and not recorded as sent: nobody knows whether they arrived
	rest
}

// SegmentOpened is the first event of each segment.
//
// It is written by the ledger itself, when a segment is made.
//
// Actor: host. Scope: none.
type SegmentOpened struct {
	Ordinal         uint64 // 1 for the first segment of the ledger
	Layout          uint32 // layout version of the file
	StateSHA256     []byte // of the opening state stored in this segment
	PreviousSHA256  []byte // of the whole sealed file before; empty for the first, or when the one before was abandoned
	PreviousFirst   uint64 // seq of the first event of the segment before, 0 for the first
	Reason          string // "first", "full" (rolled over) or "salvaged" (after a failed commit)
	SalvagedThrough uint64 // for "salvaged": last seq taken over from the abandoned file
	rest
}

// ClockStepped records that the wall clock moved against CLOCK_BOOTTIME by
// more than a second since the event before.
//
// It is written by the ledger itself, just before the first event that the new
// time stamps.
//
// Actor: host. Scope: none.
type ClockStepped struct {
	DeltaNano int64 // ns; positive: forward
	rest
}

// CapsuleLoaded records a capsule that the daemon serves from now on.
//
// Actor: host. Scope: capsule.
type CapsuleLoaded struct {
	Version         string   // as its manifest gives it
	Manifest        string   // the manifest's text itself: it is the policy
	ManifestSHA256  []byte   // of that text
	ModuleSHA256    []byte   // of the module's file
	ModuleBytes     uint64   // size of the module's file
	HostProcess     []string // commands that its gate admits
	AllowPersistent bool     // whether it may start processes that outlive it
	rest
}

// CapsuleUnloaded records that a capsule is no longer served.
//
// Actor: host. Scope: capsule.
type CapsuleUnloaded struct {
	Reason string // "removed": its directory is gone; "ended": it was a program that was run once, and has left
	rest
}

// PolicyChanged records the policy in force from now on, with its text.
//
// It is written at every start whose policy differs from the last recorded one.
//
// Actor: host. Scope: the principal concerned, if there is one.
type PolicyChanged struct {
	Subject string // "config"
	Text    string // the policy itself
	SHA256  []byte // of the text
	rest
}

// InvocationStarted is written before a capsule is called.
//
// Actor: whoever called, in general an operator. Scope: principal, capsule,
// instance, call id.
type InvocationStarted struct {
	Action        string // what the capsule is asked to do
	PayloadBytes  uint64 // size of its input
	PayloadDigest []byte // keyed; the payload itself is never stored
	rest
}

// InvocationFinished is written before the caller sees the answer.
//
// For invocations that a crash cut off it is written by the recovery.
//
// Actor: whoever called, host after a crash. Scope: as in invocation.started.
type InvocationFinished struct {
	Outcome      string // "ok", "error", "trap", "cancelled", "deadline", "daemon-restart"
	Returned     string // the action that the guest returned
	Detail       string // the trap or error, for people
	DurationNano int64  // from invocation.started, ns
	InstanceLost bool   // the instance was discarded (trap or hard cancel)
	rest
}

// Identity names one process for ever. A bare pid is never an identity.
type Identity struct {
	PID          uint32 // host namespace, at the time
	StartTicks   uint64 // /proc/PID/stat field 22
	PidfsHandle  []byte // name_to_handle_at of its pidfd; empty where the kernel has none
	PidNamespace uint64 // inode; 0 if it was not read
	rest
}

// File names an executable that ran.
type File struct {
	Path   string // resolved
	Device uint64 // st_dev
	Inode  uint64 // st_ino
	SHA256 []byte // of its content; empty if it cannot be read, is no regular file, or has more than 256 MiB
	rest
}

// ProcessStarted records that the program runs (or ran: in a sync spawn it
// rides with the exit's commit).
//
// Actor: host. Scope: as in spawn.requested.
type ProcessStarted struct {
	Program     Identity // what was asked for
	Shim        Identity // its supervisor
	Isolation   string   // what was applied: "pidns", "pidns+mount", "userns+pidns", "none", …
	Executable  File     // what the command resolved to
	Interpreter *File    // of a script
	StartedWall int64    // ns since 1970, as the shim read it
	StartedBoot int64    // CLOCK_BOOTTIME ns, as the shim read it
	rest
}

// ProcessAdopted records that a restarted daemon holds a living process again.
//
// Actor: host. Scope: as in spawn.requested.
type ProcessAdopted struct {
	Shim Identity // the process's supervisor, alive
	rest
}

// Exit is how a program ended: exactly one of Code and Signal is set.
type Exit struct {
	Code   *int32 // exit code, 0 to 255
	Signal *int32 // Linux number of the signal that ended it
	rest
}

// StreamSummary tells what a program wrote on one stream.
type StreamSummary struct {
	Bytes   uint64 // all that it wrote
	SHA256  []byte // of all bytes, also of those the ring has dropped
	Dropped uint64 // bytes the ring dropped before anybody read them
	rest
}

// ProcessExited records a true exit. It frees the slot.
//
// It is durable before anybody is told of the exit.
//
// Actor: host. Scope: as in spawn.requested.
type ProcessExited struct {
	Exit       Exit // how it ended
	CoreDumped bool // whether the signal left a core dump

	// Cause is what ended it: "self", or the cause of the order that did:
	// "signal", "kill", "cancel", "stop", "lifetime", "idle", "orphaned",
	// "owner-lost", "released", "shutdown", "daemon-restart".
	Cause string

	UserNano   int64         // CPU time in user mode, of the program and what it reaped, ns
	SystemNano int64         // the same in kernel mode, ns
	MaxRSSKiB  uint64        // peak resident set of the largest process, KiB
	Stdout     StreamSummary // its standard output
	Stderr     StreamSummary // its standard error
	RestKilled uint32        // processes of its tree still living after it, killed

	EndedWall    int64 // ns since 1970, as the shim read it
	EndedBoot    int64 // CLOCK_BOOTTIME ns, as the shim read it
	AfterRestart bool  // seen by a daemon other than the one that started it
	rest
}

// ProcessLost records that a process is proven dead and its exit is unknown.
// It frees the slot.
//
// It is written only with proof of death: its supervisor's lock is free and its
// identity gone, or the machine has booted since.
//
// Actor: host. Scope: as in spawn.requested.
type ProcessLost struct {
	Reason  string // "shim-killed", "reboot", "may-have-run", "no-directory"
	Detail  string // one sentence for people
	Witness *Exit  // the exit that a second witness saw, if one did
	rest
}

// CancelRequested records a cancel by call ids, or of a whole principal. The
// signals it leads to are events of their own, with cause "cancel".
//
// Actor: operator. Scope: principal, and capsule if it is limited to one.
type CancelRequested struct {
	Cancel  []byte   // 16 bytes: id of this cancel
	CallIDs []string // empty: all of the scope
	Handles [][]byte // 16 bytes each: the live handles it reaches
	Reason  string   // as the operator gave it
	rest
}

// CancelFinished records that every handle of a cancel is terminal.
//
// Actor: host. Scope: as in cancel.requested.
type CancelFinished struct {
	Cancel []byte // 16 bytes: id of the cancel.requested
	rest
}

// StopRequested records that a process is to end: TERM, grace, KILL.
//
// Actor: whoever asks for it. Scope: as in spawn.requested.
type StopRequested struct {
	GraceNano int64  // from TERM to KILL, ns
	Reason    string // "guest", "operator", "shutdown", "daemon-restart", …
	rest
}

// TimerFired records that a timer ran out: before its order is carried out by
// the daemon, or after the shim carried it out alone.
//
// A lifetime or idle timer ends the program: TERM, grace, KILL. A retention
// timer ends nothing, for it runs after the exit: the release follows.
//
// Actor: timer, or shim. Scope: as in spawn.requested.
type TimerFired struct {
	Timer   string // "lifetime", "idle", "retention", "orphan"
	DueBoot int64  // CLOCK_BOOTTIME ns
	rest
}

// SignalTarget says what a signal is sent to.
type SignalTarget uint32

// The targets. The numbers are the wire format.
const (
	TargetProgram SignalTarget = 1 // the program alone
	TargetTree    SignalTarget = 2 // the program and all its descendants
)

// SignalRequested is the authority to send one signal, once.
//
// It is written before the signal is sent, and never a second time for the same
// signal. After a crash between the two nobody knows whether it arrived.
//
// Actor: whoever causes it. Scope: as in spawn.requested.
type SignalRequested struct {
	Signal uint32       // Linux number
	Target SignalTarget // the program or its tree
	Cause  string       // see ProcessExited.Cause
	Cancel []byte       // id of the cancel it belongs to, if any

	// Late is true if the signal was sent before this event could be
	// committed (act.Emergency); SentWall is when, ns since 1970.
	Late     bool
	SentWall int64 // see Late
	rest
}

// SignalSent records what became of the request.
//
// Actor: host. Scope: as in spawn.requested.
type SignalSent struct {
	Request   uint64 // seq of the signal.requested
	Signal    uint32 // Linux number
	Delivered bool   // whether the kernel took it for a living target
	Detail    string // why not
	rest
}

// HandleReleased records that nobody holds the handle any more; its directory
// is deleted after this.
//
// Actor: host. Scope: as in spawn.requested.
type HandleReleased struct {
	// Reason is "dropped", "sync-finished", "instance-gone", "refused",
	// "recovered", "shutdown" or "daemon-restart"; of a persistent process "released" (the guest
	// released it), "stopped" (a stop was through) or "retention" (its timer
	// ran out).
	Reason string
	rest
}

// HandleAttached records that a guest holds a persistent process by a handle,
// beside its id. Nothing is written when that handle is dropped: the process
// stays as it is.
//
// Actor: guest. Scope: principal and capsule as in spawn.requested, instance
// and call id of the caller who attached, handle.
type HandleAttached struct{ rest }

// WatchArmed records that the lifecycle events of a persistent process are
// published to its creator from now on. Arming an armed watch again is the
// same watch with the suffix of this event.
//
// Actor: guest. Scope: as in handle.attached.
type WatchArmed struct {
	Suffix string // last part of the topic; empty: the process id, which is never stored
	rest
}

// WatchDisarmed records that they are published no more.
//
// Actor: guest, host with a release. Scope: as in handle.attached.
type WatchDisarmed struct {
	Reason string // "guest", "released"
	rest
}

// StdinClosed records that a program's standard input is closed: it sees the
// end once it has read what was written before.
//
// It is written before the stream is closed. A program whose input was not to
// stay open has none: its end comes after the prelude.
//
// Actor: whoever closed it, host if a write failed. Scope: principal and
// capsule as in spawn.requested, instance and call id of the caller, handle.
type StdinClosed struct {
	Reason string // "guest", "operator", "broken" (a write failed)
	Bytes  uint64 // written by guests while it was open; the prelude is not counted
	rest
}

// OrphanEnded records a shim or a directory that the ledger knows nothing of,
// or knows as terminal, and that was ended.
//
// It is written before the shim is killed, and once more before its directory
// is deleted, each time with what the directory tells by then: where the ledger
// was restored from an older copy, nothing else tells of the program.
//
// Actor: host. Scope: the handle, if the name of the directory is one.
type OrphanEnded struct {
	Directory string          // name of its directory
	Shim      *Identity       // absent if no shim lived
	Reason    string          // what the ledger knows of it, as a sentence for people
	Go        bool            // it was let run a program; without, nothing ran
	Started   *ProcessStarted // its record of the start, if it has one
	Failed    *SpawnFailed    // its record of a start that failed, if it has one
	Exited    *ProcessExited  // its record of the exit, if it has one
	rest
}

// LedgerMigrated records that the files were brought to a newer layout.
//
// Actor: host. Scope: none.
type LedgerMigrated struct {
	From   uint32 // layout version before
	To     uint32 // layout version after
	Backup string // where the files before are
	rest
}

// LedgerSalvaged records that a damaged file of the ledger was set aside, and
// what of it the ledger goes on with. What was lost stood at the same seqs that
// later events have now; their ids are never given again. Where several files
// were set aside there is one event for each.
//
// Actor: the operator who salvaged. Scope: none.
type LedgerSalvaged struct {
	KeptFrom uint64 // first event of the file that is kept; 0: none of it is
	KeptTo   uint64 // last event that is kept
	LostFrom uint64 // first event that is not kept; 0: none is known to be lost
	LostTo   uint64 // last event that is known to be lost; events after it may be
	Readable uint64 // how many of the lost events can still be read in the file set aside
	Fault    string // what is wrong with the file, for people
	SetAside string // name of the file now; empty: there was none
	SHA256   []byte // of all bytes of that file
	rest
}

// LedgerBackedUp records that a copy of the ledger was made and found sound.
//
// Actor: the operator who made it. Scope: none.
type LedgerBackedUp struct {
	Directory      string // where it lies
	Through        uint64 // its last event
	Segments       uint32 // files
	Bytes          uint64 // of these files
	ManifestSHA256 []byte // of its manifest, which has the hashes of all files
	rest
}
