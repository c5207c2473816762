package host

import (
	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/projector"
)

// compare counts what ledger and disk say of each other before anything is
// settled.
func (r *recovery) compare(handles []*projector.Handle, found map[ulid.ULID]*act.Found) {
	r.n.Trash = uint32(r.h.hands.Emptied())
	if r.inProcess {
		r.n.Trash = 0 // counted at the start
	}
	for _, f := range found {
		if len(f.Damaged) > 0 {
			r.n.Damaged++
		}
	}
	known := map[ulid.ULID]bool{}
	for _, handle := range handles {
		known[handle.ID] = true
		r.n.Unsent += uint32(len(handle.Signals))
		if found[handle.ID] == nil && keepsDirectory(handle) {
			r.n.Missing++
			r.copied = r.copied || handle.Phase == projector.PhaseStarted
		}
	}
	written, ok := r.written()
	for id, f := range found {
		if ok && !known[id] && f.Go && written.excludes(id) {
			r.n.Foreign++
			r.copied = true
		}
	}
	if r.n.Foreign > 0 {
		r.h.log.Warn("programs were started that the ledger knows nothing of: it was restored from an older copy, or replaced", "programs", r.n.Foreign)
	}
}

// keepsDirectory tells whether a handle has a directory as long as nobody else
// meddles: from its start to its release.
func keepsDirectory(handle *projector.Handle) bool {
	switch handle.Phase {
	case projector.PhaseStarted, projector.PhaseExited, projector.PhaseLost:
		return true
	default:
		return false
	}
}

// span is a time that a ledger tells of, by the clock of ULIDs, ms since 1970.
type span struct{ from, to uint64 }

// excludes tells whether a handle that was let run cannot have been decided in
// that time: it was asked for before or after. Its go was sent only once its
// decision was durable, and no event is older than what it is about; so the
// ledger that decided on it is another, or was longer.
func (s span) excludes(id ulid.ULID) bool { return id.Time() < s.from || id.Time() > s.to }

// written is the time that the ledger told of before this run of the daemon.
// ok is false where that cannot be known, and after a failed commit, when no
// go was sent for a decision that was lost.
func (r *recovery) written() (s span, ok bool) {
	run, running := r.h.live.Snapshot().Run()
	if !running || r.inProcess {
		return span{}, false
	}
	l := r.h.live.Ledger()
	last, err := l.Get(r.h.ctx, run.Started.Seq-1)
	if err != nil {
		return span{}, false
	}
	s.to = last.ID.Time()
	if oldest, _ := l.Bounds(); oldest == 1 { // nothing was dropped
		if first, err := l.Get(r.h.ctx, oldest); err == nil {
			s.from = first.ID.Time()
		}
	}
	return s, true
}
