package host

import (
	"context"
	"encoding/json"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// WatchProcess has the lifecycle of a process published on the bus, to its
// creator, once watch.armed is durable: on topic
// astrid.process.v1.<event>.<suffix>, with the process id as the suffix of nil.
// The events:
//
//   - exited, once the exit is durable;
//   - log-ready, when there is output that nobody was told of: once, and again
//     after a read;
//   - stdin-drained, when a write that had found the pipe full is through.
//
// What is so already is published at once. A second watch with the same suffix
// changes nothing, one with another replaces the first. The errors:
// NoSuchProcess, and InvalidInput for a suffix that makes no topic.
func (h *Host) WatchProcess(ctx context.Context, c Caller, id string, suffix *string) error {
	return h.answered("watched", h.watch(ctx, c, id, suffix))
}

func (h *Host) watch(ctx context.Context, c Caller, id string, suffix *string) error {
	o, err := h.reach(ctx, c, id)
	if err != nil {
		return err
	}
	armed := &event.WatchArmed{}
	if suffix != nil {
		if err := ipc.ValidSuffix(*suffix); err != nil {
			return errorf(InvalidInput, "suffix %.64q: %v", *suffix, err)
		}
		armed.Suffix = *suffix
	}
	err = o.decideWatch(ctx, c, func(h *projector.Handle) event.Body {
		if h.Watch != nil && h.Watch.Suffix == armed.Suffix {
			return nil
		}
		return armed
	})
	if err == nil {
		// A crash here leaves an armed watch whose capsule was not told.
		crashpoint.Here("daemon.watch.armed")
	}
	return err
}

// UnwatchProcess ends what WatchProcess began, once watch.disarmed is durable.
// Of a process that is not watched nothing is left to do. The error is
// NoSuchProcess.
func (h *Host) UnwatchProcess(ctx context.Context, c Caller, id string) error {
	return h.answered("not watched", h.unwatch(ctx, c, id))
}

func (h *Host) unwatch(ctx context.Context, c Caller, id string) error {
	o, err := h.reach(ctx, c, id)
	if err != nil {
		return err
	}
	err = o.decideWatch(ctx, c, func(h *projector.Handle) event.Body {
		if h.Watch == nil {
			return nil
		}
		return &event.WatchDisarmed{Reason: "guest"}
	})
	if err == nil {
		// A crash here leaves a watch that is over, and a capsule that was not
		// told.
		crashpoint.Here("daemon.watch.disarmed")
	}
	return err
}

// decideWatch records what change makes of the watch, nil for nothing.
func (o *owner) decideWatch(ctx context.Context, c Caller, change func(*projector.Handle) event.Body) error {
	scope := c.scope()
	scope.Handle = o.id
	_, err := o.h.decide(ctx, func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		h, ok := tip.Handle(o.id)
		if !ok {
			return nil, noSuchProcess() // released since
		}
		if b := change(h); b != nil {
			return []*event.Event{{Scope: scope, Body: b}}, nil
		}
		return nil, nil
	})
	if err != nil {
		return answer(err)
	}
	return nil
}

// watch is an armed watch, and what of it is published already.
type watch struct {
	suffix string // as in the topics
	fresh  bool   // nobody has looked yet
	exited bool   // that it has ended is published

	// quiet is true between the publishing of log-ready and the next read;
	// after is how far each stream had come when somebody last heard of it.
	quiet bool
	after [2]uint64
}

// suffixOf is what stands in the topics for a recorded suffix: an empty one stands
// for the id.
func (o *owner) suffixOf(recorded string) string {
	if recorded == "" {
		return o.kept.id
	}
	return recorded
}

// arm takes in a durable watch.armed. The committer calls it, and recovery.
func (o *owner) arm(suffix string) {
	if o.kept == nil {
		return
	}
	o.mu.Lock()
	o.kept.watch = &watch{suffix: o.suffixOf(suffix), fresh: true}
	o.mu.Unlock()
	o.poke()
}

// disarm takes in a durable watch.disarmed of a guest; one of a release comes
// with the end of the owner, who has more to tell first. The committer calls it.
func (o *owner) disarm(b *event.WatchDisarmed) {
	if o.kept == nil || b.Reason != "guest" {
		return
	}
	o.mu.Lock()
	o.kept.watch = nil
	o.mu.Unlock()
	o.poke()
}

// watched calls fn with the armed watch, if there is one, and tells what it
// returns. fn runs under mu.
func (o *owner) watched(fn func(*watch) bool) bool {
	if o.kept == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kept.watch != nil && fn(o.kept.watch)
}

// readTo says that somebody has read n bytes of a stream, up to byte to. What
// follows it is news, and so is what comes.
func (o *owner) readTo(s Stream, n int, to uint64) {
	if o.watched(func(w *watch) bool {
		w.quiet = false
		if n > 0 || to > w.after[s] {
			w.after[s] = to
		}
		return true
	}) {
		o.poke()
	}
}

// drainedTo says that somebody has drained both streams, as far as they had come
// then.
func (o *owner) drainedTo(to [2]uint64) {
	if o.watched(func(w *watch) bool { w.quiet, w.fresh, w.after = false, false, to; return true }) {
		o.poke()
	}
}

// announce publishes what an armed watch has not told yet. The owner calls it,
// in the order in which things are durable.
func (o *owner) announce() {
	if !o.watched(func(*watch) bool { return true }) {
		o.listen(false)
		return
	}
	child := o.reachable()
	if child != nil {
		o.listen(true)
		if o.hasNews(child) {
			o.publish("log-ready", nil)
		}
	}
	if o.over() && o.watched(func(w *watch) bool { told := w.exited; w.exited = true; return !told }) {
		o.publish("exited", endedAs(&o.outcome))
	}
}

// listen has the owner woken by what a watch is to tell, or not any more.
func (o *owner) listen(yes bool) {
	switch {
	case yes && o.kept.deafen == nil:
		output := o.child.Output().Watch(o.wake)
		stdin := o.child.StdinDrained().Watch(o.kept.stdinDrained)
		o.kept.deafen = func() { output(); stdin() }
	case !yes && o.kept != nil && o.kept.deafen != nil:
		o.kept.deafen()
		o.kept.deafen = nil
	}
}

// inputDrained gets a value when a write that had found the pipe full is through.
func (o *owner) inputDrained() <-chan struct{} {
	if o.kept == nil {
		return nil
	}
	return o.kept.stdinDrained
}

// hasNews tells whether there is output that nobody was told of or has read, and
// notes that it is told now. If there is none, the shim wakes the owner as soon
// as there is.
func (o *owner) hasNews(child *act.Child) bool {
	written := child.Written()
	undrained, _ := child.Buffered()
	var after [2]uint64
	listening := o.watched(func(w *watch) bool {
		if w.fresh && undrained == 0 {
			w.after = written
		}
		w.fresh = false
		after = w.after
		return !w.quiet
	})
	if !listening || !child.More(after).Ready() {
		return false
	}
	written = child.Written()
	if written[Stdout] <= after[Stdout] && written[Stderr] <= after[Stderr] {
		return false // the streams have ended, that is all
	}
	return o.watched(func(w *watch) bool { w.quiet, w.after = true, written; return true })
}

// lifecycle is the payload of a watch's event.
type lifecycle struct {
	ID    string `json:"id"`
	Label string `json:"label"`
	*ended
}

// ended is what the payload of exited holds beside.
type ended struct {
	Exit  *exitStatus `json:"exit"`  // null where it is unknown
	Cause string      `json:"cause"` // self-exit, killed, reaped-ttl or reaped-shutdown
}

type exitStatus struct {
	Code   *int32 `json:"exit_code"`
	Signal *int32 `json:"signal"`
}

// endedAs is how the process ended, in the contract's words.
func endedAs(out *outcome) *ended {
	e := &ended{Cause: "killed"}
	if out.exit != nil {
		e.Exit = &exitStatus{out.exit.Code, out.exit.Signal}
	}
	switch out.cause {
	case "self":
		e.Cause = "self-exit"
	case "lifetime", "idle":
		e.Cause = "reaped-ttl"
	case causeShutdown, causeRestart, "reboot":
		e.Cause = "reaped-shutdown"
	}
	return e
}

// publish puts an event on the bus, for the creator alone. It does not block.
func (o *owner) publish(what string, e *ended) {
	var topic string
	o.watched(func(w *watch) bool { topic = ipc.WatchPrefix + what + "." + w.suffix; return true })
	if o.h.bus == nil || topic == "" {
		return
	}
	payload, err := json.Marshal(lifecycle{o.kept.id, o.kept.label, e})
	if err == nil {
		err = o.h.bus.Announce(ipc.Message{
			Topic: topic, Payload: payload, SourceID: ipc.SourceID(o.scope.Capsule),
			Principal: ipc.Principal{Kind: ipc.Verified, Name: o.scope.Principal},
		})
	}
	if err != nil {
		o.h.log.Warn("what became of a watched process could not be published", "handle", o.id, "event", what, "error", err)
		return
	}
	o.h.told("publish %s", what)
}
