package crashmatrix

import (
	"context"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/internal/worldcheck"
	"github.com/astrid-os/processledger/ledger/event"
)

// cell is one cell of the matrix: a program of a tier, in a state, with an
// obligation on it.
type cell struct {
	tier  string // "sync", "background", "persistent"
	state string // "running", "exiting", "flooding", "stopped"
	duty  string // what is in progress: see duties
}

func (c cell) name() string { return c.tier + "/" + c.state + "/" + c.duty }

// states are what a program does when the crash comes.
var states = []string{"running", "exiting", "flooding", "stopped"}

// duties are what is in progress with a program of a tier. "none" is its life
// from its start to its release.
var duties = map[string][]string{
	"sync":       {"none", "cancel", "lifetime", "stop", "shutdown", "restart"},
	"background": {"none", "cancel", "stop", "signal", "shutdown", "restart"},
	"persistent": {"none", "cancel", "stop", "lifetime", "idle", "signal", "eof", "watch", "shutdown", "restart"},
}

// cells are all of the matrix.
func cells() (all []cell) {
	for _, tier := range []string{"sync", "background", "persistent"} {
		for _, state := range states {
			for _, duty := range duties[tier] {
				c := cell{tier, state, duty}
				listens := duty == "eof" && state != "running" && state != "stopped" // its program does nothing else
				stuck := duty == "restart" && tier == "sync" && state == "stopped"   // its call holds the restart up for its bound
				if !listens && !stuck {
					all = append(all, c)
				}
			}
		}
	}
	return all
}

// subject is the name of the program of a cell.
const subject = "subject"

// principal is on whose behalf it runs: a sync spawn has its time limit from
// there.
func (c cell) principal() string {
	if c.tier == "sync" && c.duty == "lifetime" {
		return "hasty"
	}
	return "alice"
}

// script is what it runs. What is to be ended by KILL, after its grace, does not
// heed the signals before.
func (c cell) script() string {
	heedless := c.duty == "cancel" || c.duty == "stop"
	switch {
	case c.duty == "eof":
		return daemontest.Hearing
	case c.state == "flooding" && heedless:
		return daemontest.FloodHeedless
	case c.state == "flooding":
		return daemontest.Flood
	case heedless:
		return daemontest.SteadyHeedless
	}
	return daemontest.Steady
}

// site is a data directory with a daemon for one cell.
type site struct{ *daemontest.Armed }

func newSite(t *testing.T) *site {
	t.Helper()
	x := &site{daemontest.NewArmed(t, "[ledger]", "segment_events = 16", "[principal.hasty]", "max_timeout_secs = 1")}
	x.WithDriver(t)
	x.Run(t)
	x.Daemon.Ready(t)
	return x
}

// telling is a cell that is being played.
type telling struct {
	*site
	cell
	t    *testing.T
	ctx  context.Context // until the daemon dies
	done []chan struct{} // of what was begun and is not waited for
}

// play brings the cell up to where its obligation is in progress, and with end
// also to its end. Once the daemon is dead everything in it fails, and it
// returns all the same.
func (x *site) play(t *testing.T, c cell, end bool) {
	t.Helper()
	ctx, cancel := x.WhileAlive(t)
	defer cancel()
	w := &telling{site: x, cell: c, t: t, ctx: ctx}
	w.begin()
	w.oblige()
	if end {
		w.finish()
	} else {
		x.Daemon.Kill(t)
	}
	for _, d := range w.done {
		<-d
	}
}

// meanwhile runs fn beside the telling.
func (w *telling) meanwhile(fn func()) (done chan struct{}) {
	done = make(chan struct{})
	w.done = append(w.done, done)
	go func() { defer close(done); fn() }()
	return done
}

func (w *telling) drive(steps ...step) {
	_, _ = w.Drive(w.ctx, w.principal(), "c1", steps...)
}

// begin starts the program and brings it into its state.
func (w *telling) begin() {
	op := map[string]string{"sync": "spawn", "background": "background", "persistent": "persistent"}[w.tier]
	s := w.Program(op, subject, w.script())
	s.Pressure = w.state == "flooding"
	switch w.duty {
	case "lifetime":
		s.LifetimeMS = 300
	case "idle":
		s.IdleMS = 300
	}
	spawned := w.meanwhile(func() { w.drive(s) })
	if w.tier != "sync" {
		<-spawned
	}
	w.awaitStart(spawned)
	switch w.state {
	case "stopped":
		w.freeze()
	case "exiting":
		if w.duty != "lifetime" && w.duty != "idle" { // they race with the timer
			w.Release(w.t, subject)
		}
	}
}

// awaitStart waits until the program has begun to tell, or cannot any more:
// nothing lives, and nothing is about to.
func (w *telling) awaitStart(spawned chan struct{}) {
	for ; w.ctx.Err() == nil && !w.Wrote(subject, "tells"); time.Sleep(5 * time.Millisecond) {
		select {
		case <-spawned:
			if len(w.live()) == 0 {
				return
			}
		default:
		}
	}
}

// freeze stops the program and what it has started.
func (x *site) freeze() {
	for _, p := range worldcheck.Marked(x.Witness()) {
		if pid, err := strconv.Atoi(p.PID); err == nil {
			_ = syscall.Kill(pid, syscall.SIGSTOP)
		}
	}
}

// oblige puts the obligation on it and waits until it is recorded, or cannot be
// any more.
func (w *telling) oblige() {
	grace := int64(300 * time.Millisecond)
	switch w.duty {
	case "cancel":
		w.until(event.KindCancelRequested, func() {
			_, _ = w.Client.Cancel(w.ctx, &control.CancelRequest{Principal: w.principal(), CallIDs: []string{"c1"}, Reason: "test"})
		})
	case "stop":
		w.until(event.KindStopRequested, func() {
			for _, h := range w.held() {
				_, _ = w.Client.Stop(w.ctx, &control.StopRequest{ID: h.ID, GraceNano: &grace})
			}
		})
	case "lifetime", "idle":
		w.until(event.KindTimerFired, func() { w.awaitEnd() })
		if w.state == "exiting" {
			w.Release(w.t, subject)
		}
	case "signal":
		if w.tier == "persistent" {
			w.drive(step{Op: "attach", Name: subject})
		}
		w.until(event.KindSignalSent, func() { w.drive(step{Op: "signal", Name: subject, Signal: 0}) })
	case "eof":
		w.until(event.KindStdinClosed, func() {
			w.drive(step{Op: "write", Name: subject, Text: "one\ntwo\n"}, step{Op: "eof", Name: subject})
		})
	case "watch":
		w.until(event.KindWatchArmed, func() { w.drive(step{Op: "watch", Name: subject, Text: "web"}) })
	case "restart":
		w.until(event.KindDaemonStopped, func() {
			a, err := w.Client.Restart(w.ctx, &control.RestartRequest{})
			if w.tier == "sync" {
				w.Release(w.t, subject) // the call is waited for
			}
			if err == nil {
				_, _ = w.Client.WaitRestarted(w.ctx, a)
			}
		})
	case "shutdown":
		w.until(event.KindStopRequested, func() {
			if w.ctx.Err() == nil {
				_ = w.Daemon.Cmd.Process.Signal(syscall.SIGTERM)
			}
			w.awaitEnd()
		})
	}
}

// until runs fn beside the telling and waits until an event of that kind is
// durable, or fn is through.
func (w *telling) until(kind event.Kind, fn func()) {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	done := w.meanwhile(fn)
	go func() {
		select {
		case <-done:
			cancel()
		case <-ctx.Done():
		}
	}()
	w.AwaitKind(ctx, kind)
}

// held is what the daemon holds; nothing once it is dead.
func (w *telling) held() []control.Handle {
	ps, err := w.Client.Ps(w.ctx, true)
	if err != nil {
		return nil
	}
	return ps.Handles
}

// live is what of it lives.
func (w *telling) live() []control.Handle {
	return slices.DeleteFunc(w.held(), func(h control.Handle) bool { return h.Phase != "started" && h.Phase != "decided" })
}

// awaitEnd waits until nothing lives, or the daemon is dead.
func (w *telling) awaitEnd() {
	for w.ctx.Err() == nil && len(w.live()) > 0 {
		time.Sleep(5 * time.Millisecond)
	}
}

// finish tells what is left until the handle is released.
func (w *telling) finish() {
	if w.duty == "shutdown" {
		if w.ctx.Err() == nil {
			w.Daemon.Wait(w.t)
		}
		return
	}
	if w.duty == "watch" {
		w.drive(step{Op: "attach", Name: subject}, step{Op: "drop", Name: subject}, step{Op: "unwatch", Name: subject})
	}
	w.Release(w.t, subject)
	if w.state == "stopped" { // it would stay so
		grace := int64(100 * time.Millisecond)
		for _, h := range w.held() {
			_, _ = w.Client.Stop(w.ctx, &control.StopRequest{ID: h.ID, GraceNano: &grace})
		}
	}
	w.awaitEnd()
	switch w.tier {
	case "background":
		w.drive(step{Op: "wait", Name: subject}, step{Op: "drop", Name: subject})
	case "persistent":
		w.drive(step{Op: "await", Name: subject, MS: 5000}, step{Op: "release", Name: subject})
	}
}
