package host

import (
	"context"
	"errors"
	"math"
	"os"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// forever is the patience of a look that goes on in the background.
const forever = time.Duration(math.MaxInt64)

// settle brings one handle to where its process is. Where a shim neither leaves
// nor answers, it is killed by identity after the bound, and if it is not
// proven dead then, it stays counted and is watched for as long as it takes.
func (r *recovery) settle(j *job, o *owner, handle *projector.Handle, f *act.Found) error {
	w := waiter{bound: leaveBound, began: time.Now()}
	var unseen error // why the last look saw nothing; f is what was seen before
	for killed := false; ; {
		step := r.step(handle, f)
		if unseen != nil {
			step = rowUnproven
		}
		switch step {
		case rowWait, rowUnproven:
		case rowAdopt:
			child, err := r.takeIn(o)
			if err == nil {
				r.adopt(j, o, handle, child)
				return nil
			}
			r.h.log.Warn("a living shim did not answer", "handle", o.id, "error", err)
		default:
			r.carryOut(j, o, handle, f, step)
			return nil
		}
		switch {
		case f != nil && !killed && (w.over() || r.overdue(o)):
			if o.kept != nil && w.bound < keptPatience && !r.overdue(o) {
				// Its work may be worth the patience.
				r.h.log.Warn("a persistent process's shim does not answer; it is given time", "handle", o.id, "time", keptPatience)
				w.bound = keptPatience
				break
			}
			killed = true
			r.killFound(o, *f)
			w.began, w.bound = time.Now(), leaveBound
		case w.over() && w.bound < forever:
			r.h.log.Error("a process is not proven dead and does not answer; it stays counted", "handle", o.id)
			w.bound = forever
		}
		if err := w.pause(r.h.ctx); err != nil {
			r.h.unregister(o)
			return err
		}
		f, unseen = r.lookAgain(o.id, f)
	}
}

// step is the row for a handle, with what match cannot know.
func (r *recovery) step(handle *projector.Handle, f *act.Found) row {
	step := match(handle, f, handle.Decided.BootID == r.boot)
	switch {
	case step == rowNoTrace && !(r.h.hands.Gone(handle.Shim) && r.h.hands.Gone(handle.Program)):
		// Somebody deleted the directory under a living shim.
		return rowUnproven
	case step == rowAbort && f == nil && r.copied:
		// That there is no directory proves that go was not sent only where
		// it was not lost.
		return rowMaybe
	}
	return step
}

// overdue tells whether the process of a silent shim is to be killed by now,
// because somebody has ordered its end and the grace is over.
func (r *recovery) overdue(o *owner) (yes bool) {
	r.h.live.View(func(s *projector.State) {
		h, ok := s.Handle(o.id)
		if !ok {
			return
		}
		for _, ob := range h.Obligations {
			_, grace := gentleOf(&ob)
			yes = yes || ob.Opened.BootID == r.boot && ob.Opened.Boot+grace <= boottime()
		}
		for _, sig := range h.Signals {
			yes = yes || sig.Signal == uint32(unix.SIGKILL) && sig.Target == event.TargetTree
		}
	})
	return yes
}

// takeIn connects to a living shim, which answers at once if it ever does.
func (r *recovery) takeIn(o *owner) (*act.Child, error) {
	ctx, cancel := context.WithTimeout(r.h.ctx, leaveBound)
	defer cancel()
	return r.h.hands.Adopt(ctx, o.id)
}

// waiter paces looks at a directory: often at first, then once a second.
type waiter struct {
	began time.Time
	bound time.Duration
	next  time.Duration
}

func (w *waiter) over() bool { return time.Since(w.began) > w.bound }

func (w *waiter) pause(ctx context.Context) error {
	w.next = min(max(w.next*2, lookPause), time.Second)
	select {
	case <-time.After(w.next):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lookAgain looks again; nil says that there is no directory. A directory that
// cannot be looked at, as with no descriptors left, is no proof of anything:
// then it returns what was seen before, and why.
func (r *recovery) lookAgain(id ulid.ULID, before *act.Found) (*act.Found, error) {
	var handle projector.Handle
	f, err := r.h.hands.Look(id)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		r.h.log.Warn("a process directory could not be looked at", "handle", id, "error", err)
		return before, err
	}
	r.h.live.View(func(s *projector.State) {
		if h, held := s.Handle(id); held {
			handle = projector.Handle{Started: h.Started, Decided: h.Decided, Shim: h.Shim, Program: h.Program}
		}
	})
	r.correct(&f, &handle)
	return &f, nil
}

// carryOut does what the row says for a handle that no process stands behind
// any more. What its creator may still ask for is kept on.
func (r *recovery) carryOut(j *job, o *owner, handle *projector.Handle, f *act.Found, step row) {
	if o.kept != nil {
		r.reread(o, step)
	}
	r.settleEnded(j, o, handle, f, step)
	if o.kept != nil && !o.finished {
		r.retain(o)
		return
	}
	o.finish()
}

// reread opens the output that a process left, before anybody can ask for it.
func (r *recovery) reread(o *owner, step row) {
	switch step {
	case rowExit, rowShimDead, rowMaybe, rowReboot, rowOrphan, rowRetain:
	default:
		return // it has none, or is not done with it
	}
	child, err := r.h.hands.Retained(o.id)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			r.h.log.Warn("the output of an ended process cannot be read", "handle", o.id, "error", err)
		}
		return
	}
	o.child = child
}

// settleEnded records what the row says.
func (r *recovery) settleEnded(j *job, o *owner, handle *projector.Handle, f *act.Found, step row) {
	if f != nil && f.Started != nil {
		o.started = f.Started
	}
	switch step {
	case rowAbort:
		reason := "daemon-died"
		if r.inProcess {
			reason = "commit-failed"
		}
		o.abort(reason, "go was not sent")
		r.countEnd(o, &r.n.Aborted)
	case rowFail:
		o.onFailed(f.Failed)
		r.countEnd(o, &r.n.Failed)
	case rowExit:
		r.exited(j, o, *f)
	case rowShimDead:
		r.lose(o, "shim-killed", "found dead, without a record of the exit")
	case rowNoTrace:
		r.lose(o, "no-directory", "found dead, and its directory is gone, which would tell of the exit", &r.n.LostNoDirectory)
	case rowMaybe:
		r.lose(o, "may-have-run", "nothing tells whether the program ran", &r.n.LostMaybe)
	case rowReboot:
		r.lose(o, "reboot", "the machine was started again; whether and how it ended before that is unknown", &r.n.LostReboot)
	case rowOrphan, rowRelease, rowRetain:
		r.endedBefore(j, o, handle, f)
	}
}

// sendAway ends the shim of a handle that has ended. One that has told of the
// exit is about to go by itself: a daemon may have died between the two.
func (r *recovery) sendAway(j *job, f act.Found) {
	if f.Exit != nil {
		last, there := r.awaitDead(f, leaveBound)
		if !there || last.Dead {
			return
		}
	}
	r.endShim(j, f, "its handle has ended")
}

func (r *recovery) lose(o *owner, reason, detail string, figures ...*uint32) {
	o.lose(&event.ProcessLost{Reason: reason, Detail: detail})
	r.countEnd(o, append(figures, &r.n.Lost)...)
}

// exited takes in an exit record that was written while no daemon looked. The
// shim that wrote it may still be on its way out: then the handle is released
// only once it has left, so that it is found again if it never does.
func (r *recovery) exited(j *job, o *owner, f act.Found) {
	f, there := r.awaitDead(f, leastBound)
	lives := there && !f.Dead
	var release string
	if lives {
		release = o.holdBack()
	}
	if o.started == nil {
		// The record of the start is missing (it could not be written), but
		// that of the exit proves that there was one.
		o.started = &event.ProcessStarted{Shim: f.Shim, Isolation: f.Isolation}
	}
	o.onExited(f.Exit)
	r.countEnd(o, &r.n.Exited)
	if !lives || o.finished {
		return
	}
	// A crash from here on leaves an ended handle whose shim lives: the next
	// recovery sends it away, and releases the handle.
	j.match()
	r.sendAway(j, f)
	if release != "" {
		o.releaseNow(release)
	}
}

// holdBack takes the reason of a release back, until its time has come.
func (o *owner) holdBack() (release string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	release, o.release = o.release, ""
	return release
}

// awaitDead looks until the shim has left, for bound at most. there is false
// if the directory is gone.
func (r *recovery) awaitDead(f act.Found, bound time.Duration) (last act.Found, there bool) {
	for w := (waiter{bound: bound, began: time.Now()}); ; {
		again, err := r.lookAgain(f.ID, &f)
		if err == nil && again == nil {
			return f, false
		}
		if f = *again; f.Dead || w.over() || w.pause(r.h.ctx) != nil {
			return f, true
		}
	}
}

// endedBefore releases a handle that had ended before, once its shim is gone,
// unless its creator may still ask for it: nobody can hold an ephemeral one after
// a restart.
func (r *recovery) endedBefore(j *job, o *owner, handle *projector.Handle, f *act.Found) {
	ephemeral := projector.Ephemeral(handle.Tier)
	if ephemeral {
		r.count(&r.n.Released)
	} else {
		r.count(&r.n.Retained)
	}
	if f != nil && !f.Dead {
		r.sendAway(j, *f)
	}
	if ephemeral {
		o.releaseNow("recovered")
	}
}

// retain keeps a process of the persistent tier that has ended and is not
// released: its output can be read, and its retention goes on.
func (r *recovery) retain(o *owner) {
	var handle *projector.Handle
	r.h.live.View(func(s *projector.State) {
		if h, ok := s.Handle(o.id); ok && h.Phase.Terminal() {
			handle = h.Clone()
		}
	})
	if handle == nil {
		o.finish() // its end could not be recorded: the host closes
		return
	}
	if !o.over() {
		o.outcome = outcomeOf(handle)
		close(o.running)
		close(o.ended)
		o.retain()
	}
	r.h.work.Go(func() {
		defer o.finish()
		o.loop()
	})
}

// outcomeOf is the outcome that the ledger tells of.
func outcomeOf(handle *projector.Handle) outcome {
	out := outcome{exit: handle.Exit, cause: handle.Cause}
	if handle.Exit == nil {
		out.err = errorf(Unknown, "the process was lost: %s", handle.Detail)
	}
	return out
}
