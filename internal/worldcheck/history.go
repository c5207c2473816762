package worldcheck

import (
	"context"
	"fmt"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// story is what the ledger says of one handle, from its first event to its
// last.
type story struct {
	nonce    string
	granted  bool
	started  bool
	end      event.Kind // 0: it lives
	exit     event.Exit
	cause    string
	released bool
}

// ran tells whether the program ran, as far as the ledger knows; maybe is for
// what nobody can know.
func (s *story) ran() (yes, maybe bool) {
	switch s.end {
	case event.KindProcessExited:
		return true, true
	case event.KindProcessLost:
		return s.started, true
	case event.KindSpawnAborted, event.KindSpawnFailed:
		return false, false
	}
	return s.started, s.granted
}

// stories reads the whole ledger. It reports gaps and events that cannot be
// read.
func stories(ctx context.Context, r ledger.Reader) (map[ulid.ULID]*story, []string) {
	var problems []string
	all := map[ulid.ULID]*story{}
	first, last := r.Bounds()
	want := first
	for e, err := range r.Events(ctx, first, last) {
		if err != nil {
			return all, append(problems, fmt.Sprintf("ledger: %v", err))
		}
		if e.Seq != want {
			problems = append(problems, fmt.Sprintf("ledger: event %d where %d was due", e.Seq, want))
		}
		want = e.Seq + 1
		if e.Handle != (ulid.ULID{}) {
			tell(all, e)
		}
	}
	if last != 0 && want != last+1 {
		problems = append(problems, fmt.Sprintf("ledger: ends after event %d, not %d", want-1, last))
	}
	return all, problems
}

func tell(all map[ulid.ULID]*story, e *event.Event) {
	s := all[e.Handle]
	if s == nil {
		s = &story{}
		all[e.Handle] = s
	}
	switch b := e.Body.(type) {
	case *event.SpawnRequested:
		s.nonce = nonceOf(b.Args)
	case *event.SpawnDecided:
		s.granted = b.Outcome == event.OutcomeGranted
	case *event.ProcessStarted:
		s.started = true
	case *event.ProcessExited:
		s.end, s.exit, s.cause = e.Kind(), b.Exit, b.Cause
	case *event.ProcessLost, *event.SpawnAborted, *event.SpawnFailed:
		s.end = e.Kind()
	case *event.HandleReleased:
		s.released = true
	}
}

// Prefix begins the argument by which a test program names its witness file.
const Prefix = "nonce-"

func nonceOf(args []string) string {
	for _, a := range args {
		if strings.HasPrefix(a, Prefix) {
			return a
		}
	}
	return ""
}
