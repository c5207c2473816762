package host

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// Bounds of recovery.
const (
	// leaveBound is how long a shim may take to leave by itself, once the
	// daemon that it waited for is gone, or to answer: it needs milliseconds.
	leaveBound = 2 * time.Second

	// keptPatience is how long the silent shim of a persistent process is
	// given before it is killed: longer than a busy machine is busy with a
	// restart.
	keptPatience = time.Minute

	// lookPause is the pause between two looks at a directory.
	lookPause = 5 * time.Millisecond
)

// Recover matches the ledger with what is on disk after a start: every handle
// that is not released, and every process directory. It appends before it acts,
// so it may crash anywhere and run again. It returns what it found, which is
// also the last event it writes. It comes after daemon.started, before the
// first spawn.
//
// It blocks until the ledger holds the first step of what becomes of each, but
// for no more than a second or so where shims do not answer. What takes longer
// goes on in the background until Close; see Progress.
func (h *Host) Recover(ctx context.Context) (event.RecoveryFinished, error) {
	return h.recover(ctx, false)
}

// recovery is one run of the table.
type recovery struct {
	h     *Host
	boot  [16]byte
	began time.Time

	// inProcess is true after a failed commit: what has an owner is being
	// looked after already.
	inProcess bool

	// copied is true if ledger and disk are not of the same time: one of them
	// was restored from a copy, or lost.
	copied bool

	strays []string // names in processes/ that are no handle's

	turns chan struct{} // holds a token for each job that works
	jobs  []*job

	total, matched, settled atomic.Int64 // of the jobs, for Progress

	mu sync.Mutex // held for an increment
	n  event.RecoveryFinished
}

func (h *Host) recover(ctx context.Context, inProcess bool) (event.RecoveryFinished, error) {
	h.recoverMu.Lock()
	defer h.recoverMu.Unlock()
	r := &recovery{h: h, inProcess: inProcess, began: time.Now(), turns: make(chan struct{}, atOnce)}
	handles, found, err := r.look()
	if err != nil {
		return event.RecoveryFinished{}, err
	}
	if err := r.start(handles, found); err != nil {
		return event.RecoveryFinished{}, fmt.Errorf("recovery: %w", err)
	}
	// A crash from here on leaves a recovery that has begun: the next start
	// begins it again, and finds less to do.
	crashpoint.Here("recovery.started")
	if !inProcess {
		// What an earlier daemon did without a ledger comes before what it
		// led to.
		h.recordLate()
	}
	if err := r.settleAll(ctx, handles, found); err != nil {
		return event.RecoveryFinished{}, fmt.Errorf("recovery: %w", err)
	}
	crashpoint.Here("recovery.settled")
	done, err := r.finish()
	if err != nil {
		return event.RecoveryFinished{}, fmt.Errorf("recovery: %w", err)
	}
	crashpoint.Here("recovery.finished")
	return done, nil
}

// look reads both sides. In process, what has an owner is left out, and so is
// what had one just before: that owner may release it between our two looks.
func (r *recovery) look() (handles []*projector.Handle, found map[ulid.ULID]*act.Found, err error) {
	owned := map[ulid.ULID]bool{}
	r.addOwned(owned)
	list, err := r.h.hands.Scan()
	if err != nil {
		return nil, nil, fmt.Errorf("recovery: %w", err)
	}
	r.addOwned(owned)
	for _, handle := range r.h.live.Snapshot().Handles() {
		if !owned[handle.ID] {
			handles = append(handles, handle)
		}
	}
	found = map[ulid.ULID]*act.Found{}
	for i := range list {
		switch f := &list[i]; {
		case f.ID == (ulid.ULID{}):
			r.strays = append(r.strays, f.Name)
		case !owned[f.ID]:
			found[f.ID] = f
		}
	}
	return handles, found, nil
}

// addOwned adds what is being looked after already: in process only.
func (r *recovery) addOwned(owned map[ulid.ULID]bool) {
	if !r.inProcess {
		return
	}
	for _, o := range r.h.ownersOf(func(*owner) bool { return true }) {
		owned[o.id] = true
	}
}

// start records that the matching begins, and learns from the commit which
// boot this is.
func (r *recovery) start(handles []*projector.Handle, found map[ulid.ULID]*act.Found) error {
	body := &event.RecoveryStarted{Directories: uint32(len(found) + len(r.strays))}
	for _, handle := range handles {
		if handle.Phase.Live() {
			body.Handles++
		}
	}
	c, err := r.h.record(func(*projector.State, ledger.Header) ([]*event.Event, error) {
		return []*event.Event{{Scope: event.Scope{Actor: hostActor}, Body: body}}, nil
	})
	if err == nil {
		r.boot = c.Events[0].BootID
		r.compare(handles, found)
	}
	return err
}

// settleAll begins to settle every handle and every leftover, side by side, and
// waits until the ledger holds what becomes of each, or its first step.
func (r *recovery) settleAll(ctx context.Context, handles []*projector.Handle, found map[ulid.ULID]*act.Found) error {
	of := make([]*act.Found, len(handles))
	for i, handle := range handles {
		if of[i] = found[handle.ID]; of[i] != nil {
			r.correct(of[i], handle)
			delete(found, handle.ID)
		}
	}
	r.total.Store(int64(len(handles) + len(found) + len(r.strays)))
	r.h.recovery.Store(r)
	for i, handle := range handles {
		if o := r.take(handle); o != nil {
			r.begin(func(j *job) error { return r.settle(j, o, handle, of[i]) })
		} else {
			r.total.Add(-1) // a spawn in flight took it meanwhile
		}
	}
	for _, f := range found {
		r.begin(func(j *job) error { return r.leftover(f.Name, func() error { return r.orphan(j, *f) }) })
	}
	for _, name := range r.strays {
		r.begin(func(*job) error { return r.leftover(name, func() error { return r.stray(name) }) })
	}
	if err := r.await(ctx); err != nil {
		return err
	}
	return r.settleRest()
}

// take makes the owner of a handle, so that everything else finds it.
func (r *recovery) take(handle *projector.Handle) *owner {
	o := r.h.newOwner(handle.ID, handle.Scope(), handle.Tier, handle.Orders)
	o.adopted, o.kept = true, r.h.keepAgain(handle)
	close(o.heard) // nobody waits for it
	if projector.Ephemeral(handle.Tier) {
		o.release = "recovered" // its instance is gone
	} else if stop, ok := handle.Obligation("stop"); ok && releasesWith(stop.Reason) {
		o.release = "stopped" // with its exit, as without the restart
	}
	if handle.Watch != nil {
		o.arm(handle.Watch.Suffix)
	}
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	if r.h.owners[o.id] != nil {
		return nil
	}
	r.h.owners[o.id] = o
	return o
}

// settleRest ends what has no process: calls of a daemon that is gone, and
// cancels that wait for nobody.
func (r *recovery) settleRest() error {
	_, err := r.h.record(func(tip *projector.State, _ ledger.Header) (es []*event.Event, _ error) {
		if !r.inProcess {
			es = abandonedInvocations(tip, "daemon-restart", "the daemon ended before it returned")
		}
		for _, c := range tip.Cancels() {
			if len(c.Remaining) == 0 {
				es = append(es, cancelFinished(c))
			}
		}
		return es, nil
	})
	return err
}

// finish records what was found so far: what takes longer counts on in the
// background, for nobody.
func (r *recovery) finish() (event.RecoveryFinished, error) {
	r.mu.Lock()
	body := r.n
	r.mu.Unlock()
	body.Pending, body.Silent = r.unsettled()
	body.TookNano = time.Since(r.began).Nanoseconds()
	_, err := r.h.record(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		if run, ok := tip.Run(); !ok || !run.Recovering {
			return nil, nil
		}
		return []*event.Event{{Scope: event.Scope{Actor: hostActor}, Body: &body}}, nil
	})
	return body, err
}

// countEnd counts an outcome, if it was this run that recorded it.
func (r *recovery) countEnd(o *owner, figures ...*uint32) {
	if o.recorded {
		for _, f := range figures {
			r.count(f)
		}
	}
}

// count adds one to a figure of the result.
func (r *recovery) count(figure *uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*figure++
}
