package crashstories

import (
	"flag"
	"fmt"
	"slices"
	"testing"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/internal/daemontest"
)

// story is something that happens to a daemon; a crash is then put into each
// place where it passes a crash point.
type story struct {
	name string

	// fresh: there is no data directory yet, and no capsule.
	fresh bool

	// before brings the site to where the story begins; it cannot crash.
	before func(t *testing.T, c *crash)

	// tell is the story. Once the daemon is dead, everything in it fails, and
	// it returns all the same.
	tell func(t *testing.T, c *crash)

	// only, if not empty, are the points that it is told for.
	only []string

	// lost: a process may be lost in it, whatever crashes.
	lost bool
}

// stories are told once without a crash, to learn which points they pass, and
// then once for each passing.
var stories = []story{
	{name: "first start", fresh: true, tell: tellStart},
	{name: "life", before: startReady, tell: tellLife},
	{name: "cancel before go", before: startReady, tell: tellCancelBeforeGo,
		only: []string{"daemon.spawn.aborting", "daemon.cancel.requested", "ledger.commit.begin", "ledger.commit.durable"}},
	{name: "time out", before: startReady, tell: tellTimeOut, only: []string{"daemon.timer.fired", "daemon.signal.requested", "daemon.signal.sent"}},
	{name: "persistent", before: startReady, tell: tellPersistent},
	{name: "restart", before: leavePersistentRunning, tell: tellRestart},
	{name: "recovery", before: leaveMuch, tell: tellStart},
	{name: "recovery of persistent processes", before: leavePersistent, tell: tellStart},
	{name: "silent shim", before: leaveSilent, tell: tellStart, only: []string{"recovery.kill.requested"}, lost: true},
	{name: "older ledger", before: leaveOlderLedger, tell: tellStart,
		only: []string{"recovery.orphan.found", "recovery.orphan.recorded"}},
	{name: "shim alone", before: startReady, tell: tellAlone, only: []string{"shim.exit.unwritten"}},
}

// elsewhere are the points that no story here passes for certain, and the tests
// that crash at them.
var elsewhere = map[string]string{
	"ledger.fail.marked":       "ledger: TestCrash, where a write can be made to fail",
	"ledger.salvage.set-aside": "ledger: TestCrash",
	"shim.files.laid":          "host/act: TestCrashPointsOfTheShim, which gives its programs files",
	"shim.exit.synced":         "host/act: TestCrashPointsOfTheShim, which knows when the shim has missed its daemon",
	"ledger.snapshot.written":  "ledger: TestCrash, whose ledgers keep a snapshot every few events",
	"ledger.snapshot.renamed":  "ledger: TestCrash, as above",
	"migration.backup-copied":  "migrations: its crash test",
	"migration.backup-copying": "migrations: its crash test, which has steps that back up",
	"restore.copied":           "ledger/backup",
	"restore.set-aside":        "ledger/backup",
	"daemon.late.kept":         "internal/suites/faults: TestLateCrash",
	"daemon.late.recorded":     "internal/suites/faults: TestLateCrash",
	"salvage.set-aside":        "ledger/salvage",
	"ledger.rebuild.written":   "ledger/salvage",
	"ledger.rebuild.cleared":   "ledger/salvage",
}

// every has each passing of each point tested; without it, see sample.
var every = flag.Bool("every", false, "crash at every passing of every point, not at a sample of them (minutes)")

// TestCrash kills a process at each crash point, starts the daemon again, and
// compares the ledger with what really happened.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("the crash test takes minutes")
	}
	if daemontest.Race {
		t.Log("under the race detector, which sees nothing of the binaries: one kill in four points")
	}
	passed, all := map[string]bool{}, true
	for _, s := range stories {
		var counts map[string]int
		if !t.Run(s.name+"/rehearsal", func(t *testing.T) { counts = rehearse(t, s) }) || counts == nil {
			all = false // wrong without any crash, or not asked for
			continue
		}
		for _, p := range crashpoint.Points {
			if counts[p.Name] == 0 || elsewhere[p.Name] != "" || (len(s.only) > 0 && !slices.Contains(s.only, p.Name)) {
				continue
			}
			passed[p.Name] = true
			for i, n := range sample(p, counts[p.Name]) {
				if daemontest.Race && (i > 0 || len(passed)%4 != 0) {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%d", s.name, p.Name, n), func(t *testing.T) {
					t.Parallel()
					crashAt(t, s, p, n)
				})
			}
		}
	}
	if all {
		checkCoverage(t, passed)
	}
}

// checkCoverage holds that no crash point goes untested.
func checkCoverage(t *testing.T, passed map[string]bool) {
	t.Helper()
	for _, p := range crashpoint.Points {
		if where := elsewhere[p.Name]; !passed[p.Name] && where == "" {
			t.Errorf("crash point %s is passed by no story: tell one, or name the test that crashes at it", p.Name)
		} else if passed[p.Name] && where != "" {
			t.Errorf("crash point %s is passed here, too; it need not be listed as tested in %s", p.Name, where)
		}
	}
}

// sample chooses the passings of a point to crash at: the first and the last,
// and of the many commits every second one, at one of its three points in turn.
func sample(p crashpoint.Point, count int) (ns []int) {
	turn := slices.Index([]string{"ledger.commit.begin", "ledger.commit.durable", "ledger.commit.published"}, p.Name)
	for n := 1; n <= count; n++ {
		chosen := n == 1 || n == count
		if turn >= 0 {
			chosen = n == 1 || n%6 == 2*turn
		}
		if chosen || *every {
			ns = append(ns, n)
		}
	}
	return ns
}

// rehearse tells a story without a crash and counts what it passes.
func rehearse(t *testing.T, s story) map[string]int {
	t.Helper()
	c := newCrash(t, s)
	c.ClearTrace(t)
	s.tell(t, c)
	counts := c.Passings(t)
	c.Settle(t)
	c.Check(t, c.Witness(), s.lost)
	return counts
}

// crashAt tells a story with a crash at the nth passing of a point.
func crashAt(t *testing.T, s story, p crashpoint.Point, n int) {
	c := newCrash(t, s)
	c.Arm(t, p.Name, n)
	s.tell(t, c)
	if !c.Crashed(p.Name, n) {
		// How many commits a story takes depends on what happens to queue.
		if n == 1 {
			t.Errorf("%s was not passed", p.Name)
		}
	} else if p.Component != crashpoint.Shim {
		c.DiedAt(t, p.Name)
	}
	c.Disarm(t)
	c.Settle(t)
	c.Check(t, c.Witness(), s.lost || p.Component == crashpoint.Shim)
}

// crash is one telling.
type crash struct{ *daemontest.Armed }

// newCrash makes the site of a story and brings it to its beginning.
func newCrash(t *testing.T, s story) *crash {
	t.Helper()
	c := &crash{daemontest.NewArmed(t, "[ledger]", "segment_events = 16", "[principal.hasty]", "max_timeout_secs = 1")}
	if !s.fresh {
		c.WithDriver(t)
	}
	if s.before != nil {
		s.before(t, c)
	}
	return c
}
