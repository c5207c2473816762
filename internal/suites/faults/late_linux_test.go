package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

// TestLateCrash kills a daemon without a ledger between keeping an ending and
// carrying it out, and the next one with a ledger between recording it and
// forgetting it. It is recorded once, and as what is known of it.
func TestLateCrash(t *testing.T) {
	t.Parallel()
	s := daemontest.NewArmed(t)
	s.WithDriver(t)
	s.Run(t)
	s.Daemon.Ready(t)
	drive(t, s.Site, s.Program("persistent", "kept", daemontest.Lasting))
	id := only(t, s.Site, false).ID
	daemontest.Eventually(t, "it runs", func() bool { return s.Wrote("kept", "start") })
	s.Daemon.Kill(t)
	// The ledger is put away, and back later: nothing is lost, but nobody can
	// know that meanwhile.
	dir := filepath.Join(s.Data, "ledger")
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	s.Arm(t, "daemon.late.kept", 1)
	s.Run(t)
	phase(t, s.Site, control.PhaseDamaged)
	if _, err := s.Client.Stop(t.Context(), &control.StopRequest{ID: id}); err == nil {
		t.Error("a daemon that died answered")
	}
	s.Daemon.Wait(t)
	if s.Wrote("kept", "told") {
		t.Error("the signal was sent before the daemon died")
	}
	s.Disarm(t)
	s.Run(t)
	phase(t, s.Site, control.PhaseDamaged)
	if _, err := s.Client.Stop(t.Context(), &control.StopRequest{ID: id}); err != nil {
		t.Fatal(err)
	}
	s.Daemon.Stop(t)
	if n := len(lateFiles(t, s.Site)); n != 2 {
		t.Fatalf("%d endings are kept", n)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	s.Arm(t, "daemon.late.recorded", 1)
	s.Run(t)
	s.Daemon.Wait(t)
	s.Disarm(t)
	s.Run(t)
	s.Daemon.Ready(t)
	if n := len(lateFiles(t, s.Site)); n != 0 {
		t.Errorf("%d endings are still kept", n)
	}
	requests := ofHandle[*event.SignalRequested](t, s.Site, event.KindSignalRequested, id)
	sent := ofHandle[*event.SignalSent](t, s.Site, event.KindSignalSent, id)
	if len(requests) != 2 || len(sent) != 2 {
		t.Fatalf("%d signals requested, %d sent", len(requests), len(sent))
	}
	first, second := sent[0].Body.(*event.SignalSent), sent[1].Body.(*event.SignalSent)
	if first.Delivered || !strings.Contains(first.Detail, "unknown") || !second.Delivered {
		t.Errorf("delivered: %+v, %+v", first, second)
	}
	if n := len(ofHandle[*event.ProcessExited](t, s.Site, event.KindProcessExited, id)); n != 1 {
		t.Errorf("%d exits", n)
	}
	s.Daemon.Stop(t)
}

// TestLateOrphanCrash is the same for a process that the ledger does not know any
// more, as after a salvage: its ending is told once.
func TestLateOrphanCrash(t *testing.T) {
	t.Parallel()
	s := daemontest.NewArmed(t)
	s.WithDriver(t)
	s.Run(t)
	s.Daemon.Ready(t)
	drive(t, s.Site, s.Program("persistent", "kept", daemontest.Lasting))
	id := only(t, s.Site, false).ID
	daemontest.Eventually(t, "it runs", func() bool { return s.Wrote("kept", "start") })
	s.Daemon.Kill(t)
	if err := os.RemoveAll(filepath.Join(s.Data, "ledger")); err != nil {
		t.Fatal(err)
	}
	s.Run(t)
	phase(t, s.Site, control.PhaseDamaged)
	if _, err := s.Client.Stop(t.Context(), &control.StopRequest{ID: id}); err != nil {
		t.Fatal(err)
	}
	s.Daemon.Stop(t)
	want := len(lateFiles(t, s.Site))
	ctl(t, s.Site, 0, "ledger", "salvage", "--yes")
	s.Arm(t, "daemon.late.recorded", 1)
	s.Run(t)
	s.Daemon.Wait(t)
	s.Disarm(t)
	s.Run(t)
	s.Daemon.Ready(t)
	told := 0
	for _, e := range ofHandle[*event.OrphanEnded](t, s.Site, event.KindOrphanEnded, id) {
		if strings.Contains(e.Body.(*event.OrphanEnded).Reason, "while there was no ledger") {
			told++
		}
	}
	if want == 0 || told != want {
		t.Errorf("%d endings were kept, and %d are told", want, told)
	}
	s.Daemon.Stop(t)
}
