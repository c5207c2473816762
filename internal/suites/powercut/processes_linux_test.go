package powercut

import (
	"fmt"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// testDirectories: every process directory that a power cut leaves says of its
// process what is true, or nothing, and proves it dead; a record of an exit that
// its shim knows to be on the disk is there.
func (rec *recording) testDirectories(t *testing.T) {
	w := &sweep{rec: rec, h: rec.h, task: taskScan, below: []string{"data/processes"}, most: 4000, wrong: rec.scanWrong}
	must(t, w.run(t))
}

func (rec *recording) scanWrong(s *State, a *answer) string {
	if a.Err != "" {
		return a.Err
	}
	found := map[ulid.ULID]seen{}
	for _, f := range a.Seen {
		found[f.Handle] = f
		if why := rec.truth.contradicts(f); why != "" {
			return fmt.Sprintf("%s: %s", f.Handle, why)
		}
	}
	for _, k := range rec.truth.records {
		if k.at < s.Cut && rec.truth.needed(k.handle, s.Cut) && found[k.handle].Exit == nil {
			return fmt.Sprintf("%s: its exit record is gone, which its shim had made durable; found %+v", k.handle, found[k.handle])
		}
	}
	return ""
}

// contradicts tells what a directory says against the truth.
func (tr *truth) contradicts(f seen) string {
	end := tr.end(f.Handle)
	switch {
	case !f.Dead:
		return "it is not proven dead, on another boot of the machine"
	case f.Exit != nil && (end == nil || end.Exit == nil || !sameExit(f.Exit, end.Exit)):
		return fmt.Sprintf("its record says %s, the ledger in the end %s", exitText(f.Exit), marshal(end))
	case f.Failed && (end == nil || end.Kind != event.KindSpawnFailed):
		return "its record says that it was not run, and it was"
	}
	return ""
}

// end is how a process ended in truth, nil if it never began.
func (tr *truth) end(handle ulid.ULID) *ended {
	for _, e := range tr.events {
		if e.Handle != handle {
			continue
		}
		switch b := e.Body.(type) {
		case *event.ProcessExited:
			return &ended{Handle: handle, Kind: e.Kind(), Exit: &b.Exit}
		case *event.ProcessLost:
			return &ended{Handle: handle, Kind: e.Kind(), Reason: b.Reason}
		case *event.SpawnFailed, *event.SpawnAborted:
			return &ended{Handle: handle, Kind: e.Kind()}
		}
	}
	return nil
}

// needed tells whether a process's record is what its end is known by: until
// the ledger is sure to hold that.
func (tr *truth) needed(handle ulid.ULID, cut int) bool {
	due := tr.due(cut).seq
	for _, e := range tr.events {
		if e.Handle == handle && e.Kind() == event.KindProcessExited {
			return e.Seq > due
		}
	}
	return true
}

func sameExit(a, b *event.Exit) bool { return exitText(a) == exitText(b) }

func exitText(e *event.Exit) string {
	switch {
	case e.Code != nil:
		return fmt.Sprintf("exit code %d", *e.Code)
	case e.Signal != nil:
		return fmt.Sprintf("signal %d", *e.Signal)
	}
	return "nothing"
}

// testRecovery: what a recovery makes of a power cut is true: every process has
// ended, those with a durable record as it says, the others lost.
func (rec *recording) testRecovery(t *testing.T) {
	w := &sweep{
		rec: rec, h: rec.h, task: taskRecover, most: 600, wrong: rec.recoveryWrong,
		below: []string{"data/ledger", "data/processes", "data/trash"},
	}
	must(t, w.run(t))
}

func (rec *recording) recoveryWrong(s *State, a *answer) string {
	if why := rec.ledgerWrong(s, a); why != "" || a.Err != "" {
		return why
	}
	ends := map[ulid.ULID]ended{}
	for _, e := range a.Ends {
		if before, twice := ends[e.Handle]; twice {
			return fmt.Sprintf("%s ended twice: %s, %s", e.Handle, marshal(before), marshal(e))
		}
		ends[e.Handle] = e
		if why := rec.truth.disagrees(s.Cut, e); why != "" {
			return fmt.Sprintf("%s: %s", e.Handle, why)
		}
	}
	for _, k := range rec.truth.records {
		if k.at < s.Cut && ends[k.handle].Kind == event.KindProcessLost {
			return fmt.Sprintf("%s: it is lost, and its exit record was durable", k.handle)
		}
	}
	return ""
}

// disagrees tells what the recovered ledger says against the truth.
func (tr *truth) disagrees(cut int, e ended) string {
	end := tr.end(e.Handle)
	switch {
	case end == nil:
		return "it ended, and never began"
	case e.Kind == event.KindProcessExited && (end.Exit == nil || !sameExit(e.Exit, end.Exit)):
		return fmt.Sprintf("it ended with %s, in truth %s", exitText(e.Exit), marshal(end))
	case e.Kind == event.KindSpawnFailed && end.Kind != e.Kind:
		return "it failed to start, and in truth it ran"
	case e.Kind == event.KindSpawnAborted && end.Kind != e.Kind && tr.went(e.Handle, cut):
		return "nothing ran, says the ledger, and go had been sent"
	case e.Kind == event.KindProcessLost && end.Kind != e.Kind && e.Reason != "reboot":
		return fmt.Sprintf("it is lost for the reason %q", e.Reason)
	}
	return ""
}

// went tells whether go had been sent before a cut.
func (tr *truth) went(handle ulid.ULID, cut int) bool {
	at, ok := tr.goes[handle]
	return ok && at < cut
}
