package capsule

import (
	"context"
	"errors"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// Due is what is to be done about a capsule before it is served.
type Due int

// The kinds of Due.
const (
	DueNothing Due = iota
	DueInstall     // it was never installed: its astrid-install is called
	DueUpgrade     // it was installed with another module: its astrid-upgrade is
)

// Bounds of the wait before a background run that failed is begun again. It
// doubles with each failure, and one that ran for steady has not failed.
const (
	restartFirst = time.Second
	restartMost  = 5 * time.Minute
	steady       = time.Minute
)

func restartAfter(failures int) time.Duration {
	return min(restartMost, restartFirst<<min(failures-1, 16))
}

// hostActor is the daemon as the one that asks.
var hostActor = event.Actor{Kind: event.ActorHost}

// Start takes a capsule into service, and returns at once: what is due is
// called, then its run if it has one, and messages that are published from now on
// on the topics of its handlers are routed to them. Invocations wait until what is due is over. Its manifest
// must be in force by then.
func (r *Runner) Start(c *Capsule, d Due) {
	over := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.setUp[c.Name] = over
	r.running.Go(func() {
		r.install(c, d)
		close(over)
		if c.Forms.Run {
			r.background(c)
		}
	})
	if c.Forms.Hook && r.opts.Bus != nil {
		rt := r.newRouter(c)
		r.running.Go(rt.route)
	}
}

// never is ready at all times.
var never = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// ready returns what is closed as soon as the job may be done.
func (r *Runner) ready(j job) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if over := r.setUp[j.Capsule]; over != nil && j.export != installExport && j.export != upgradeExport {
		return over
	}
	return never
}

// install calls what is due, once. A capsule whose setup fails is served all the
// same; the setup is due again at the next start, as after a crash before its
// end was recorded.
func (r *Runner) install(c *Capsule, d Due) {
	export := ""
	switch {
	case d == DueInstall && c.Forms.Install:
		export = installExport
	case d == DueUpgrade && c.Forms.Upgrade:
		export = upgradeExport
	default:
		return
	}
	if _, err := r.own(c, export, r.opts.Deadline); err != nil && r.closing.Err() == nil {
		r.opts.Log.Error("a capsule's setup has failed; the next start tries again", "capsule", c.Name, "export", export, "error", err)
	}
}

// own calls an export on the daemon's own behalf.
func (r *Runner) own(c *Capsule, export string, deadline time.Duration) (Answer, error) {
	return r.do(context.Background(), c, job{export: export, deadline: deadline, Invocation: Invocation{
		Principal: r.opts.SystemPrincipal, Capsule: c.Name, Action: export, CallID: ulid.Make().String(), Actor: hostActor,
	}})
}

// background keeps a capsule's run going until it returns, is cancelled, or the
// Runner is closed. After a trap it is begun again in a new instance.
func (r *Runner) background(c *Capsule) {
	for failures := 0; ; {
		began := time.Now()
		a, err := r.own(c, runExport, 0)
		var call *CallError
		switch {
		case r.closing.Err() != nil, errors.Is(err, ErrClosed):
			return
		case err == nil:
			r.opts.Log.Info("a background run has returned", "capsule", c.Name, "outcome", a.Outcome)
			return
		case errors.As(err, &call) && call.Outcome == OutcomeCancelled:
			r.opts.Log.Warn("a background run was cancelled; the daemon's next start begins it again", "capsule", c.Name)
			return
		}
		if time.Since(began) >= steady {
			failures = 0
		}
		failures++
		wait := r.opts.restart(failures)
		r.opts.Log.Error("a background run has failed and is begun again", "capsule", c.Name, "wait", wait, "error", err)
		select {
		case <-time.After(wait):
		case <-r.closing.Done():
			return
		}
	}
}
