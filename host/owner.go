package host

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// owner is the one goroutine that owns a handle, and what others may ask of
// it. It passes go, signals, timers and the exit in the order of the ledger.
type owner struct {
	h      *Host
	id     ulid.ULID
	scope  event.Scope // of the request
	tier   event.Tier
	orders event.Orders

	// kept is set for the persistent tier alone.
	kept *kept

	// adopted is true for a handle that an earlier run of the daemon began.
	adopted bool

	wake chan struct{} // capacity 1: something below mu has changed

	// running is closed once process.started is durable, or the handle has
	// ended without it. timedOut is closed once the lifetime's timer.fired
	// is. ended is closed once the outcome is durable, gone once the handle is
	// released and its directory deleted.
	running, timedOut, ended, gone chan struct{}

	// heard is closed once the caller of the spawn has its answer. The
	// directory is deleted after that: nobody waits for the disk.
	heard chan struct{}

	// mu guards what follows. It is held for moments, also by the committer
	// in onCommit: nothing blocks under it. The one act done under it is go,
	// a message to a socket: so a cancel is told of only before go is sent, in
	// which case it is not, or after.
	mu      sync.Mutex
	queue   []*order // requested signals in the order of the ledger
	urgent  []urgent // endings that could not be recorded first
	noGo    string   // why go must not be sent; empty: it may
	went    bool     // go was sent
	kill    string   // cause of a KILL that is wanted; empty: none
	release string   // why to release once ended; empty: somebody holds the handle
	grace   int64    // of the newest stop, ns

	cancelled bool // by a cancel that is not recorded yet

	disowned []uint64 // signals of a commit that failed and persisted, by seq

	// What follows belongs to the owner's goroutine.
	child     *act.Child
	notices   <-chan act.Notice
	alarms    []alarm
	started   *event.ProcessStarted // what the shim told, recorded or not
	acted     map[uint64]*order     // signals sent whose signal.sent is not recorded yet, by seq
	sent      []*order              // signals sent whose requesters are not told yet
	recorded  bool                  // the commit of the outcome had events: nobody was faster
	closing   bool                  // end has begun: nothing is left to be sent a signal
	killed    bool                  // the wanted KILL was ordered
	killedFor map[string]bool       // causes, and their cancels, whose KILL after the grace was ordered
	leaving   bool                  // a release is being recorded
	finished  bool                  // released
	takenBack bool                  // the directory went with an abandoned child

	// owed are bodies that an emergency kept from being recorded in time; they
	// go with the outcome.
	owed []event.Body

	// drainMu serialises readers of the rings, which are drained once. It is
	// held for a read of at most two rings.
	drainMu sync.Mutex
	takers  int // who waits with output; under drainMu

	// changed notifies of the end.
	changed poll.Notifier

	// released is true once the release is durable.
	released atomic.Bool

	// unrecorded is true while the end is known and not durable.
	unrecorded atomic.Bool

	// What follows is written before ended is closed and read after.
	outcome outcome
}

// outcome is how a handle ended.
type outcome struct {
	exit           *event.Exit // nil unless process.exited
	cause          string
	err            *Error // what to tell where there is no exit
	stdout, stderr []byte // of a sync spawn: all that was kept
}

func (h *Host) newOwner(id ulid.ULID, scope event.Scope, tier event.Tier, orders event.Orders) *owner {
	return &owner{
		h: h, id: id, scope: scope, tier: tier, orders: orders,
		wake: make(chan struct{}, 1), running: make(chan struct{}), timedOut: make(chan struct{}),
		ended: make(chan struct{}), gone: make(chan struct{}), heard: make(chan struct{}), acted: map[uint64]*order{},
		killedFor: map[string]bool{},
	}
}

// prepared is what Prepare gave.
type prepared struct {
	child *act.Child
	err   error
}

// run takes a granted handle from its decision to its release.
//
// A crash after the decision and before go leaves a directory and a shim that
// runs nothing: recovery's row "decided, no go" aborts the spawn.
func (o *owner) run(ctx context.Context, decided *ledger.Receipt, ready <-chan prepared) {
	defer o.finish()
	p := <-ready
	if p.err != nil {
		o.abort("shim-not-ready", p.err.Error())
		return
	}
	o.child = p.child
	o.h.at("before-go")
	reason, err := o.sendGo(ctx, decided)
	if reason != "" {
		o.abort(reason, "")
		return
	}
	// A crash here leaves a program that runs, or ran, and a decision without
	// process.started: recovery takes it in from the shim's files.
	crashpoint.Here("daemon.spawn.go")
	o.h.at("after-go")
	if err != nil {
		o.h.log.Warn("go was not taken", "handle", o.id, "error", err)
	}
	o.loop()
}

// sendGo is the act that lets the program run, unless somebody has left or
// forbidden it.
func (o *owner) sendGo(ctx context.Context, decided *ledger.Receipt) (whyNot string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.noGo != "":
		return o.noGo, nil
	case ctx.Err() != nil:
		return "caller-gone", nil
	}
	o.h.acted("go")
	o.went = true
	o.notices = o.child.Notices() // before go: no exit can be missed
	return "", o.child.Go(decided)
}

// loop runs until the handle is released, or the host closes and leaves the
// process to its shim.
func (o *owner) loop() {
	for {
		o.carryOut()
		o.carryOutUrgent()
		o.followUp()
		if o.finished {
			return
		}
		o.announce()
		if o.h.ctx.Err() != nil {
			return
		}
		timer := o.nextAlarm()
		select {
		case <-o.wake:
		case n, ok := <-o.notices:
			o.notice(n, ok)
		case <-timer.C:
			o.ringAlarms()
		case <-o.inputDrained():
			o.publish("stdin-drained", nil)
		case <-o.h.ctx.Done():
			return
		}
		timer.Stop()
	}
}

// record is Host.record for the owner's goroutine. While the ledger cannot
// commit, signals that it holds are sent, and a process that still runs can be
// ended all the same.
func (o *owner) record(fn decision) (*ledger.Commit, error) {
	return o.h.recordMeanwhile(fn, func(retry <-chan time.Time, again <-chan struct{}) {
		timer := o.nextAlarm()
		defer timer.Stop()
		select {
		case <-again:
		case <-retry:
		case <-o.h.ctx.Done():
		case <-o.wake:
			if !o.closing {
				// Their receipts are there, so they are durable. What became
				// of them is recorded by whoever comes next.
				o.sendOrders()
			}
			o.carryOutUrgent()
			o.followUp()
		case <-timer.C:
			o.ringAlarms()
		}
	})
}

// followUp does what others wished for: a KILL, and the release at the end.
func (o *owner) followUp() {
	o.mu.Lock()
	kill, release := o.kill, o.release
	o.mu.Unlock()
	if o.over() {
		if release != "" && !o.leaving && !o.finished {
			o.releaseNow(release)
		}
		return
	}
	if kill != "" && !o.killed && !o.closing {
		o.killed = true
		o.orderKill(kill)
	}
}

// over tells whether the outcome is durable.
func (o *owner) over() bool {
	select {
	case <-o.ended:
		return true
	default:
		return false
	}
}

// poke has the owner look at what was changed under mu.
func (o *owner) poke() {
	select {
	case o.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// forbidGo keeps go from being sent, and tells whether it did: it is false if
// go was sent before. The committer calls it for cancels.
func (o *owner) forbidGo(reason string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.noGo == "" {
		o.noGo = reason
	}
	return !o.went
}

// stopping takes in a stop from its event: the grace, and that what was stopped
// by its id or by an operator is released with its exit.
func (o *owner) stopping(b *event.StopRequested) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.grace = b.GraceNano
	if o.kept != nil && releasesWith(b.Reason) && o.release == "" {
		o.release = "stopped"
	}
}

// letGo says that nobody holds the handle any more: it is released once it has
// ended, and with a cause it is ended now. The first reason stays.
func (o *owner) letGo(release, killCause string) {
	o.mu.Lock()
	if o.release == "" {
		o.release = release
	}
	if o.kill == "" {
		o.kill = killCause
	}
	o.mu.Unlock()
	o.poke()
}

// finish ends the owner: nothing finds it any more.
func (o *owner) finish() {
	o.h.unregister(o)
	o.mu.Lock()
	queue := o.queue
	o.queue = nil
	o.mu.Unlock()
	for _, r := range queue {
		r.settle(false, "the process has ended")
	}
	if o.over() {
		o.tellSent()
	}
	o.listen(false)
	o.letChildGo()
	closeOnce(o.gone)
}

// letChildGo closes our end of the shim, which sees what it would see if the
// daemon had died.
func (o *owner) letChildGo() {
	if o.child == nil {
		return
	}
	o.drainMu.Lock()
	defer o.drainMu.Unlock()
	if err := o.child.Close(); err != nil {
		o.h.log.Warn("a shim could not be let go", "handle", o.id, "error", err)
	}
}

// closeOnce closes a channel that only the owner's goroutine closes.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}
