package report

import (
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/event"
)

// Story is what the ledger holds about one process: its events, and the
// bodies that tell the most, nil where the ledger has none.
type Story struct {
	Handle ulid.ULID
	Scope  event.Scope // of the first event
	Events []*event.Event

	Request  *event.SpawnRequested
	Decision *event.SpawnDecided
	Aborted  *event.SpawnAborted
	Failed   *event.SpawnFailed
	Started  *event.ProcessStarted
	Exited   *event.ProcessExited
	Lost     *event.ProcessLost
	Released *event.HandleReleased

	StdinClosed *event.StdinClosed // the newest
	Watch       *event.WatchArmed  // in force; nil: not armed, or disarmed
	Attached    int                // how often a guest has attached
}

// NewStory tells the story of one handle from its events in ascending order.
// There must be at least one.
func NewStory(events []*event.Event) *Story {
	s := &Story{Handle: events[0].Handle, Scope: events[0].Scope, Events: events}
	for _, e := range events {
		s.take(e)
	}
	return s
}

func (s *Story) take(e *event.Event) {
	switch b := e.Body.(type) {
	case *event.SpawnRequested:
		s.Request = b
	case *event.SpawnDecided:
		s.Decision = b
	case *event.SpawnAborted:
		s.Aborted = b
	case *event.SpawnFailed:
		s.Failed = b
	case *event.ProcessStarted:
		s.Started = b
	case *event.ProcessExited:
		s.Exited = b
	case *event.ProcessLost:
		s.Lost = b
	case *event.HandleReleased:
		s.Released = b
	default:
		s.takeHolding(e)
	}
}

// takeHolding takes in what guests do with a persistent process while it lives.
func (s *Story) takeHolding(e *event.Event) {
	switch b := e.Body.(type) {
	case *event.HandleAttached:
		s.Attached++
	case *event.WatchArmed:
		s.Watch = b
	case *event.WatchDisarmed:
		s.Watch = nil
	case *event.StdinClosed:
		s.StdinClosed = b
	}
}

// Status is where the process stands, in one word: "exited", "lost", "failed",
// "aborted", "running", "granted", "refused", "requested" or "unknown".
func (s *Story) Status() string {
	switch {
	case s.Exited != nil:
		return "exited"
	case s.Lost != nil:
		return "lost"
	case s.Failed != nil:
		return "failed"
	case s.Aborted != nil:
		return "aborted"
	case s.Started != nil:
		return "running"
	case s.Decision != nil && s.Decision.Outcome == event.OutcomeGranted:
		return "granted"
	case s.Decision != nil:
		return "refused"
	case s.Request != nil:
		return "requested"
	}
	return "unknown"
}

// End says how it stands or ended, in a few words.
func (s *Story) End() string {
	switch {
	case s.Exited != nil:
		return Exit(s.Exited.Exit)
	case s.Lost != nil:
		return "lost" + because(lostReasons.say(s.Lost.Reason))
	case s.Failed != nil:
		return "could not be started"
	case s.Aborted != nil:
		return "never ran" + because(abortReasons.say(s.Aborted.Reason))
	case s.Started != nil:
		return "running, as far as the ledger knows"
	case s.Status() == "granted":
		return "granted, not started"
	case s.Decision != nil:
		return "refused" + because(s.Decision.Code)
	}
	return s.Status()
}

// Command is the command line as asked for, "" if the ledger no longer holds
// the request.
func (s *Story) Command() string {
	if s.Request == nil {
		return ""
	}
	return CommandLine(s.Request)
}

// Label is the process's name for people: as granted, else as asked for.
func (s *Story) Label() string {
	if s.Decision != nil && s.Decision.Label != "" {
		return s.Decision.Label
	}
	if s.Request != nil {
		return s.Request.Label
	}
	return ""
}

// Requested, StartedAt and EndedAt are wall times; the latter two as the shim
// read them. Each is zero if it is not known.
func (s *Story) Requested() time.Time {
	for _, e := range s.Events {
		if e.Kind() == event.KindSpawnRequested {
			return ui.Nanos(e.Wall)
		}
	}
	return time.Time{}
}

// StartedAt is when the program started.
func (s *Story) StartedAt() time.Time {
	if s.Started == nil {
		return time.Time{}
	}
	return ui.Nanos(s.Started.StartedWall)
}

// EndedAt is when the program ended.
func (s *Story) EndedAt() time.Time {
	if s.Exited == nil {
		return time.Time{}
	}
	return ui.Nanos(s.Exited.EndedWall)
}

// Ran is how long the program ran by CLOCK_BOOTTIME, which no clock change
// touches: both times are one shim's. False if one is missing.
func (s *Story) Ran() (time.Duration, bool) {
	if s.Started == nil || s.Exited == nil || s.Started.StartedBoot == 0 || s.Exited.EndedBoot == 0 {
		return 0, false
	}
	return time.Duration(s.Exited.EndedBoot - s.Started.StartedBoot), true
}
