package host

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// Options says what a Host works with.
type Options struct {
	Live   *projector.Live // required: where decisions are taken
	Hands  *act.Hands      // required: of the same ledger
	Policy *policy.Policy  // required

	// Workspaces is the directory that holds <principal>/<capsule>/ for each
	// pair. Required.
	Workspaces string

	// RedactionKey is the key of the digests that stand in the ledger for
	// what is never stored: stdin, payloads, cut arguments. Required.
	RedactionKey []byte

	// ProcessIDKey is the key that the ids of persistent processes are derived
	// by: with another one, nobody's ids are known any more. Required.
	ProcessIDKey []byte

	// Bus is where the lifecycle of watched processes is published; nil means
	// nowhere.
	Bus *ipc.Bus

	// Isolation is what programs run in: "pidns" or "none". Required.
	Isolation string

	// Unavailable is why nothing can be run in that isolation here; every
	// spawn is refused with it. Empty: all is well.
	Unavailable string

	// Lookup reads the daemon's environment; nil means os.LookupEnv.
	Lookup func(key string) (value string, set bool)

	// Log gets what an operator should know; nil means nowhere.
	Log *slog.Logger

	// trace gets a line for each append, sync and act, and for what callers
	// are told, in order; tests compare them.
	trace func(line string)

	// deciding is called, with trace, in the closure of each decision that has
	// events, with the function that asked for it.
	deciding func(site string)

	// passing is called at named places where tests wish to stand.
	passing func(point string)

	// rides replaces startedRides in tests that must not depend on how fast
	// the machine is.
	rides time.Duration

	// patience replaces startBound, likewise.
	patience time.Duration
}

// mostPreparing is how many shims are started at a time: far more than the
// cores of a machine keep busy, and few enough for its memory.
const mostPreparing = 64

// Host is the process host. It is safe for concurrent use.
type Host struct {
	live        *projector.Live
	hands       *act.Hands
	policy      *policy.Policy
	workspaces  string
	key         []byte
	ids         processIDs
	bus         *ipc.Bus
	isolation   string
	unavailable string
	lookup      func(string) (string, bool)
	log         *slog.Logger
	trace       func(string)
	deciding    func(string)
	passing     func(string)
	rides       time.Duration
	patience    time.Duration
	orphan      int64 // orphanNano, but in tests

	// mu guards what follows. It is held for map accesses only, also by the
	// committer in onCommit, so nothing may block under it.
	mu          sync.Mutex
	owners      map[ulid.ULID]*owner
	invocations map[*Invocation]struct{}
	closing     string        // why no more spawns are taken; empty: they are
	reopened    chan struct{} // closed and replaced when the ledger goes on after a failure
	lateCancels []lateCancel  // that could not be recorded
	unclosed    []*owner      // whose input is recorded as closed by a commit that failed and persisted

	// lateMu is held while what was done in an emergency is recorded, which
	// takes as long as the ledger cannot commit.
	lateMu sync.Mutex

	// preparing holds a token for each shim that is being started.
	preparing chan struct{}

	// recoverMu is held by one run of the recovery table, until what it found is
	// recorded. What it began may go on after that: leftovers has the names of
	// directories that are being ended, recovery the run itself.
	recoverMu sync.Mutex
	leftovers sync.Map
	recovery  atomic.Pointer[recovery]

	// stop ends the background work at Close; work waits for it.
	stop context.CancelFunc
	ctx  context.Context
	work sync.WaitGroup
}

// New returns a Host that takes spawns. Handles of an earlier run are not taken
// up until Recover is called, which must come before the first spawn. Close it
// in the end.
func New(o Options) (*Host, error) {
	if o.Live == nil || o.Hands == nil || o.Policy == nil || o.Workspaces == "" || len(o.RedactionKey) == 0 || len(o.ProcessIDKey) == 0 {
		return nil, errors.New("host: Live, Hands, Policy, Workspaces, RedactionKey and ProcessIDKey are required")
	}
	if o.Isolation != "pidns" && o.Isolation != "none" {
		return nil, fmt.Errorf("host: isolation %q: want pidns or none", o.Isolation)
	}
	if o.Lookup == nil {
		o.Lookup = os.LookupEnv
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.rides == 0 {
		o.rides = startedRides
	}
	if o.patience == 0 {
		o.patience = startBound
	}
	h := &Host{
		live: o.Live, hands: o.Hands, policy: o.Policy, workspaces: o.Workspaces, key: o.RedactionKey,
		ids: processIDs{o.ProcessIDKey}, bus: o.Bus, isolation: o.Isolation, unavailable: o.Unavailable, lookup: o.Lookup, log: o.Log,
		trace: o.trace, deciding: o.deciding, passing: o.passing, rides: o.rides, patience: o.patience, orphan: orphanNano,
		owners: map[ulid.ULID]*owner{}, invocations: map[*Invocation]struct{}{}, reopened: make(chan struct{}),
		preparing: make(chan struct{}, mostPreparing),
	}
	h.ctx, h.stop = context.WithCancel(context.Background())
	h.live.OnCommit(h.onCommit)
	h.live.OnSurvived(h.onSurvived)
	h.work.Go(h.mendLedger)
	return h, nil
}

// Stop refuses whatever is asked from now on, and has everybody who waits in
// the Host, for the ledger too, give up. It does not block, and may be called
// more than once. It ends no process: what runs is left to its shim, as in a
// crash.
func (h *Host) Stop() {
	h.mu.Lock()
	if h.closing == "" {
		h.closing = "the daemon is stopping"
	}
	h.mu.Unlock()
	h.stop()
}

// Close is Stop, and blocks until the Host's own goroutines are gone. Whoever
// else calls into the Host must have left by then. After Shutdown nothing but
// persistent processes runs any more.
func (h *Host) Close() {
	h.Stop()
	h.work.Wait()
}

// stopped is the answer to a call that the Host can no longer finish.
func (h *Host) stopped() *Error { return errorf(Unknown, "the daemon is stopping") }

// onCommit runs in the committer after each durable batch, before anybody is
// told: it hands each handle's events to the handle's owner in ledger order.
func (h *Host) onCommit(es []*event.Event) {
	if h.trace != nil {
		h.traceEvents("sync", es)
	}
	for _, e := range es {
		switch b := e.Body.(type) {
		case *event.SignalRequested:
			if o := h.owner(e.Handle); o != nil && !b.Late {
				o.enqueue(e, b)
			}
		case *event.StopRequested:
			if o := h.owner(e.Handle); o != nil {
				o.stopping(b)
			}
		case *event.WatchArmed:
			if o := h.owner(e.Handle); o != nil {
				o.arm(b.Suffix)
			}
		case *event.WatchDisarmed:
			if o := h.owner(e.Handle); o != nil {
				o.disarm(b)
			}
		case *event.CancelRequested:
			// Here and not by whoever asked: a spawn of the same call that is
			// decided after the cancel, which does not name it, finds its
			// caller gone before it can send go.
			h.softCancel(CancelRequest{Principal: e.Principal, Capsule: e.Capsule, CallIDs: b.CallIDs, Reason: b.Reason})
			for _, raw := range b.Handles {
				if o := h.owner(ulid.ULID(raw)); o != nil {
					o.forbidGo("cancelled")
				}
			}
		}
	}
}

func (h *Host) owner(id ulid.ULID) *owner {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.owners[id]
}

// register makes the owner known, before its decision is submitted: whatever
// the ledger says of the handle from then on finds it. It fails with why no
// spawn is taken any more.
func (h *Host) register(o *owner) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing != "" {
		return errors.New(h.closing)
	}
	h.owners[o.id] = o
	return nil
}

func (h *Host) unregister(o *owner) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.owners, o.id)
}

// ownersOf returns the owners that match, in no order.
func (h *Host) ownersOf(match func(*owner) bool) []*owner {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*owner
	for _, o := range h.owners {
		if match(o) {
			out = append(out, o)
		}
	}
	return out
}

// at marks a place for tests.
func (h *Host) at(point string) {
	if h.passing != nil {
		h.passing(point)
	}
}

// told traces what a caller is told.
func (h *Host) told(format string, args ...any) {
	if h.trace != nil {
		h.trace("tell " + fmt.Sprintf(format, args...))
	}
}

// acted traces an act.
func (h *Host) acted(format string, args ...any) {
	if h.trace != nil {
		h.trace("act " + fmt.Sprintf(format, args...))
	}
}

func (h *Host) traceEvents(what string, es []*event.Event) {
	line := what
	for _, e := range es {
		line += " " + e.Kind().String()
	}
	h.trace(line)
}

// newID returns a fresh handle or cancel id: the time now, and 80 random bits.
func newID() ulid.ULID {
	return ulid.MustNew(ulid.Now(), rand.Reader)
}

// digest is the keyed digest by which the ledger can tell equal bytes from
// different ones, and nobody without the key can guess them.
func (h *Host) digest(write func(w io.Writer)) []byte {
	mac := hmac.New(sha256.New, h.key)
	write(mac)
	return mac.Sum(nil)
}

// hostActor is the daemon itself as an actor.
var hostActor = event.Actor{Kind: event.ActorHost}
