package host

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// situation is all that the row of a handle depends on.
type situation struct {
	phase                     projector.Phase
	tier                      event.Tier
	sameBoot                  bool
	directory, locked, dead   bool
	goes, started, fails, end bool // records that are there
}

// possible tells whether a situation can be: the dead hold no lock, nobody works
// without a directory, and a shim that was let go says so before all else.
func (s situation) possible() bool {
	switch {
	case s.dead && s.locked,
		!s.directory && (s.locked || s.dead || s.goes || s.started || s.fails || s.end),
		!s.goes && (s.started || s.fails || s.end),
		s.fails && (s.started || s.end):
		return false
	}
	return true
}

func (s situation) handle() *projector.Handle {
	return &projector.Handle{Phase: s.phase, Tier: s.tier}
}

func (s situation) found() *act.Found {
	if !s.directory {
		return nil
	}
	f := &act.Found{LockHeld: s.locked, Dead: s.dead, Go: s.goes}
	if s.started {
		f.Started = &event.ProcessStarted{}
	}
	if s.fails {
		f.Failed = &event.SpawnFailed{}
	}
	if s.end {
		f.Exit = &act.ExitRecord{}
	}
	return f
}

// rule is a row of the plan's table, as it stands there: where it holds, and
// what then.
type rule struct {
	says  string
	holds func(situation) bool
	rows  []row
}

// rules are the table of the plan in its own words. Where more than one holds,
// the first does.
var rules = []rule{
	{"nothing | shim or directory: killed, orphan.ended; released | directory: trash",
		func(s situation) bool { return s.phase == projector.PhaseNone }, []row{rowUnknown}},
	{"terminal | shim alive: killed, orphan.ended",
		func(s situation) bool { return s.phase.Terminal() && s.directory && !s.dead }, []row{rowOrphan}},
	{"terminal: released, or kept for its creator",
		func(s situation) bool { return s.phase.Terminal() }, []row{rowRelease, rowRetain}},
	{"decided or started | exit record: process.exited, in whichever boot",
		func(s situation) bool { return s.end }, []row{rowExit}},
	{"decided | failed: spawn.failed",
		func(s situation) bool { return s.phase == projector.PhaseDecided && s.fails }, []row{rowFail}},
	{"decided or started | another boot, no exit record: lost, reboot",
		func(s situation) bool { return !s.sameBoot }, []row{rowReboot}},
	{"lost needs proof of death: neither a lock nor an identity that is gone, so it stays counted",
		func(s situation) bool { return s.directory && !s.dead && !s.locked }, []row{rowUnproven}},
	{"started | shim alive: adopted, or ended as owner-lost; decided | started: take it in, go on below",
		func(s situation) bool { return s.locked && (s.started || s.phase == projector.PhaseStarted) }, []row{rowAdopt}},
	{"decided | lock held, no go: wait bounded; with go its files will say",
		func(s situation) bool { return s.locked }, []row{rowWait}},
	{"started | none, and nobody lives: lost; whose directory is gone, too, by its identities",
		func(s situation) bool { return s.phase == projector.PhaseStarted && !s.directory }, []row{rowNoTrace}},
	{"started | none, lock free: lost, shim killed",
		func(s situation) bool { return s.started || s.phase == projector.PhaseStarted }, []row{rowShimDead}},
	{"decided | go without started or failed, lock free: may have run",
		func(s situation) bool { return s.goes }, []row{rowMaybe}},
	{"decided | same boot, no go, lock free: aborted",
		func(s situation) bool { return true }, []row{rowAbort}},
}

// row is what the table says.
func (s situation) row() row {
	for _, r := range rules {
		if !r.holds(s) {
			continue
		}
		if len(r.rows) == 2 && !projector.Ephemeral(s.tier) {
			return r.rows[1]
		}
		return r.rows[0]
	}
	return ""
}

// everySituation calls fn with all there are.
func everySituation(fn func(situation)) {
	phases := []projector.Phase{projector.PhaseNone, projector.PhaseDecided, projector.PhaseStarted,
		projector.PhaseExited, projector.PhaseAborted, projector.PhaseFailed, projector.PhaseLost}
	for _, phase := range phases {
		for tier := event.TierSync; tier <= event.TierPersistent; tier++ {
			for bits := range 1 << 8 {
				on := func(i int) bool { return bits&(1<<i) != 0 }
				s := situation{phase, tier, on(0), on(1), on(2), on(3), on(4), on(5), on(6), on(7)}
				if s.possible() {
					fn(s)
				}
			}
		}
	}
}

// TestMatchIsTheTable holds match against the table in every situation there is,
// and that each rule of the table is needed.
func TestMatchIsTheTable(t *testing.T) {
	used := map[row]int{}
	everySituation(func(s situation) {
		got := match(s.handle(), s.found(), s.sameBoot)
		if got != s.row() {
			t.Errorf("%+v: %s, the table says %s", s, got, s.row())
		}
		used[got]++
	})
	for _, r := range rules {
		for _, row := range r.rows {
			if used[row] == 0 {
				t.Errorf("no situation is for %s: %s", row, r.says)
			}
		}
	}
	if match(nil, nil, true) != rowUnknown {
		t.Error("no handle is not unknown")
	}
}

// TestMatchClaimsNothingUnproven holds, in random situations, what no row may
// ever do, whatever else the table says.
func TestMatchClaimsNothingUnproven(t *testing.T) {
	var all []situation
	everySituation(func(s situation) { all = append(all, s) })
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(all).Draw(t, "situation")
		got := match(s.handle(), s.found(), s.sameBoot)
		ends := got == rowShimDead || got == rowMaybe || got == rowAbort || got == rowReboot
		text := fmt.Sprintf("%+v: %s", s, got)
		switch {
		case ends && s.sameBoot && s.directory && !s.dead:
			t.Fatalf("%s, although nobody is proven dead", text)
		case ends && s.end:
			t.Fatalf("%s, although the exit is known", text)
		case got == rowAbort && s.goes:
			t.Fatalf("%s, although it was let go", text)
		case got == rowAdopt && (!s.sameBoot || !s.locked):
			t.Fatalf("%s: nobody is adopted by number", text)
		case s.phase.Live() && (got == rowRelease || got == rowRetain || got == rowOrphan || got == rowUnknown):
			t.Fatalf("%s: a live handle would be given up", text)
		case s.phase.Terminal() && got != rowRelease && got != rowRetain && got != rowOrphan:
			t.Fatalf("%s: an outcome would be recorded twice", text)
		}
		// With more known, an outcome never becomes less: the exit record wins.
		s.goes, s.started, s.fails, s.directory, s.end = true, true, false, true, true
		if s.possible() && s.phase.Live() && match(s.handle(), s.found(), s.sameBoot) != rowExit {
			t.Fatalf("%s: with an exit record it is not exited", text)
		}
	})
}
