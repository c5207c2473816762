package projector

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// printEvents prints stored events, a line each: seq, kind, handle, what it
// says, and where its back-pointer leads.
func (e *scenario) printEvents(w io.Writer, from, to uint64) {
	if from > to {
		return
	}
	for ev, err := range e.live.Ledger().Events(context.Background(), from, to) {
		if err != nil {
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintf(w, "%d %v", ev.Seq, ev.Kind())
		if ev.Handle != (ulid.ULID{}) {
			fmt.Fprintf(w, " %s", e.name(ev.Handle))
		}
		fmt.Fprint(w, e.says(ev))
		if ev.Prev != 0 {
			fmt.Fprintf(w, " (after %d)", ev.Prev)
		}
		fmt.Fprintln(w)
	}
}

// says is the part of an event that scenarios are about.
func (e *scenario) says(ev *event.Event) string {
	switch b := ev.Body.(type) {
	case *event.SpawnDecided:
		out := ": granted"
		if b.Outcome == event.OutcomeRefused {
			out = ": refused, " + b.Code + ", by " + b.Rule
		}
		for _, q := range b.Quotas {
			out += fmt.Sprintf(", %s %d of %d", q.Scope, q.Used, q.Cap)
		}
		return out
	case *event.SegmentOpened:
		return fmt.Sprintf(": segment %d, %s", b.Ordinal, b.Reason)
	case *event.ClockStepped:
		return fmt.Sprintf(": %v", time.Duration(b.DeltaNano))
	case *event.CancelRequested:
		ids := make([]ulid.ULID, len(b.Handles))
		for i := range b.Handles {
			copy(ids[i][:], b.Handles[i])
		}
		return fmt.Sprintf(": %s reaches %s", e.name(ulid.ULID(b.Cancel)), e.sortedNames(ids))
	case *event.CancelFinished:
		return ": " + e.name(ulid.ULID(b.Cancel))
	case *event.SignalRequested:
		return fmt.Sprintf(": %d, %s", b.Signal, b.Cause)
	case *event.SignalSent:
		return fmt.Sprintf(": of %d", b.Request)
	case *event.TimerFired:
		return ": " + b.Timer
	case *event.WatchArmed:
		return ": " + b.Suffix
	case *event.StdinClosed:
		return ": " + b.Reason
	default:
		return ""
	}
}

func (e *scenario) cmdLog(a arguments) string {
	var out strings.Builder
	e.printEvents(&out, uint64(a.int("from", 1)), e.live.Snapshot().Seq())
	return out.String()
}

// stateOf is the state that a question is about.
func (e *scenario) stateOf(a arguments) *State {
	if _, ok := a.values["at"]; !ok {
		return e.live.Snapshot()
	}
	s, err := At(context.Background(), e.live.Ledger(), uint64(a.int("at", 0)))
	if err != nil {
		e.t.Error(err)
		return New()
	}
	return s
}

func (e *scenario) cmdState(a arguments) string {
	s := e.stateOf(a)
	var out strings.Builder
	fmt.Fprintf(&out, "seq %d\n", s.Seq())
	if r, ok := s.Run(); ok {
		fmt.Fprintf(&out, "daemon %s since %d, recovering %v, stopped by %d\n", r.Version, r.Started.Seq, r.Recovering, r.Stopped.Seq)
	}
	for _, c := range s.Capsules() {
		fmt.Fprintf(&out, "capsule %s %s by %d\n", c.Name, c.Version, c.Loaded.Seq)
	}
	for _, p := range s.Policies() {
		fmt.Fprintf(&out, "policy %s by %d\n", p.Subject, p.Changed.Seq)
	}
	for _, i := range s.Invocations() {
		fmt.Fprintf(&out, "invocation %s of %s/%s since %d\n", i.CallID, i.Principal, i.Capsule, i.Started.Seq)
	}
	for _, c := range s.Cancels() {
		fmt.Fprintf(&out, "cancel %s by %d, reached %d, remaining %s\n", e.name(c.ID), c.Requested.Seq, c.Reached, e.sortedNames(c.Remaining))
	}
	for _, h := range s.Handles() {
		e.printHandle(&out, h)
	}
	return out.String()
}

func since(m Moment) time.Duration { return time.Duration(m.Wall - scenarioEpoch) }

func (e *scenario) printHandle(w io.Writer, h *Handle) {
	tiers := []string{"", "sync", "background", "persistent"}
	fmt.Fprintf(w, "%s %v %s of %s/%s, call %q, last event %d", e.name(h.ID), h.Phase, tiers[h.Tier], h.Principal, h.Capsule, h.CallID, h.LastSeq)
	if h.Started.Seq != 0 {
		fmt.Fprintf(w, ", started %v in %s", since(h.Started), h.Isolation)
	}
	if h.Ended.Seq != 0 {
		fmt.Fprintf(w, ", ended %v by %s%s", since(h.Ended), h.Cause, exitText(h))
	}
	fmt.Fprintln(w)
	fmt.Fprint(w, persistentText(h))
	for _, p := range h.Signals {
		fmt.Fprintf(w, "  signal %d pending since %d, %s\n", p.Signal, p.Seq, p.Cause)
	}
	for _, o := range h.Obligations {
		fmt.Fprintf(w, "  to end by %s", o.Cause)
		if o.Cancel != (ulid.ULID{}) {
			fmt.Fprintf(w, " %s", e.name(o.Cancel))
		}
		fmt.Fprintf(w, " since %d, grace %v, gentle %s, kill %s\n", o.Opened.Seq, time.Duration(o.GraceNano), stepText(o.Gentle), stepText(o.Kill))
	}
}

// persistentText is what only a persistent process has, on a line if there is
// any.
func persistentText(h *Handle) string {
	var said []string
	say := func(yes bool, format string, args ...any) {
		if yes {
			said = append(said, fmt.Sprintf(format, args...))
		}
	}
	say(len(h.ProcessIDHash) > 0, "id %s", h.ProcessIDHash)
	say(h.Label != "", "label %s", h.Label)
	say(h.KeepStdinOpen && !h.StdinClosed, "stdin open")
	say(h.StdinClosed, "stdin closed by %d", h.StdinClosedSeq)
	say(h.Overflow != 0, "%v", h.Overflow)
	say(h.IdleNano > 0, "idle %v", time.Duration(h.IdleNano))
	say(h.RetentionNano > 0, "retention %v", time.Duration(h.RetentionNano))
	say(h.Attached > 0, "attached %d", h.Attached)
	if h.Watch != nil {
		said = append(said, fmt.Sprintf("watched as %q since %d", h.Watch.Suffix, h.Watch.Armed.Seq))
	}
	say(h.Expired.Seq != 0, "expired by %d", h.Expired.Seq)
	if len(said) == 0 {
		return ""
	}
	return "  " + strings.Join(said, ", ") + "\n"
}

// cmdID asks the index of process ids.
func (e *scenario) cmdID(a arguments) string {
	h, ok := e.stateOf(a).ByProcessID([]byte(a.word(0)))
	if !ok {
		return "nobody\n"
	}
	return e.name(h.ID) + "\n"
}

func exitText(h *Handle) string {
	switch {
	case h.Exit != nil && h.Exit.Code != nil:
		return fmt.Sprintf(", code %d", *h.Exit.Code)
	case h.Exit != nil:
		return fmt.Sprintf(", signal %d", *h.Exit.Signal)
	case h.Witness != nil:
		return fmt.Sprintf(", a witness saw code %d", *h.Witness.Code)
	default:
		return ""
	}
}

func stepText(s Step) string {
	switch {
	case s.Requested == 0:
		return "to come"
	case s.Sent.Seq == 0:
		return fmt.Sprintf("requested by %d", s.Requested)
	default:
		return fmt.Sprintf("sent by %d at %v", s.Sent.Seq, since(s.Sent))
	}
}

func countsText(c Counts) string {
	return fmt.Sprintf("sync %d, background %d, persistent %d", c.Sync, c.Background, c.Persistent)
}

func (e *scenario) cmdCounters(a arguments) string {
	s := e.stateOf(a)
	var out strings.Builder
	fmt.Fprintf(&out, "all: %s\n", countsText(s.LiveAll()))
	for _, t := range s.Tallies() {
		fmt.Fprintf(&out, "%s in %s: live %s; held %s\n", t.Principal, t.Capsule, countsText(t.Live), countsText(t.Held))
	}
	return out.String()
}

func (e *scenario) cmdTotals(a arguments) string {
	s := e.stateOf(a)
	t := s.Totals()
	var out strings.Builder
	fmt.Fprintf(&out, "requested %d, granted %d, refused %d\n", t.Requested, t.Granted, t.Refused)
	fmt.Fprintf(&out, "started %d, adopted %d, exited %d, aborted %d, failed %d, lost %d, released %d\n",
		t.Started, t.Adopted, t.Exited, t.Aborted, t.Failed, t.Lost, t.Released)
	for _, r := range s.Refusals() {
		fmt.Fprintf(&out, "refused for %s: %d\n", r.Code, r.Count)
	}
	return out.String()
}

func (e *scenario) cmdReached(a arguments) string {
	var ids []ulid.ULID
	for _, h := range e.live.Snapshot().Reached(a.get("principal", ""), a.get("capsule", ""), list(a.get("calls", ""))) {
		ids = append(ids, h.ID)
	}
	return e.sortedNames(ids) + "\n"
}

// cmdSnapshot encodes the state and reads it again.
func (e *scenario) cmdSnapshot(arguments) string {
	b := e.live.Snapshot().Encode()
	s, err := Decode(b)
	if err != nil {
		return err.Error() + "\n"
	}
	if !bytes.Equal(s.Encode(), b) {
		return "ANOTHER STATE\n"
	}
	return fmt.Sprintf("state at %d: %d bytes, the same when read again\n", s.Seq(), len(b))
}

// cmdCheck replays everything and compares.
func (e *scenario) cmdCheck(arguments) string {
	s := New()
	for ev, err := range e.live.Ledger().Events(context.Background(), 1, 0) {
		if err == nil {
			err = s.Apply(ev)
		}
		if err != nil {
			return err.Error() + "\n"
		}
	}
	return e.sameAs(s.Encode())
}
