package event

// A spawn: what was asked for, and what was decided.

// Tier is the lifetime class of a process.
type Tier uint32

// The tiers. The numbers are the wire format.
const (
	TierSync       Tier = 1 // spawn: the guest waits for the end
	TierBackground Tier = 2 // spawn-background: ends with its handle
	TierPersistent Tier = 3 // spawn-persistent: ends when released
)

// Overflow is what happens to a program's output while nobody reads it and the
// ring is full.
type Overflow uint32

// The policies; 0 is the tier's default, drop-oldest. The numbers are the wire
// format.
const (
	OverflowDropOldest   Overflow = 1 // the oldest bytes are dropped, and counted
	OverflowBackpressure Overflow = 2 // the program waits in its write
)

// InjectedFile is a file whose content a guest gave with a spawn. Its place is
// EnvKey or Path, exactly one; the content itself is never stored.
type InjectedFile struct {
	EnvKey string // variable that holds the path of the file, which the host chose
	Path   string // absolute path at which the program finds it
	Bytes  uint64 // size of its content
	Digest []byte // keyed, of its content
	rest
}

// Limits are the resource limits a guest asked for; absent means not asked.
type Limits struct {
	MemoryBytes *uint64 // address space, bytes
	CPUSeconds  *uint64 // CPU time, s
	PIDs        *uint32 // processes and threads
	OpenFiles   *uint32 // open descriptors a process
	rest
}

// SpawnRequested records everything a guest asked for but secrets: env values,
// stdin and injected bytes are never stored, only their keys and keyed
// digests.
//
// It is written, in one commit with the decision, before anything starts.
//
// Actor: guest. Scope: principal, capsule, instance, call id, handle.
type SpawnRequested struct {
	Tier    Tier   // the lifetime class asked for
	Command string // as the guest gave it

	// Args are the arguments as given, cut to fit [MaxEncoded]: if
	// ArgsCut is true, ArgsBytes and ArgsDigest tell of the whole.
	Args       []string
	ArgsCount  uint32 // how many arguments were given
	ArgsBytes  uint64 // their size together, in bytes
	ArgsCut    bool   // whether Args is not all of them
	ArgsDigest []byte // keyed, of all arguments, each followed by NUL; only if cut, and not of a request that was too large to be read

	Cwd         string   // as the guest gave it; empty: the workspace
	EnvKeys     []string // names of the variables given; the values are never stored
	StdinBytes  uint64   // size of the standard input given
	StdinDigest []byte   // keyed; empty without stdin, and of one that was too large to be read
	Limits      *Limits  // the limits asked for
	Label       string   // the name the guest gave the process, for people

	// What follows counts for the persistent tier only, but for Files; absent
	// means not asked.

	KeepStdinOpen *bool          // whether its standard input stays open after the start
	Overflow      Overflow       // what is to happen when a ring is full
	RingBytes     *uint32        // size of the output ring of each stream, bytes
	LifetimeMS    *uint64        // how long it may run, ms
	IdleMS        *uint64        // how long it may go untouched, ms
	RetentionMS   *uint64        // how long it is to be kept after its exit, ms
	Files         []InjectedFile // files given with it
	rest
}

// Outcome of a decision.
type Outcome uint32

// The outcomes. The numbers are the wire format.
const (
	OutcomeGranted Outcome = 1
	OutcomeRefused Outcome = 2
)

// QuotaSeen is one quota as the decision saw it.
type QuotaSeen struct {
	Scope string // "principal:alice", "capsule:builder", "principal-sync:alice"
	Used  uint32 // before this spawn
	Cap   uint32 // most that there may be
	rest
}

// Orders are what a shim carries out alone while no daemon is there; the
// decision that holds them is the authority.
type Orders struct {
	// LifetimeNano is how long after its start the program may run, ns; 0:
	// no bound. Then TERM, GraceNano, KILL of the tree.
	LifetimeNano int64
	GraceNano    int64 // from TERM to KILL, ns

	// OrphanNano is how long the program may outlive the daemon's
	// connection, ns; 0: for ever. Then KILL of the tree.
	OrphanNano int64
	rest
}

// SpawnDecided records the decision on the request before it, always in the
// same commit.
//
// Nothing runs before this event is durable.
//
// Actor: host. Scope: as in spawn.requested.
type SpawnDecided struct {
	Outcome   Outcome     // granted or refused
	Code      string      // refused: the contract's error code ("quota", "capability-denied", …)
	Rule      string      // the rule that allowed or refused: "manifest host_process: git"
	Detail    string      // one sentence for people
	Quotas    []QuotaSeen // the quotas that were looked at
	Orders    *Orders     // granted only
	RingBytes uint32      // size of the output ring of each stream, bytes
	Isolation string      // what it will run in: "pidns" or "none"
	Cwd       string      // absolute directory on the host

	KeepStdinOpen bool     // whether its standard input stays open after the start
	Overflow      Overflow // what happens when a ring is full; absent: drop-oldest
	IdleNano      int64    // how long it may go untouched before it is ended, ns; 0: for ever
	RetentionNano int64    // how long it is kept after its exit, ns; 0: until it is released
	ProcessIDHash []byte   // keyed; persistent tier only: the id itself is never stored
	Label         string   // persistent tier only: its name for people, as cut to the bound
	rest
}

// SpawnAborted records that a granted spawn never ran. It frees the slot.
//
// Actor: host. Scope: as in spawn.requested.
type SpawnAborted struct {
	Reason string // "caller-gone", "cancelled", "shutdown", "daemon-restart", "shim-not-ready", "daemon-died", "commit-failed"
	Detail string // one sentence for people
	rest
}

// SpawnFailed records that a granted program could not be started. It frees
// the slot.
//
// Actor: host. Scope: as in spawn.requested.
type SpawnFailed struct {
	Step   string // "resolve", "chdir", "exec", "jail", …
	Errno  uint32 // Linux error number, 0 if there is none
	Detail string // one sentence for people
	rest
}
