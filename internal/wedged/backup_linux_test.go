package wedged

import (
	"path/filepath"
	"testing"

	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

// TestBackupOfARunningDaemon copies a ledger through its daemon, goes on, and
// restores the copy: what was started before it runs on and keeps its id, what
// was started after it is ended as an orphan.
func TestBackupOfARunningDaemon(t *testing.T) {
	t.Parallel()
	s := newSite(t, "[ledger]", "segment_events = 16")
	d := s.Start(t)
	d.Ready(t)
	drive(t, s, s.Program("persistent", "before", daemontest.Lasting), s.Program("spawn", "quick", daemontest.Quick))
	before := only(t, s, false)
	copied := filepath.Join(s.Dir, "copy")
	v := ctlJSON[struct {
		Sound, Recorded bool
		Segments        int
		Last            uint64 `json:"last_seq"`
	}](t, s, 0, "ledger", "backup", copied)
	if !v.Sound || !v.Recorded || v.Segments < 2 {
		t.Errorf("backed up: %+v", v)
	}
	told := daemontest.Events[*event.LedgerBackedUp](t, s, event.KindLedgerBackedUp)
	if len(told) != 1 || told[0].Directory != copied || told[0].Through != v.Last || int(told[0].Segments) != v.Segments {
		t.Errorf("recorded: %+v", told)
	}
	drive(t, s, s.Program("persistent", "after", daemontest.Lasting))
	daemontest.Eventually(t, "both run", func() bool { return s.Wrote("before", "start") && s.Wrote("after", "start") })
	ctl(t, s, 1, "ledger", "restore", copied, "--replace") // not under a daemon
	d.Kill(t)
	ctl(t, s, 1, "ledger", "restore", copied) // not over a ledger
	ctl(t, s, 0, "ledger", "restore", copied, "--replace")

	d = s.Start(t)
	d.Ready(t)
	if h := only(t, s, false); h.ID != before.ID || h.PID != before.PID {
		t.Errorf("ps shows %+v", h)
	}
	if o := drive(t, s, daemontest.Step{Op: "status", Name: "before"})[0]; o.Phase != "running" {
		t.Errorf("its creator sees %+v", o)
	}
	daemontest.Eventually(t, "what the copy does not know is ended", func() bool {
		return len(daemontest.Events[*event.OrphanEnded](t, s, event.KindOrphanEnded)) > 0
	})
	ctl(t, s, 0, "verify")
	ctl(t, s, 0, "stop", before.ID)
	d.Stop(t)
}
