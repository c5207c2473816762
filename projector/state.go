package projector

import (
	"cmp"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// State is everything the program decides by, as of one event. It is a pure
// function of the events up to there.
//
// A State is not safe for concurrent use. What its accessors return is read
// only, and only until the next Apply, unless their comment says otherwise.
type State struct {
	seq    uint64   // of the last event applied; 0: none
	order  uint64   // highest order time seen, ms since 1970
	bootID [16]byte // of the last event that carries one

	run *Run // newest run of the daemon, nil before the first

	handles     map[ulid.ULID]*Handle
	cancels     map[ulid.ULID]*Cancel
	invocations []*Invocation // by seq of their start
	capsules    map[string]*Capsule
	installed   map[string]*Installed
	policies    map[string]*Policy

	totals  Totals
	refused map[string]uint64 // refusals by code

	derived derived
}

// Run is one run of the daemon.
type Run struct {
	Started Moment
	Version string
	PID     uint32 // for people, never an identity
	UID     uint32

	// Isolation is what programs run in: "pidns" or "none".
	Isolation string

	// Recovering is true between recovery.started and recovery.finished.
	Recovering bool

	Recovered Moment // its recovery.finished
	Stopped   Moment // its daemon.stopped; Seq 0: it runs, or it crashed
	Reason    string // of the orderly stop
}

// Cancel is a cancel that was requested and is not finished.
type Cancel struct {
	ID        ulid.ULID
	Principal string // the scope as requested
	Capsule   string
	Actor     event.Actor
	CallIDs   []string // empty: all of the scope
	Reason    string
	Requested Moment
	Reached   uint32 // handles it named

	// Remaining are those of them that have not ended yet, sorted. The host
	// writes cancel.finished when there are none.
	Remaining []ulid.ULID
}

// Invocation is a call of a capsule that has begun and is not finished.
type Invocation struct {
	Started   Moment
	Principal string
	Capsule   string
	Instance  string
	CallID    string
	Actor     event.Actor
	Action    string
}

// Scope returns the scope for the event that finishes it; the actor is left
// for the caller to fill in.
func (i *Invocation) Scope() event.Scope {
	return event.Scope{Principal: i.Principal, Capsule: i.Capsule, Instance: i.Instance, CallID: i.CallID}
}

// Capsule is a capsule that the running daemon serves.
type Capsule struct {
	Name            string
	Loaded          Moment
	Version         string
	ManifestSHA256  []byte
	ModuleSHA256    []byte
	ModuleBytes     uint64
	HostProcess     []string // commands that its gate admits
	AllowPersistent bool
}

// Installed says that a capsule's own setup has gone through: the invocation in
// which its astrid-install, or later its astrid-upgrade, was called for the
// module with this digest has finished well. Unlike a [Capsule] it stays over
// restarts of the daemon.
type Installed struct {
	Name         string
	ModuleSHA256 []byte
	Finished     Moment
}

// The actions of an invocation by which the daemon has a capsule set itself up:
// the names of the exports that it calls.
const (
	ActionInstall = "astrid-install"
	ActionUpgrade = "astrid-upgrade"
)

// Policy says where the policy in force for a subject stands: its text is in
// the policy.changed event Changed.Seq.
type Policy struct {
	Subject string // "config"
	Changed Moment
	SHA256  []byte // of the text
}

// Totals count what has happened since the ledger's first event.
type Totals struct {
	Starts, Stops                            uint64 // of the daemon; Starts − Stops − (1 while it runs) is crashes
	Requested, Granted, Refused              uint64
	Started, Adopted                         uint64
	Exited, Aborted, Failed, Lost            uint64
	Released                                 uint64
	SignalsRequested, SignalsSent            uint64
	Cancels, CancelsFinished                 uint64
	Invocations, InvocationsFinished         uint64
	StopsRequested, TimersFired, OrphansSeen uint64
	Attached, WatchesArmed, WatchesDisarmed  uint64
	StdinsClosed                             uint64
}

// Refusal is how often spawns were refused with one code.
type Refusal struct {
	Code  string
	Count uint64
}

// New returns the state before the first event.
func New() *State {
	return &State{
		handles:  map[ulid.ULID]*Handle{},
		cancels:  map[ulid.ULID]*Cancel{},
		capsules: map[string]*Capsule{}, installed: map[string]*Installed{},
		policies: map[string]*Policy{},
		refused:  map[string]uint64{},
		derived:  newDerived(),
	}
}

// Seq returns the seq of the last event applied, 0 before the first.
func (s *State) Seq() uint64 { return s.seq }

// OrderTime returns the highest order time seen, in ms since 1970.
func (s *State) OrderTime() uint64 { return s.order }

// BootID returns the boot id of the last event that carries one.
func (s *State) BootID() [16]byte { return s.bootID }

// Run returns the newest run of the daemon, and false before the first.
func (s *State) Run() (Run, bool) {
	if s.run == nil {
		return Run{}, false
	}
	return *s.run, true
}

// Totals returns the counts since the ledger's first event.
func (s *State) Totals() Totals { return s.totals }

// Refusals returns the refusals by code, sorted by code.
func (s *State) Refusals() []Refusal {
	out := make([]Refusal, 0, len(s.refused))
	for _, code := range sortedKeys(s.refused) {
		out = append(out, Refusal{code, s.refused[code]})
	}
	return out
}

// Handle returns a handle that is not released.
func (s *State) Handle(id ulid.ULID) (*Handle, bool) {
	h, ok := s.handles[id]
	return h, ok
}

// ByProcessID returns the unreleased persistent process whose id has this keyed
// hash. The hash is all that a ledger holds of an id.
func (s *State) ByProcessID(hash []byte) (*Handle, bool) {
	h, ok := s.derived.ids[string(hash)]
	return h, ok
}

// Handles returns all handles that are not released, sorted by id.
func (s *State) Handles() []*Handle {
	out := make([]*Handle, 0, len(s.handles))
	for _, h := range s.handles {
		out = append(out, h)
	}
	return sortHandles(out)
}

// LastSeq returns the seq of the newest event of a handle, 0 if the state does
// not hold it.
func (s *State) LastSeq(handle ulid.ULID) uint64 {
	if h := s.handles[handle]; h != nil {
		return h.LastSeq
	}
	return 0
}

// Cancel returns an open cancel.
func (s *State) Cancel(id ulid.ULID) (*Cancel, bool) {
	c, ok := s.cancels[id]
	return c, ok
}

// Cancels returns the open cancels in the order they were requested.
func (s *State) Cancels() []*Cancel {
	out := make([]*Cancel, 0, len(s.cancels))
	for _, c := range s.cancels {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *Cancel) int { return cmp.Compare(a.Requested.Seq, b.Requested.Seq) })
	return out
}

// Invocations returns the open invocations in the order they began.
func (s *State) Invocations() []*Invocation { return slices.Clone(s.invocations) }

// Capsule returns a capsule that is loaded.
func (s *State) Capsule(name string) (*Capsule, bool) {
	c, ok := s.capsules[name]
	return c, ok
}

// Capsules returns the loaded capsules, sorted by name.
func (s *State) Capsules() []*Capsule {
	out := make([]*Capsule, 0, len(s.capsules))
	for _, name := range sortedKeys(s.capsules) {
		out = append(out, s.capsules[name])
	}
	return out
}

// Installed returns for which of its modules a capsule was set up, and false if
// it never was.
func (s *State) Installed(name string) (*Installed, bool) {
	i, ok := s.installed[name]
	return i, ok
}

// Policies returns where each subject's policy in force stands, sorted by
// subject.
func (s *State) Policies() []*Policy {
	out := make([]*Policy, 0, len(s.policies))
	for _, subject := range sortedKeys(s.policies) {
		out = append(out, s.policies[subject])
	}
	return out
}

// Clone returns a state of its own that is equal byte for byte. It takes time
// in proportion to the handles held.
func (s *State) Clone() *State {
	c := *s
	if s.run != nil {
		run := *s.run
		c.run = &run
	}
	c.handles = make(map[ulid.ULID]*Handle, len(s.handles))
	for id, h := range s.handles {
		c.handles[id] = h.Clone()
	}
	c.cancels = make(map[ulid.ULID]*Cancel, len(s.cancels))
	for id, o := range s.cancels {
		cancel := *o
		cancel.Remaining = nil // rebuild fills it
		c.cancels[id] = &cancel
	}
	// What is below is never changed in place, only replaced.
	c.invocations = slices.Clone(s.invocations)
	c.capsules = cloneMap(s.capsules)
	c.installed = cloneMap(s.installed)
	c.policies = cloneMap(s.policies)
	c.refused = cloneMap(s.refused)
	c.rebuild()
	return &c
}
