package host

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// ProcessPhase is the contract's process-phase; the numbers are its
// discriminants.
type ProcessPhase uint8

// The phases of a persistent process.
const (
	Starting ProcessPhase = 0 // granted, and not known to run yet
	Running  ProcessPhase = 1
	Exited   ProcessPhase = 2 // ended, also where the exit is unknown
)

// Info is what is known of a persistent process, as of the ledger.
type Info struct {
	ID      string
	Label   string
	Command string  // as the guest gave it, without arguments
	OSPid   *uint32 // the program's own, on the host; nil unless it runs
	Phase   ProcessPhase
	Exit    *event.Exit // nil before the exit, and where it is unknown

	Age  time.Duration // since it was asked for
	Idle time.Duration // since it was used last; being listed is no use

	Buffered  uint64 // bytes of output of both streams that nobody has drained
	Dropped   uint64 // bytes that nobody can read any more
	StdinOpen bool

	CPU     *time.Duration // used so far, or in all; nil if unknown
	MemPeak *uint64        // bytes; nil if unknown
}

// ListProcesses tells of the caller's own persistent processes, oldest first: of
// those whose label contains label, or of all if it is nil.
func (h *Host) ListProcesses(_ context.Context, c Caller, label *string) ([]Info, error) {
	scope := c.scope()
	owners := h.ownersOf(func(o *owner) bool {
		return o.kept != nil && o.scope.Principal == scope.Principal && o.scope.Capsule == scope.Capsule &&
			(label == nil || strings.Contains(o.kept.label, *label))
	})
	slices.SortFunc(owners, func(a, b *owner) int { return a.id.Compare(b.id) })
	infos := make([]Info, 0, len(owners))
	for _, o := range owners {
		if i, ok := o.info(); ok {
			infos = append(infos, i)
		}
	}
	h.told("list of %d", len(infos))
	return infos, nil
}

// ProcessStatus tells of one process. It is a use, counted after it was looked
// at. The error is NoSuchProcess.
func (h *Host) ProcessStatus(_ context.Context, c Caller, id string) (Info, error) {
	i, ok := h.status(c, id)
	if !ok {
		err := noSuchProcess()
		h.told("%v", err.Code)
		return Info{}, err
	}
	h.told("status")
	return i, nil
}

// StatusMany tells of those of the ids that the caller could use, in their
// order; the others are left out.
func (h *Host) StatusMany(_ context.Context, c Caller, ids []string) ([]Info, error) {
	var infos []Info
	for _, id := range ids {
		if i, ok := h.status(c, id); ok {
			infos = append(infos, i)
		}
	}
	h.told("status of %d", len(infos))
	return infos, nil
}

func (h *Host) status(c Caller, id string) (Info, bool) {
	o := h.resolve(c, id)
	if o == nil {
		return Info{}, false
	}
	i, ok := o.info()
	o.kept.touch()
	return i, ok
}

// info is false once the handle is released, and before it is granted.
func (o *owner) info() (Info, bool) {
	i := Info{ID: o.kept.id, Label: o.kept.label, Idle: o.kept.unused()}
	known := false
	o.h.live.View(func(s *projector.State) {
		if h, ok := s.Handle(o.id); ok {
			known = true
			i.recorded(h, h.Decided.BootID == s.BootID())
		}
	})
	if known {
		o.measure(&i)
	}
	return i, known
}

// recorded fills in what the ledger says.
func (i *Info) recorded(h *projector.Handle, sameBoot bool) {
	i.Command, i.StdinOpen = h.Command, h.KeepStdinOpen && !h.StdinClosed && h.Phase.Live()
	i.Age = since(h.Decided.Boot)
	if !sameBoot {
		i.Age = max(0, time.Duration(walltime()-h.Decided.Wall))
	}
	switch {
	case h.Phase.Terminal():
		i.Phase, i.Exit = Exited, h.Exit
		if h.Exit != nil {
			cpu, peak := time.Duration(h.Usage.UserNano+h.Usage.SystemNano), h.Usage.MaxRSSKiB<<10
			i.CPU, i.MemPeak = &cpu, &peak
		}
	case h.Phase == projector.PhaseStarted:
		i.Phase = Running
		if pid := h.Program.PID; pid != 0 {
			i.OSPid = &pid
		}
	}
}

func since(boot int64) time.Duration { return time.Duration(max(0, boottime()-boot)) }
