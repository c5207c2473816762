package host

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// Bounds of recovery.
const (
	// leaveBound is how long a shim may take to leave by itself, once the
	// daemon that it waited for is gone: it needs milliseconds.
	leaveBound = 2 * time.Second

	// settleBound is how long recovery waits for a process that it has ended.
	// After it the start goes on, and the process's owner with it.
	settleBound = 5 * time.Second

	// keptPatience is how long the silent shim of a persistent process is
	// given before it is killed: longer than a busy machine is busy with a
	// restart.
	keptPatience = time.Minute

	// lookPause is the pause between two looks at a directory.
	lookPause = 5 * time.Millisecond

	// atOnce is how many handles are settled side by side: enough for their
	// commits to share transactions.
	atOnce = 64
)

// Recover matches the ledger with what is on disk after a start: every handle
// that is not released, and every process directory. It appends before it acts,
// so it may crash anywhere and run again. It returns what it found, which is
// also the last event it writes. It comes after daemon.started, before the
// first spawn.
func (h *Host) Recover(ctx context.Context) (event.RecoveryFinished, error) {
	return h.recover(ctx, false)
}

// recovery is one run of the table.
type recovery struct {
	h    *Host
	boot [16]byte

	// inProcess is true after a failed commit: what has an owner is being
	// looked after already.
	inProcess bool

	strays []string // names in processes/ that are no handle's

	mu sync.Mutex // held for an increment
	n  event.RecoveryFinished
}

func (h *Host) recover(ctx context.Context, inProcess bool) (event.RecoveryFinished, error) {
	h.recoverMu.Lock()
	defer h.recoverMu.Unlock()
	began := time.Now()
	r := &recovery{h: h, inProcess: inProcess}
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
	done, err := r.finish(time.Since(began))
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
	}
	return err
}

// settleAll settles every handle and every directory, side by side.
func (r *recovery) settleAll(ctx context.Context, handles []*projector.Handle, found map[ulid.ULID]*act.Found) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, handle := range handles {
		f := found[handle.ID]
		delete(found, handle.ID)
		o := r.take(handle)
		if o == nil {
			continue // a spawn in flight took it meanwhile
		}
		g.Go(func() error { return r.settle(ctx, o, handle, f, leaveBound) })
	}
	for _, f := range found {
		g.Go(func() error { return r.orphan(ctx, *f) })
	}
	for _, name := range r.strays {
		g.Go(func() error { return r.stray(name) })
	}
	if err := g.Wait(); err != nil {
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
func (r *recovery) finish(took time.Duration) (event.RecoveryFinished, error) {
	r.mu.Lock()
	body := r.n
	r.mu.Unlock()
	body.TookNano = took.Nanoseconds()
	_, err := r.h.record(func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		if run, ok := tip.Run(); !ok || !run.Recovering {
			return nil, nil
		}
		return []*event.Event{{Scope: event.Scope{Actor: hostActor}, Body: &body}}, nil
	})
	return body, err
}

// countEnd counts an outcome, if it was this run that recorded it.
func (r *recovery) countEnd(o *owner, figure *uint32) {
	if o.recorded {
		r.count(figure)
	}
}

// count adds one to a figure of the result.
func (r *recovery) count(figure *uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*figure++
}
