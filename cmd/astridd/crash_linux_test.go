package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/internal/worldcheck"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
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
	{name: "time out", before: startReady, tell: tellTimeOut, only: []string{"daemon.timer.fired", "daemon.signal.sent"}},
	{name: "recovery", before: leaveMuch, tell: tellStart},
	{name: "silent shim", before: leaveSilent, tell: tellStart, only: []string{"recovery.kill.requested"}, lost: true},
	{name: "older ledger", before: leaveOlderLedger, tell: tellStart,
		only: []string{"recovery.orphan.found", "recovery.orphan.recorded"}},
	{name: "shim alone", before: startReady, tell: tellAlone, only: []string{"shim.exit.unwritten", "shim.exit.written"}},
}

// elsewhere are the points that no story here passes, and the tests that crash
// at them.
var elsewhere = map[string]string{
	"ledger.fail.marked":       "ledger: TestCrash, where a write can be made to fail",
	"ledger.salvage.set-aside": "ledger: TestCrash",
	"shim.exit.synced":         "host/act: TestCrashPointsOfTheShim, which knows when the shim has missed its daemon",
	"migration.backup-copied":  "migrations: its crash test",
	"migration.backup-copying": "migrations: its crash test, which has steps that back up",
}

// every has each passing of each point tested; without it, see sample.
var every = flag.Bool("every", false, "crash at every passing of every point, not at a sample of them (minutes)")

// TestCrash kills a process at each crash point, starts the daemon again, and
// compares the ledger with what really happened.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("the crash test takes minutes")
	}
	passed, all := map[string]bool{}, true
	for _, s := range stories {
		var counts map[string]int
		if !t.Run(s.name+"/rehearsal", func(t *testing.T) { counts = rehearse(t, s) }) || counts == nil {
			all = false // wrong without any crash, or not asked for
			continue
		}
		for _, p := range crashpoint.Points {
			if counts[p.Name] == 0 || (len(s.only) > 0 && !slices.Contains(s.only, p.Name)) {
				continue
			}
			passed[p.Name] = true
			for _, n := range sample(p, counts[p.Name]) {
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

// sample chooses the passings of a point to crash at: the first two, one in the
// middle and the last, and of the many commits each once, at one of its three
// points in turn.
func sample(p crashpoint.Point, count int) (ns []int) {
	turn := slices.Index([]string{"ledger.commit.begin", "ledger.commit.durable", "ledger.commit.published"}, p.Name)
	for n := 1; n <= count; n++ {
		chosen := n <= 2 || n == (count+1)/2 || n == count
		if turn >= 0 {
			chosen = n == 1 || n%3 == turn
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
	c.clearTrace(t)
	s.tell(t, c)
	counts := c.passings(t)
	c.settle(t)
	c.check(t, s.lost)
	return counts
}

// crashAt tells a story with a crash at the nth passing of a point.
func crashAt(t *testing.T, s story, p crashpoint.Point, n int) {
	c := newCrash(t, s)
	c.arm(t, p.Name, n)
	s.tell(t, c)
	if !c.crashed(p.Name, n) {
		// How many commits a story takes depends on what happens to queue.
		if n == 1 {
			t.Errorf("%s was not passed", p.Name)
		}
	} else if p.Component != crashpoint.Shim {
		if c.daemon.wait(t); !c.daemon.diedByKill() {
			t.Errorf("the daemon did not die at %s: %v", p.Name, c.daemon.err)
		}
	}
	c.disarm(t)
	c.settle(t)
	c.check(t, s.lost || p.Component == crashpoint.Shim)
}

// crash is one telling.
type crash struct {
	*site
	daemon *daemonProcess
	points string // directory by which processes are armed, see crashpoint
}

// newCrash makes the site of a story and brings it to its beginning.
func newCrash(t *testing.T, s story) *crash {
	t.Helper()
	c := &crash{site: newSite(t, "[ledger]", "segment_events = 16", "[principal.hasty]", "max_timeout_secs = 1")}
	c.points = filepath.Join(c.dir, "points")
	for _, dir := range []string{c.points, c.witness()} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if !s.fresh {
		c.withDriver(t)
	}
	if s.before != nil {
		s.before(t, c)
	}
	return c
}

// run starts a daemon that can be armed.
func (c *crash) run(t *testing.T) {
	t.Helper()
	c.daemon = c.start(t, "ASTRID_CRASH_AT=@"+c.points)
}

func (c *crash) arm(t *testing.T, name string, n int) {
	t.Helper()
	// Renamed into place: nobody reads half a target.
	tmp := filepath.Join(c.dir, "target")
	write(t, tmp, fmt.Sprintf("%s#%d", name, n))
	if err := os.Rename(tmp, filepath.Join(c.points, "target")); err != nil {
		t.Fatal(err)
	}
}

func (c *crash) disarm(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Join(c.points, "target")); err != nil {
		t.Fatal(err)
	}
}

// crashed tells whether somebody came to the nth passing.
func (c *crash) crashed(name string, n int) bool {
	_, err := os.Stat(filepath.Join(c.points, fmt.Sprintf("%s.%d", name, n)))
	return err == nil
}

func (c *crash) clearTrace(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(c.points, "trace")); err != nil {
		t.Fatal(err)
	}
}

// passings counts the trace by point.
func (c *crash) passings(t *testing.T) map[string]int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.points, "trace"))
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(b)) {
		counts[strings.TrimSpace(line)]++
	}
	return counts
}

// settle kills the daemon if it lives, starts it again, waits until nothing
// runs, and stops it in order.
func (c *crash) settle(t *testing.T) {
	t.Helper()
	c.resumeAll()
	c.daemon.kill(t)
	c.run(t)
	c.daemon.ready(t)
	eventually(t, "nothing runs any more", func() bool {
		ps, err := c.client.Ps(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		return len(ps.Handles) == 0
	})
	// What is counted and what lives must agree at once, not only in the end.
	if left := worldcheck.Marked(c.witness()); len(left) > 0 {
		t.Errorf("no process is counted, and these live: %v", left)
	}
	c.daemon.stop(t)
}

// check compares the ledger with the witness and with the disk.
func (c *crash) check(t *testing.T, lossAllowed bool) {
	t.Helper()
	archive, err := ledger.OpenArchive(filepath.Join(c.data, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	for _, p := range worldcheck.Problems(t.Context(), worldcheck.World{Ledger: archive, Data: c.data, Witness: c.witness()}) {
		t.Error(p)
	}
	c.checkState(t, archive)
	c.checkEvents(t, archive, lossAllowed)
	for _, dir := range []string{"processes", "trash"} {
		if left, err := os.ReadDir(filepath.Join(c.data, dir)); err != nil || len(left) > 0 {
			t.Errorf("%s/ holds %v, %v", dir, left, err)
		}
	}
	eventually(t, "every process of the site is gone", func() bool { return len(c.processes()) == 0 })
	if t.Failed() {
		c.dump(t, archive)
	}
}

// checkState replays everything and looks for what is left open.
func (c *crash) checkState(t *testing.T, archive *ledger.Archive) {
	t.Helper()
	state := projector.New()
	for e, err := range archive.Events(t.Context(), 1, 0) {
		if err == nil {
			err = state.Apply(e)
		}
		if err != nil {
			t.Fatalf("replay: %v", err)
		}
	}
	if n := state.LiveAll().Total(); n != 0 {
		t.Errorf("%d processes are counted as live", n)
	}
	if n := len(state.Handles()); n != 0 {
		t.Errorf("%d handles are not released", n)
	}
	if n := len(state.Cancels()); n != 0 {
		t.Errorf("%d cancels are open", n)
	}
	if n := len(state.Invocations()); n != 0 {
		t.Errorf("%d invocations are open", n)
	}
}

// checkEvents holds that a loss is claimed only where something was lost.
func (c *crash) checkEvents(t *testing.T, archive *ledger.Archive, lossAllowed bool) {
	t.Helper()
	for e, err := range archive.Events(t.Context(), 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := e.Body.(*event.ProcessLost); ok && !lossAllowed {
			t.Errorf("event %d: %s is lost (%s: %s), although its shim never died", e.Seq, e.Handle, b.Reason, b.Detail)
		}
	}
}

// dump shows the ledger of a failed test.
func (c *crash) dump(t *testing.T, archive *ledger.Archive) {
	t.Helper()
	for e, err := range archive.Events(t.Context(), 1, 0) {
		if err != nil {
			t.Log(err)
			return
		}
		b, _ := e.MarshalJSON()
		t.Logf("%.600s", b)
	}
}

// startReady starts a daemon and waits until it is ready.
func startReady(t *testing.T, c *crash) {
	c.run(t)
	c.daemon.ready(t)
}

// tellStart is a start, until the daemon is ready or dead.
func tellStart(t *testing.T, c *crash) {
	c.run(t)
	ctx, cancel := c.whileAlive(t)
	defer cancel()
	_, _ = c.client.WaitReady(ctx)
}

// whileAlive ends when the daemon does.
func (c *crash) whileAlive(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	done := c.daemon.done
	go func() {
		select {
		case <-done:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// tellLife is a working day: programs that end by themselves, fail to start,
// are signalled, killed, cancelled, and ended by an orderly stop.
func tellLife(t *testing.T, c *crash) {
	ctx, cancel := c.whileAlive(t)
	defer cancel()
	_, _ = c.drive(ctx, "alice", "c1",
		c.program("spawn", "sync", quick),
		step{Op: "spawn", Cmd: "/no/such/program"},
		c.program("background", "cancelled", lasting))
	c.await(ctx, "cancelled", "start")
	_, _ = c.client.Cancel(ctx, &control.CancelRequest{Principal: "alice", Capsule: "driver", CallIDs: []string{"c1"}, Reason: "test"})
	_, _ = c.drive(ctx, "alice", "c2",
		step{Op: "wait", Name: "cancelled"}, step{Op: "drop", Name: "cancelled"},
		c.program("background", "ends", quick), step{Op: "wait", Name: "ends"}, step{Op: "drop", Name: "ends"},
		c.program("background", "told", lasting), step{Op: "signal", Name: "told", Signal: 0},
		step{Op: "wait", Name: "told"}, step{Op: "drop", Name: "told"},
		c.program("background", "killed", lasting), step{Op: "kill", Name: "killed"}, step{Op: "drop", Name: "killed"},
		c.program("background", "stopped", lasting))
	c.await(ctx, "stopped", "start")
	if ctx.Err() == nil {
		_ = c.daemon.cmd.Process.Signal(syscall.SIGTERM)
		c.daemon.wait(t)
	}
}

// await waits until a program has noted something, or nobody is left to make
// it.
func (c *crash) await(ctx context.Context, name, line string) {
	for ctx.Err() == nil && !c.wrote(name, line) && c.mayCome(name) {
		time.Sleep(5 * time.Millisecond)
	}
}

// mayCome tells whether the program can still write: while the daemon counts
// it as live.
func (c *crash) mayCome(name string) bool {
	ps, err := c.client.Ps(context.Background(), false)
	return err == nil && len(ps.Handles) > 0
}

// tellCancelBeforeGo cancels a spawn that is decided and cannot go, because
// the launcher of shims is halted.
func tellCancelBeforeGo(t *testing.T, c *crash) {
	ctx, cancel := c.whileAlive(t)
	defer cancel()
	defer c.resumeAll()
	c.halt(t, "launch")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = c.drive(ctx, "alice", "c1", c.program("spawn", "never", quick))
	}()
	c.awaitKind(ctx, event.KindSpawnDecided)
	cancelled := make(chan struct{})
	go func() {
		defer close(cancelled)
		_, _ = c.client.Cancel(ctx, &control.CancelRequest{Principal: "alice", CallIDs: []string{"c1"}})
	}()
	c.awaitKind(ctx, event.KindCancelRequested)
	c.resumeAll()
	<-cancelled
	<-done
	if c.wrote("never", "start") {
		t.Error("a program ran that was cancelled before go")
	}
}

// awaitKind waits until an event of that kind is durable.
func (c *crash) awaitKind(ctx context.Context, kind event.Kind) {
	s, err := c.client.Events(ctx, &control.EventsQuery{Follow: true, Filter: query.Filter{Kinds: []event.Kind{kind}}})
	if err != nil {
		return
	}
	defer s.Close()
	for range s.All() {
		return
	}
}

// halt stops the site's shim processes in a mode.
func (c *crash) halt(t *testing.T, mode string) {
	t.Helper()
	n := 0
	for _, pid := range c.processes() {
		if cmdline(pid) == filepath.Join(c.bin, "astrid-shim")+" "+mode || cmdline(pid) == "astrid-shim "+mode {
			n++
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n == 0 {
		t.Fatalf("no process of astrid-shim %s", mode)
	}
}

// resumeAll lets halted processes go on.
func (c *crash) resumeAll() {
	for _, pid := range c.processes() {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
}

// tellTimeOut has a sync spawn run into its time limit.
func tellTimeOut(t *testing.T, c *crash) {
	ctx, cancel := c.whileAlive(t)
	defer cancel()
	_, _ = c.drive(ctx, "hasty", "c1", c.program("spawn", "late", lasting))
}

// leaveMuch is a daemon that was killed while much was going on: a program that
// runs, one that ended meanwhile, a cancel that was not finished, and a
// directory of which nobody knows anything.
func leaveMuch(t *testing.T, c *crash) {
	startReady(t, c)
	out, err := c.drive(t.Context(), "alice", "c1",
		c.program("background", "runs", lasting), c.program("background", "meanwhile", lasting))
	if err != nil || out[0].Err+out[1].Err != "" {
		t.Fatalf("%+v, %v", out, err)
	}
	for _, name := range []string{"runs", "meanwhile"} {
		eventually(t, name+" has started", func() bool { return c.wrote(name, "start") })
	}
	c.daemon.kill(t)
	c.release(t, "meanwhile")
	eventually(t, "it has ended", func() bool { return c.wrote("meanwhile", "end") && c.exits() == 1 })
	if err := os.Mkdir(filepath.Join(c.data, "processes", ulid.Make().String()), 0o700); err != nil {
		t.Fatal(err)
	}
}

// exits counts the exit records on disk.
func (c *crash) exits() int {
	found, _ := filepath.Glob(filepath.Join(c.data, "processes", "*", "exit"))
	return len(found)
}

// leaveSilent is a daemon that was killed, and a shim that does not answer its
// successor.
func leaveSilent(t *testing.T, c *crash) {
	startReady(t, c)
	if _, err := c.drive(t.Context(), "alice", "c1", c.program("background", "runs", lasting)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has started", func() bool { return c.wrote("runs", "start") })
	c.halt(t, "shim")
	c.daemon.kill(t)
}

// leaveOlderLedger is a ledger from before a process that still runs, as after
// a restored backup.
func leaveOlderLedger(t *testing.T, c *crash) {
	startReady(t, c)
	if _, err := c.drive(t.Context(), "alice", "c1", c.program("background", "unknown", lasting)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has started", func() bool { return c.wrote("unknown", "start") })
	c.daemon.kill(t)
	from := template(t)
	// No ledger can tell of this one: the witness is not asked about it.
	for _, path := range []string{filepath.Join(c.data, "ledger"), filepath.Join(c.witness(), "nonce-unknown")} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(c.data, "ledger"), os.DirFS(filepath.Join(from, "ledger"))); err != nil {
		t.Fatal(err)
	}
}

// tellAlone has a program end while no daemon is there: only its shim can write
// down how.
func tellAlone(t *testing.T, c *crash) {
	if _, err := c.drive(t.Context(), "alice", "c1", c.program("background", "alone", lasting)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has started", func() bool { return c.wrote("alone", "start") })
	c.daemon.kill(t)
	c.release(t, "alone")
	eventually(t, "its shim has left", func() bool { return len(c.processes()) == 0 })
}

func containsLine(text, line string) bool {
	return slices.Contains(strings.Split(text, "\n"), line)
}
