package host

import (
	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/projector"
)

// row is a row of the recovery table: what is to be made of one handle and one
// directory.
type row string

// The rows. Those that wait are looked at again.
const (
	rowWait     row = "wait"            // a shim is on its way out, or in
	rowAbort    row = "abort"           // nothing ran
	rowFail     row = "fail"            // the program could not be started
	rowExit     row = "exit"            // the exit record is there
	rowAdopt    row = "adopt"           // the shim lives and has a program
	rowShimDead row = "lost-shim"       // it ran; shim and program are dead, no record
	rowNoTrace  row = "lost-no-trace"   // it ran, and its directory is gone; to be proven dead
	rowMaybe    row = "lost-maybe-ran"  // go was taken, nothing more is known
	rowReboot   row = "lost-reboot"     // another boot, no record
	rowRelease  row = "release"         // ended; only the release is missing
	rowOrphan   row = "orphan"          // ended, and its shim lives
	rowUnknown  row = "unknown-handle"  // a directory of no handle
	rowRetain   row = "retain"          // ended, and its creator may still ask
	rowUnproven row = "dead-not-proven" // not a row: the lock is free, but somebody it named lives
)

// match finds the row for a handle as the ledger has it and its directory, nil
// if there is none. Where both say something, what the shim wrote wins over
// what cannot be: a record of an exit over a reboot.
func match(h *projector.Handle, f *act.Found, sameBoot bool) row {
	switch {
	case h == nil || h.Phase == projector.PhaseNone:
		return rowUnknown
	case h.Phase.Terminal():
		return matchEnded(h, f)
	case f != nil && f.Exit != nil:
		return rowExit
	case f != nil && f.Failed != nil && h.Phase == projector.PhaseDecided:
		return rowFail
	case !sameBoot:
		return rowReboot
	case f == nil && h.Phase == projector.PhaseStarted:
		return rowNoTrace
	case f == nil:
		return rowAbort
	case f.Dead:
		return matchDead(h, f)
	case !f.LockHeld:
		return rowUnproven
	case h.Phase == projector.PhaseStarted || f.Started != nil:
		return rowAdopt
	default:
		return rowWait
	}
}

// matchDead is for a handle whose shim and program are proven dead.
func matchDead(h *projector.Handle, f *act.Found) row {
	switch {
	case h.Phase == projector.PhaseStarted || f.Started != nil:
		return rowShimDead
	case f.Go:
		return rowMaybe
	default:
		return rowAbort
	}
}

// correct sets what a directory tells of a handle right by whom the ledger names.
// The files are in reach of every program of the daemon's user, which could put
// another lock and other records there; who the ledger says it was cannot be
// made to look dead. Of another boot nobody lives, and numbers mean nothing.
func (r *recovery) correct(f *act.Found, h *projector.Handle) {
	if h.Decided.BootID != r.boot || h.Started.Seq == 0 {
		return
	}
	f.Shim = h.Shim
	if f.LockHeld {
		return
	}
	if !r.h.hands.Gone(h.Shim) {
		f.LockHeld = true // as good as: whoever took the lock away has proven nothing
	}
	if f.LockHeld || !r.h.hands.Gone(h.Program) {
		f.Dead, f.OtherBoot = false, false
	}
}

func matchEnded(h *projector.Handle, f *act.Found) row {
	switch {
	case f != nil && !f.Dead:
		return rowOrphan
	case projector.Ephemeral(h.Tier):
		return rowRelease
	default:
		return rowRetain
	}
}
