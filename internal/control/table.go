package control

import (
	"slices"
	"strings"
	"time"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// TableOf returns the handle table of a state: the live handles, with all also
// the terminal ones that are not yet released.
func TableOf(s *projector.State, all bool) *Ps {
	ps := &Ps{Seq: s.Seq(), Handles: []Handle{}}
	for _, h := range s.Handles() {
		if all || h.Phase.Live() {
			ps.Handles = append(ps.Handles, HandleOf(h))
		}
	}
	return ps
}

// HandleOf returns what the table says of one handle.
func HandleOf(h *projector.Handle) Handle {
	out := Handle{
		ID: h.ID.String(), Principal: h.Principal, Capsule: h.Capsule, Instance: h.Instance, CallID: h.CallID,
		Tier: h.Tier.String(), Phase: h.Phase.String(), Command: h.Command, Label: h.Label, Cwd: h.Cwd,
		Isolation: h.Isolation, PID: h.Program.PID,
		Requested: timeOf(h.Requested), Started: timeOf(h.Started), Ended: timeOf(h.Ended),
		Exit: exitOf(h.Exit), Cause: h.Cause, Ending: ending(h), LastSeq: h.LastSeq,
		Attached: h.Attached, LifetimeNano: h.Orders.LifetimeNano, IdleTimeoutNano: h.IdleNano, RetentionNano: h.RetentionNano,
	}
	if h.Watch != nil {
		suffix := h.Watch.Suffix
		out.Watch = &suffix
	}
	if h.Overflow != 0 {
		out.Overflow = h.Overflow.String()
	}
	switch {
	case h.StdinClosed:
		out.Stdin = "closed"
	case h.KeepStdinOpen:
		out.Stdin = "open"
	}
	return out
}

// timeOf is nil for what has not happened.
func timeOf(m projector.Moment) *time.Time {
	if m.Seq == 0 {
		return nil
	}
	t := time.Unix(0, m.Wall).UTC()
	return &t
}

func exitOf(x *event.Exit) *Exit {
	if x == nil {
		return nil
	}
	return &Exit{Code: x.Code, Signal: x.Signal}
}

// ending is why a live handle is being ended: the newest order.
func ending(h *projector.Handle) string {
	if n := len(h.Obligations); n > 0 {
		return h.Obligations[n-1].Cause
	}
	return ""
}

// UsageOf returns the usage of every principal and capsule that holds a
// handle, principals first, each sorted by name. The caps are left for the
// caller, who knows the policy.
func UsageOf(s *projector.State) []Usage {
	var principals, capsules []Usage
	seen := map[string]bool{}
	add := func(list *[]Usage, scope string, c projector.Counts) {
		if !seen[scope] {
			seen[scope] = true
			*list = append(*list, Usage{Scope: scope, Background: c.Background, Sync: c.Sync, Persistent: c.Persistent})
		}
	}
	for _, t := range s.Tallies() {
		add(&principals, "principal:"+t.Principal, s.LivePrincipal(t.Principal))
		add(&capsules, "capsule:"+t.Capsule, s.LiveCapsule(t.Capsule))
	}
	slices.SortFunc(capsules, func(a, b Usage) int { return strings.Compare(a.Scope, b.Scope) })
	return append(principals, capsules...)
}
