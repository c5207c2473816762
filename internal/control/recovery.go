package control

import "github.com/astrid-os/processledger/ledger/event"

// RecoveryOf is the recovery that an event tells of.
func RecoveryOf(b *event.RecoveryFinished) *Recovery {
	return &Recovery{
		Adopted: b.Adopted, Exited: b.Exited, Lost: b.Lost, Aborted: b.Aborted, Failed: b.Failed, Ended: b.Ended, Orphans: b.Orphans,
		Resumed: b.Resumed, TookNano: b.TookNano, LostReboot: b.LostReboot, LostMaybe: b.LostMaybe, LostNoDirectory: b.LostNoDirectory,
		Released: b.Released, Retained: b.Retained, Pending: b.Pending, Silent: b.Silent, Damaged: b.Damaged, Trash: b.Trash,
		Foreign: b.Foreign, Missing: b.Missing, Unsent: b.Unsent,
	}
}

// Event is the body of the event that tells of the recovery.
func (r *Recovery) Event() *event.RecoveryFinished {
	return &event.RecoveryFinished{
		Adopted: r.Adopted, Exited: r.Exited, Lost: r.Lost, Aborted: r.Aborted, Failed: r.Failed, Ended: r.Ended, Orphans: r.Orphans,
		Resumed: r.Resumed, TookNano: r.TookNano, LostReboot: r.LostReboot, LostMaybe: r.LostMaybe, LostNoDirectory: r.LostNoDirectory,
		Released: r.Released, Retained: r.Retained, Pending: r.Pending, Silent: r.Silent, Damaged: r.Damaged, Trash: r.Trash,
		Foreign: r.Foreign, Missing: r.Missing, Unsent: r.Unsent,
	}
}
