package projector

import (
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// Phase is how far a process handle has come.
type Phase uint8

// The phases. The numbers are part of a state's encoding.
//
//	none -> requested -> decided -> started -> exited -> (released: none)
//	              |         |          `-----> lost
//	              |         |--> aborted
//	              |         |--> failed
//	              |         `--> lost
//	              `-> (refused: none)
const (
	PhaseNone      Phase = 0 // no such handle: never asked for, refused or released
	PhaseRequested Phase = 1 // between spawn.requested and spawn.decided, which are one commit
	PhaseDecided   Phase = 2 // granted: the slot is reserved, nothing has run yet as far as the ledger knows
	PhaseStarted   Phase = 3
	PhaseExited    Phase = 4
	PhaseAborted   Phase = 5 // granted, and proven never to have run
	PhaseFailed    Phase = 6 // granted, and the program could not be started
	PhaseLost      Phase = 7 // proven dead, exit unknown
)

var phaseNames = [...]string{"none", "requested", "decided", "started", "exited", "aborted", "failed", "lost"}

// String returns the phase's name as events and errors spell it.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return "invalid"
}

// Live tells whether a handle in this phase counts as a live process.
func (p Phase) Live() bool { return p == PhaseDecided || p == PhaseStarted }

// Terminal tells whether a handle in this phase only waits for its release.
func (p Phase) Terminal() bool { return p >= PhaseExited && p <= PhaseLost }

// Moment is when something happened, by the event that says so.
type Moment struct {
	Seq  uint64 // of the event; 0: it has not happened
	Wall int64  // ns since 1970
	Boot int64  // CLOCK_BOOTTIME ns

	// BootID is the boot that Boot counts from.
	BootID [16]byte
}

// at is the moment of an event itself.
func at(e *event.Event) Moment {
	return Moment{Seq: e.Seq, Wall: e.Wall, Boot: e.Boottime, BootID: e.BootID}
}

// Usage is what a process had used when it exited.
type Usage struct {
	UserNano   int64
	SystemNano int64
	MaxRSSKiB  uint64
}

// Handle is what is remembered of one process from its request to its release.
//
// Callers only read it, and only as long as the [State] it came from lets
// them: Apply changes it in place. Clone keeps it for longer.
type Handle struct {
	ID        ulid.ULID
	Principal string
	Capsule   string
	Instance  string // of the capsule that asked for it
	CallID    string // of the invocation that asked for it, where there is one
	Actor     event.Actor

	Tier    event.Tier
	Command string // as the guest gave it; the arguments are in the event Requested.Seq
	Label   string
	Cwd     string // absolute directory on the host

	Phase     Phase
	Orders    event.Orders // the shim's standing orders
	RingBytes uint32       // output ring a stream

	KeepStdinOpen bool           // granted: its input stays open after the start
	Overflow      event.Overflow // what happens when a ring is full; 0: drop-oldest
	IdleNano      int64          // granted time without a touch, ns; 0: no idle timer
	RetentionNano int64          // granted time to keep it after its end, ns; 0: until it is released

	// ProcessIDHash is the keyed hash of the id that guests know the process
	// by; persistent tier only. See [State.ByProcessID].
	ProcessIDHash []byte

	// Isolation is what was granted, and once started what was applied.
	Isolation string

	Requested Moment
	Decided   Moment
	Started   Moment // by the shim's clocks, BootID is that of the decision
	Adopted   Moment // the newest adoption by a restarted daemon
	Ended     Moment // exited: by the shim's clocks, BootID is that of the decision; else the event's

	Program event.Identity // from Started on
	Shim    event.Identity // from Started on

	Exit *event.Exit // exited only

	// Cause is why it ended: of an exit what caused it ("self", "cancel", …),
	// of an abort or loss the reason, of a failure the step.
	Cause string

	Errno        uint32      // failed only
	Detail       string      // one sentence for people: aborted, failed, lost
	Witness      *event.Exit // lost only: the exit that a second witness saw
	Usage        Usage       // exited only
	AfterRestart bool        // exited only: seen by another daemon than started it

	// StdinClosed is true once a stdin.closed is recorded, StdinClosedSeq is
	// the seq of the newest one. Whether it was carried out before a crash
	// nobody knows, so whoever adopts the process closes again.
	StdinClosed    bool
	StdinClosedSeq uint64

	Watch    *Watch // nil: not armed
	Attached uint32 // how often a guest has attached

	// Expired is when the retention timer fired; Seq 0: it has not. The
	// release follows.
	Expired Moment

	// Signals are the requested signals whose sending is not recorded yet, by
	// seq. After a crash their delivery is unknown; they are never sent again.
	Signals []Signal

	// Obligations are the ends that have been ordered and are not reached, by
	// seq. A restarted daemon goes on with each at its next step.
	//
	// Invariant: empty unless the phase is live.
	Obligations []Obligation

	// LastSeq is the newest event of this handle: the back-pointer of the
	// next one.
	LastSeq uint64

	// tallies are those that count the handle from its grant to its release:
	// of all, its principal, its capsule, the pair. Derived, not encoded.
	tallies [4]*tally
}

// Signal is a signal that has been requested and not been recorded as sent.
type Signal struct {
	Seq    uint64 // of its signal.requested
	Signal uint32 // Linux number
	Target event.SignalTarget
	Cause  string
	Cancel ulid.ULID // the cancel it belongs to, zero if none
}

// Watch is the order to publish what becomes of a process to its creator.
type Watch struct {
	Suffix string // last part of the topic; empty: the process id
	Armed  Moment // its newest watch.armed
}

// Obligation is an end that was ordered: a gentle signal, a grace, then KILL.
type Obligation struct {
	Cause  string // "cancel", "stop", or of a timer "lifetime", "idle" or "orphaned"
	Reason string // as the cancel or stop gave it

	// Cancel is the id of the cancel, zero for other causes.
	Cancel ulid.ULID

	// GraceNano is the time between the gentle signal and KILL: of a stop as
	// requested, of a lifetime or idle timer as ordered. It is 0 for a cancel, whose grace
	// is the host's constant.
	GraceNano int64

	Opened Moment // the event that ordered it
	Gentle Step   // INT or TERM
	Kill   Step
}

// Step is one signal of an obligation.
type Step struct {
	Requested uint64 // seq of the newest signal.requested, 0: not asked for yet
	Sent      Moment // its signal.sent; Seq 0: not sent, or unknown whether
	Delivered bool   // as the signal.sent says
}

// Scope returns the scope for a new event of this handle; the actor is left
// for the caller to fill in.
func (h *Handle) Scope() event.Scope {
	return event.Scope{
		Principal: h.Principal, Capsule: h.Capsule, Instance: h.Instance,
		CallID: h.CallID, Handle: h.ID,
	}
}

// CancelID returns the id of the newest open cancel that reaches the handle,
// zero if there is none.
func (h *Handle) CancelID() ulid.ULID {
	for i := len(h.Obligations) - 1; i >= 0; i-- {
		if id := h.Obligations[i].Cancel; id != (ulid.ULID{}) {
			return id
		}
	}
	return ulid.ULID{}
}

// Obligation returns the newest obligation of that cause.
func (h *Handle) Obligation(cause string) (Obligation, bool) {
	for i := len(h.Obligations) - 1; i >= 0; i-- {
		if h.Obligations[i].Cause == cause {
			return h.Obligations[i], true
		}
	}
	return Obligation{}, false
}

// Clone returns a copy that nothing changes any more. It shares what events
// share: bytes that are never written again.
func (h *Handle) Clone() *Handle {
	c := h.frozen()
	return &c
}

func (h *Handle) frozen() Handle {
	c := *h
	c.tallies = [4]*tally{}
	c.Signals = slices.Clone(h.Signals)
	c.Obligations = slices.Clone(h.Obligations)
	if h.Watch != nil {
		watch := *h.Watch
		c.Watch = &watch
	}
	return c
}

// signalStep finds the step that a requested signal belongs to: by its cancel,
// or else the newest obligation that has its cause or was opened for that
// reason (a shutdown's stop sends signals with cause "shutdown"). It is nil for
// a signal that stands alone.
func (h *Handle) signalStep(sig uint32, cause string, cancel ulid.ULID) *Step {
	for i := len(h.Obligations) - 1; i >= 0; i-- {
		o := &h.Obligations[i]
		if cancel != (ulid.ULID{}) {
			if o.Cancel != cancel {
				continue
			}
		} else if o.Cause != cause && o.Reason != cause {
			continue
		}
		if sig == sigKill {
			return &o.Kill
		}
		return &o.Gentle
	}
	return nil
}

// sigKill is KILL on every Linux; the package is built for other systems too.
const sigKill = 9
