package crashmatrix

import (
	"flag"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/internal/daemontest"
)

// blow is one crash to be put into a cell.
type blow struct {
	cell  cell
	point crashpoint.Point
	nth   int

	// late: the daemon is killed while the obligation is in progress, and the
	// crash comes in the recovery after that.
	late bool

	// again is a point of the recovery that is crashed at, too, if it is passed.
	again string
}

func (b blow) name() string {
	when := "first"
	if b.late {
		when = "recovery"
	}
	return fmt.Sprintf("%s/%s/%s/%d", b.cell.name(), when, b.point.Name, b.nth)
}

// passes are what one cell passes without a crash at a point: while it is told,
// and in the recovery after a kill in the middle of it.
type passes struct {
	cell            cell
	first, recovery map[string]int
}

// tally counts what was done, for the summary.
type tally struct {
	cells, kills, missed, seconds, checks atomic.Int64
}

// every has each point tested in each cell.
var every = flag.Bool("every", false, "crash at every point of every cell, not at a choice of them (hours)")

// TestMatrix kills at the crash points over every tier, state and obligation.
// Each cell is played first with a SIGKILL of the daemon in the middle of its
// obligation, which tells what it passes.
func TestMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("the crash matrix takes minutes")
	}
	var n tally
	known := rehearseCells(t, &n)
	if t.Failed() {
		return
	}
	blows := choose(known)
	t.Run("kill", func(t *testing.T) {
		for _, b := range blows {
			t.Run(b.name(), func(t *testing.T) {
				t.Parallel()
				strike(t, b, &n)
			})
		}
	})
	t.Logf("crash matrix: %d cells (tier × state × obligation), %d kills chosen of %d, %d of them not come by this time; %d processes killed at a point, %d of them in a recovery after another kill; "+
		"%d comparisons of ledger, projections, shim directories, /proc and witness with a daemon that runs, and as many with one that has stopped",
		n.cells.Load(), len(blows), len(candidates(known)), n.missed.Load(), n.kills.Load(), n.seconds.Load(), n.checks.Load())
	if n.missed.Load() > int64(len(blows))/5 {
		t.Errorf("%d of %d kills did not come about: the cells do not pass what they passed in the rehearsal", n.missed.Load(), len(blows))
	}
}

// rehearseCells plays every cell, and returns what each comes by, in the order
// of cells.
func rehearseCells(t *testing.T, n *tally) (known []passes) {
	all := sampleCells(t)
	known = make([]passes, len(all))
	t.Run("middle", func(t *testing.T) {
		for i, c := range all {
			t.Run(c.name(), func(t *testing.T) {
				t.Parallel()
				known[i] = rehearse(t, c, n)
			})
		}
	})
	// To its end each is played only where its program runs: what that comes by
	// the others can come by, too.
	ends := map[string]map[string]int{}
	for i, p := range known {
		if p.cell.state == "running" {
			ends[p.cell.tier+p.cell.duty] = p.first
		} else if first := ends[p.cell.tier+p.cell.duty]; first != nil {
			known[i].first = first
		}
	}
	return known
}

// rehearse kills the daemon in the middle of a cell.
func rehearse(t *testing.T, c cell, n *tally) (p passes) {
	p.cell = c
	if c.state == "running" {
		x := newSite(t)
		x.ClearTrace(t)
		x.play(t, c, true)
		p.first = x.Passings(t)
		x.Daemon.Kill(t)
		x.Run(t)
		x.Daemon.Ready(t)
		x.conclude(t, false, n)
	}
	x := newSite(t)
	x.ClearTrace(t)
	x.play(t, c, false)
	if p.first == nil {
		p.first = x.Passings(t)
	}
	n.kills.Add(1)
	x.ClearTrace(t)
	x.Run(t)
	x.Daemon.Ready(t)
	p.recovery = x.Passings(t)
	x.conclude(t, false, n)
	n.cells.Add(1)
	return p
}

// conclude compares with the daemon that has recovered from a crash, and when all
// has ended and it has stopped.
func (x *site) conclude(t *testing.T, lossAllowed bool, n *tally) {
	t.Helper()
	x.Compare(t)
	n.checks.Add(1)
	x.End(t)
	x.Check(t, x.Witness(), lossAllowed)
}

// strike plays a cell with its crash, and maybe a second one in the recovery,
// and compares afterwards.
func strike(t *testing.T, b blow, n *tally) {
	x := newSite(t)
	shim := b.point.Component == crashpoint.Shim
	if b.late {
		x.play(t, b.cell, false)
		x.Arm(t, b.point.Name, b.nth)
		x.Run(t)
	} else {
		x.Arm(t, b.point.Name, b.nth)
		x.play(t, b.cell, true)
	}
	if b.late {
		x.ReadyOrDead(t)
	}
	died := x.Crashed(b.point.Name, b.nth)
	if !died { // a race went the other way, as they do on a busy machine
		t.Logf("%s was not passed this time", b.point.Name)
		n.missed.Add(1)
	} else {
		n.kills.Add(1)
		if !shim {
			x.DiedAt(t, b.point.Name)
		}
	}
	x.Disarm(t)
	x.Daemon.Kill(t)
	if b.again != "" {
		shim = x.strikeAgain(t, b.again, n) || shim
	}
	x.Run(t)
	x.Daemon.Ready(t)
	x.conclude(t, shim, n)
}

// strikeAgain crashes the recovery at a point, if it passes that. It tells
// whether it may have been a shim that died.
func (x *site) strikeAgain(t *testing.T, point string, n *tally) (shim bool) {
	t.Helper()
	nth := 1
	for x.Crashed(point, nth) {
		nth++ // passings are counted from the beginning
	}
	x.Arm(t, point, nth)
	x.Run(t)
	x.ReadyOrDead(t)
	x.Disarm(t)
	if x.Crashed(point, nth) {
		n.kills.Add(1)
		n.seconds.Add(1)
	}
	x.Daemon.Kill(t)
	return strings.HasPrefix(point, "shim.")
}

// choose picks the crashes to put in: of each tier and state one for every second
// kind of point that it can come by, and of the next one those between, each time
// at the point and under the obligation that were least often chosen so far; and
// every point that no turn came to. With -every it takes them all.
func choose(known []passes) (blows []blow) {
	byCell := map[string][]blow{}
	var order []string
	for _, b := range candidates(known) {
		k := b.cell.tier + "/" + b.cell.state
		if byCell[k] == nil {
			order = append(order, k)
		}
		byCell[k] = append(byCell[k], b)
	}
	used := map[string]int{}
	for i, k := range order {
		blows = append(blows, chooseOf(byCell[k], used, i%2)...)
	}
	// Points that no turn came to.
	for _, b := range candidates(known) {
		if used[b.point.Name] == 0 {
			used[b.point.Name]++
			blows = append(blows, b)
		}
	}
	again := []string{"recovery.started", "recovery.settled", "ledger.commit.durable", "daemon.exit.recorded", "recovery.finished", "daemon.release.recorded", "ledger.commit.begin"}
	for i := range blows {
		if i%3 == 0 {
			blows[i].again = again[i/3%len(again)]
		}
	}
	return blows
}

// chooseOf picks of one tier and state, from every second kind on from the given
// one.
func chooseOf(of []blow, used map[string]int, from int) (blows []blow) {
	if *every {
		return of
	}
	kinds := map[string][]blow{}
	var order []string
	for _, b := range of {
		k := fmt.Sprint(b.late, kindOf(b.point, b.late))
		if kinds[k] == nil {
			order = append(order, k)
		}
		kinds[k] = append(kinds[k], b)
	}
	for i := from; i < len(order); i += 2 {
		k := order[i]
		best := kinds[k][0]
		for _, b := range kinds[k] {
			if cost(b, used) < cost(best, used) {
				best = b
			}
		}
		used[best.point.Name]++
		used[best.cell.tier+best.cell.duty]++
		used[best.cell.duty]++
		used[best.point.Name+best.cell.duty]++
		blows = append(blows, best)
	}
	return blows
}

// cost is how little a blow adds to what was chosen.
func cost(b blow, used map[string]int) int {
	return 4*used[b.point.Name] + 2*used[b.cell.tier+b.cell.duty] + used[b.cell.duty] + 4*used[b.point.Name+b.cell.duty]
}

// kindOf groups points: in a recovery by who comes by, and before it by what is
// being done.
func kindOf(p crashpoint.Point, late bool) string {
	parts := strings.Split(p.Name, ".")
	switch what := parts[1]; {
	case late:
		return parts[0]
	case p.Component == crashpoint.Ledger && what != "commit":
		return "segment" // made, grown, sealed
	case p.Component == crashpoint.Shim && what != "exit":
		return "begin"
	case what == "cancel" || what == "stop" || what == "timer" || what == "shutdown" || what == "stdin" || what == "watch" || what == "handle" || what == "stopped":
		return "order"
	default:
		return parts[0] + what
	}
}

// candidates are all crashes that can be put in, each at the first passing.
func candidates(known []passes) (all []blow) {
	for _, k := range known {
		for _, p := range crashpoint.Points {
			if k.first[p.Name] > 0 {
				all = append(all, blow{cell: k.cell, point: p, nth: 1})
			}
			if k.recovery[p.Name] > 0 {
				all = append(all, blow{cell: k.cell, point: p, nth: 1, late: true})
			}
		}
	}
	return all
}

// sampleCells are the cells to play: all of them, but under the race detector.
func sampleCells(t *testing.T) (all []cell) {
	for i, c := range cells() {
		if !daemontest.Race || i%12 == 5 {
			all = append(all, c)
		}
	}
	if daemontest.Race {
		t.Logf("under the race detector, which sees nothing of the binaries: %d cells of %d", len(all), len(cells()))
	}
	return all
}
