package torture

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/internal/worldcheck"
	"github.com/astrid-os/processledger/ledger/event"
)

var (
	tortureKills = flag.Int("kills", 150, "processes to kill in TestTorture")
	tortureSeed  = flag.Uint64("seed", 0, "seed of TestTorture; 0 draws one, and prints it")
)

// TestTorture kills daemons, shims and launchers at random moments and at random
// crash points over one data directory, which grows from round to round, and
// compares the world after each. The seed fixes what is done and in which
// order; when exactly a kill comes is the machine's.
func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("the torture takes most of a minute")
	}
	seed, want := *tortureSeed, *tortureKills
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	if daemontest.Race && want > 60 {
		t.Logf("under the race detector, which sees nothing of the binaries: 60 kills instead of %d", want)
		want = 60
	}
	w := newTorture(t, seed)
	began := time.Now()
	for w.kills() < want && !t.Failed() {
		w.round(t)
	}
	if t.Failed() {
		t.Logf("again: make torture SEED=%d KILLS=%d", seed, w.kills())
		return
	}
	w.end(t)
	t.Logf("torture: seed %d: %s in %s", seed, w.report(), time.Since(began).Round(time.Second))
}

// untidy is a test that is not told of each daemon, of which there are
// thousands: the torture ends them by itself, and shows the log of the last.
type untidy struct{ testing.TB }

// Cleanup does nothing.
func (untidy) Cleanup(func()) {}

// torture is a site that is being tortured.
type torture struct {
	*daemontest.Armed
	rng     *rand.Rand // used by one goroutine
	checker worldcheck.Checker
	rounds  int
	named   int

	// How many were killed, by what they were.
	daemons, recoveries, shims, launchers, points atomic.Int64
	shimDeaths                                    atomic.Int64 // of shims, by us or at a point
}

func newTorture(t *testing.T, seed uint64) *torture {
	t.Helper()
	t.Logf("torture: seed %d", seed)
	c := daemontest.NewArmed(t,
		"[log]", `level = "error"`,
		"[ledger]", "segment_events = 512",
		"[quotas]", "max_background_processes = 64", "max_capsule_processes = 256", "max_sync_processes = 16", "max_timeout_secs = 1")
	c.Keep = true
	c.WithDriver(t)
	w := &torture{Armed: c, rng: rand.New(rand.NewPCG(seed, 4))}
	c.Run(untidy{t})
	t.Cleanup(func() {
		w.Daemon.Kill(t)
		if t.Failed() {
			t.Logf("log of the last daemon:\n%s", w.Daemon.Tail())
		}
	})
	c.Daemon.Ready(t)
	return w
}

func (w *torture) kills() int {
	return int(w.daemons.Load() + w.recoveries.Load() + w.shims.Load() + w.launchers.Load() + w.points.Load())
}

func (w *torture) report() string {
	s := w.checker.State()
	return fmt.Sprintf("%d kills in %d rounds (daemons %d, daemons during recovery %d, shims %d, launchers %d, at crash points %d); "+
		"%d programs, %d of them lost with their shims, %d events",
		w.kills(), w.rounds, w.daemons.Load(), w.recoveries.Load(), w.shims.Load(), w.launchers.Load(), w.points.Load(),
		w.named, w.checker.Lost(), s.Seq())
}

// round is some work over which somebody dies, the recoveries after that, and
// the comparison.
func (w *torture) round(t *testing.T) {
	w.rounds++
	w.work(t)
	for range 1 + w.rng.IntN(5) {
		w.recovery(t)
	}
	w.Run(untidy{t})
	w.Daemon.Ready(t)
	w.compareAll(t)
	w.cull(t)
	w.clean(t)
	if w.rounds%25 == 0 {
		t.Logf("%s", w.report())
	}
}

// principals on whose behalf the work is done; each has an instance of its own.
var principals = []string{"alice", "bob", "carol"}

// work drives the capsule for every principal, and kills meanwhile.
func (w *torture) work(t *testing.T) {
	ctx, cancel := w.WhileAlive(t)
	defer cancel()
	var all sync.WaitGroup
	for _, p := range principals {
		var batches [][]daemontest.Step
		for range 1 + w.rng.IntN(2) {
			batches = append(batches, w.batch())
		}
		call := fmt.Sprintf("c%d-%s", w.rounds, p)
		all.Go(func() {
			for _, b := range batches {
				_, _ = w.Drive(ctx, p, call, b...)
			}
		})
	}
	w.operate(t, &all)
	w.killSome(t)
	all.Wait()
}

// batch is what one call of the capsule does: some spawns, and things done with
// them.
func (w *torture) batch() (steps []daemontest.Step) {
	for range 2 + w.rng.IntN(6) {
		s := w.spawn()
		steps = append(steps, s)
		for range w.rng.IntN(3) {
			if o, ok := w.with(s); ok {
				steps = append(steps, o)
			}
		}
	}
	return steps
}

// spawn is the start of a program of some tier that does something.
func (w *torture) spawn() daemontest.Step {
	w.named++
	name := fmt.Sprintf("%d-%d", w.rounds, w.named)
	op := []string{"spawn", "background", "background", "persistent", "persistent"}[w.rng.IntN(5)]
	scripts := []string{daemontest.Brief, daemontest.Steady, daemontest.SteadyHeedless, daemontest.Steady, daemontest.Flood, daemontest.Hearing}
	if op == "spawn" {
		scripts = []string{daemontest.Brief, daemontest.Brief, daemontest.Brief, daemontest.Brief, daemontest.Brief, daemontest.Steady}
	}
	s := w.Program(op, name, scripts[w.rng.IntN(len(scripts))])
	s.Args = append(s.Args, "0.1")
	s.Pressure = w.rng.IntN(3) == 0
	s.RetentionMS = 200 + w.rng.Int64N(2000)
	if w.rng.IntN(4) == 0 {
		s.LifetimeMS = 50 + w.rng.Int64N(1000)
	}
	if w.rng.IntN(4) == 0 {
		s.IdleMS = 50 + w.rng.Int64N(1000)
	}
	return s
}

// with is something done with what was started; nothing for a sync spawn, which
// is over.
func (w *torture) with(s daemontest.Step) (daemontest.Step, bool) {
	of := map[string][]string{
		"background": {"signal", "kill", "wait", "drop"},
		"persistent": {"write", "eof", "read", "attach", "watch", "unwatch", "stop", "status", "await", "release"},
	}[s.Op]
	if len(of) == 0 {
		return daemontest.Step{}, false
	}
	o := daemontest.Step{Op: of[w.rng.IntN(len(of))], Name: s.Name, MS: 1 + w.rng.Int64N(100), Text: "line\n"}
	if o.Op == "watch" {
		o.Text = "web"
	}
	return o, true
}

// operate does what an operator and the world do meanwhile: cancels, stops,
// reads, lets programs end, and stops some in their tracks.
func (w *torture) operate(t *testing.T, all *sync.WaitGroup) {
	rng := rand.New(rand.NewPCG(w.rng.Uint64(), 1))
	round := w.rounds
	ctx, cancel := w.WhileAlive(t)
	all.Go(func() {
		defer cancel()
		for range rng.IntN(6) {
			time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
			var held []control.Handle
			if ps, err := w.Client.Ps(ctx, true); err == nil {
				held = ps.Handles
			}
			if len(held) == 0 {
				continue
			}
			h := held[rng.IntN(len(held))]
			grace := rng.Int64N(int64(200 * time.Millisecond))
			switch rng.IntN(5) {
			case 0:
				all.Go(func() { _, _ = w.Client.Stop(ctx, &control.StopRequest{ID: h.ID, GraceNano: &grace}) })
			case 1:
				p := principals[rng.IntN(len(principals))]
				_, _ = w.Client.Cancel(ctx, &control.CancelRequest{Principal: p, CallIDs: []string{fmt.Sprintf("c%d-%s", round, p)}, Reason: "torture"})
			case 2:
				if lines, err := w.Client.Logs(ctx, &control.LogsQuery{ID: h.ID}); err == nil {
					for range lines.All() {
					}
					_ = lines.Close()
				}
			case 3:
				w.openGates(rng)
			case 4:
				w.stopOne(rng)
			}
		}
	})
}

// openGates lets some programs end by themselves.
func (w *torture) openGates(rng *rand.Rand) {
	entries, _ := os.ReadDir(w.Witness())
	for _, e := range entries {
		if name, ok := strings.CutPrefix(e.Name(), worldcheck.Prefix); ok && rng.IntN(3) == 0 {
			_ = os.WriteFile(filepath.Join(w.Witness(), "gate-"+name), nil, 0o644)
		}
	}
}

// killSome kills shims, launchers, whoever comes to a point, and in the end the
// daemon.
func (w *torture) killSome(t *testing.T) {
	armed := w.armSome(t)
	w.pause(armed, 100, 400) // some programs are to run
	for range 1 + w.rng.IntN(3) {
		w.killShims(1 + w.rng.IntN(10))
		if w.rng.IntN(4) == 0 {
			w.killLauncher()
		}
		w.pause(armed, 0, 60)
	}
	switch w.rng.IntN(8) {
	case 0: // in the middle of an orderly stop
		_ = w.Daemon.Cmd.Process.Signal(unix.SIGTERM)
		w.pause(armed, 0, 100)
	case 1: // in the middle of a restart
		_, _ = w.Client.Restart(t.Context(), &control.RestartRequest{})
		w.pause(armed, 0, 300)
	}
	w.killDaemon(t, armed, &w.daemons)
}

// recovery starts a daemon and kills it on its way, or shims under it.
func (w *torture) recovery(t *testing.T) {
	armed := w.armSome(t)
	first, then := w.rng.IntN(3), w.rng.IntN(3)
	w.Run(untidy{t})
	w.killShims(first)
	w.pause(armed, 0, 150)
	w.killShims(then)
	w.killDaemon(t, armed, &w.recoveries)
}

// pause waits some milliseconds, twice as long if somebody is to die at a point,
// or until the daemon is dead.
func (w *torture) pause(armed passing, least, more int) {
	d := time.Duration(least+w.rng.IntN(more)) * time.Millisecond
	if armed.nth > 0 {
		d *= 2
	}
	select {
	case <-w.Daemon.Done:
	case <-time.After(d):
	}
}

// passing is a crash point, and at which passing of it somebody is to die; the
// zero one is nobody's.
type passing struct {
	point crashpoint.Point
	nth   int
}

// armSome arms a random point, at one of its first passings, every other time.
func (w *torture) armSome(t *testing.T) (p passing) {
	of := slices.DeleteFunc(slices.Clone(crashpoint.Points), func(p crashpoint.Point) bool {
		return p.Component == crashpoint.Migration || p.Component == crashpoint.Salvage // there is nothing to migrate or to salvage
	})
	p.point, p.nth = of[w.rng.IntN(len(of))], 1+w.rng.IntN(2)
	if strings.HasPrefix(p.point.Name, "ledger.commit") {
		p.nth += w.rng.IntN(40)
	}
	if w.rng.IntN(2) == 0 {
		return passing{}
	}
	w.Arm(t, p.point.Name, p.nth)
	return p
}

// killDaemon ends the daemon if it lives, and counts who ended what.
func (w *torture) killDaemon(t *testing.T, armed passing, counter *atomic.Int64) {
	select {
	case <-w.Daemon.Done:
	default:
		if w.kill(w.Daemon.Cmd.Process.Pid) {
			counter.Add(1)
		}
	}
	w.Daemon.Wait(t)
	if armed.nth == 0 {
		return
	}
	w.Disarm(t)
	if w.Crashed(armed.point.Name, armed.nth) {
		w.points.Add(1)
		if armed.point.Component == crashpoint.Shim {
			w.shimDeaths.Add(1)
		}
	}
	w.Forget(t)
}

// killShims kills some of the site's shims.
func (w *torture) killShims(n int) {
	for _, pid := range w.pick("astrid-shim shim", n) {
		if w.kill(pid) {
			w.shims.Add(1)
			w.shimDeaths.Add(1)
		}
	}
}

func (w *torture) killLauncher() {
	for _, pid := range w.pick(filepath.Join(w.Bin, "astrid-shim")+" launch", 1) {
		if w.kill(pid) {
			w.launchers.Add(1)
		}
	}
}

// pick draws n of the site's processes by their command line.
func (w *torture) pick(command string, n int) []int {
	draws := rand.New(rand.NewPCG(w.rng.Uint64(), 2)) // what is drawn later must not depend on how many there are
	if n == 0 {
		return nil
	}
	pids := w.Processes()
	pids = slices.DeleteFunc(pids, func(pid int) bool { return daemontest.CommandLine(pid) != command })
	draws.Shuffle(len(pids), func(i, j int) { pids[i], pids[j] = pids[j], pids[i] })
	return pids[:min(n, len(pids))]
}

// kill kills a process that runs a program of the site, and tells whether there
// was one. It goes by a descriptor, so that no stranger with the same number is
// ever reached.
func (w *torture) kill(pid int) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && strings.HasPrefix(exe, w.Bin+"/") && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil
}

// stopOne stops a test program in its tracks.
func (w *torture) stopOne(rng *rand.Rand) {
	found := worldcheck.Marked(w.Witness())
	if len(found) == 0 {
		return
	}
	chosen := found[rng.IntN(len(found))]
	pid, _ := strconv.Atoi(chosen.PID)
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if slices.Contains(worldcheck.Marked(w.Witness()), chosen) {
		_ = unix.PidfdSendSignal(fd, unix.SIGSTOP, nil, 0)
	}
}

// compareAll compares the world of the daemon that has recovered.
func (w *torture) compareAll(t *testing.T) {
	problems := worldcheck.Settled(daemontest.Patience, func() []string {
		now, done, err := w.Running(t.Context())
		if err != nil {
			return []string{err.Error()}
		}
		defer done()
		now.Forget = true
		return append(w.checker.CheckWorld(t.Context(), now), w.open()...)
	})
	for _, p := range problems {
		t.Errorf("round %d: %s", w.rounds, p)
	}
	if lost, dead := w.checker.Lost(), int(w.shimDeaths.Load()); lost > dead {
		t.Errorf("round %d: the ledger calls %d processes lost, and %d shims were killed", w.rounds, lost, dead)
	}
	if t.Failed() {
		w.tell(t)
	}
}

// open are what nothing should be in progress of between two rounds.
func (w *torture) open() (problems []string) {
	s := w.checker.State()
	if s == nil {
		return nil
	}
	if n := len(s.Invocations()); n > 0 {
		problems = append(problems, fmt.Sprintf("%d invocations are open", n))
	}
	for _, h := range s.Handles() {
		if h.Phase.Live() && h.Tier != event.TierPersistent {
			problems = append(problems, fmt.Sprintf("%s is ephemeral, and lives on", h.ID))
		}
	}
	return problems
}

// tell shows the end of the ledger.
func (w *torture) tell(t *testing.T) {
	now, done, err := w.Running(t.Context())
	if err != nil {
		t.Log(err)
		return
	}
	defer done()
	_, last := now.Ledger.Bounds()
	for e, err := range now.Ledger.Events(t.Context(), max(last, 600)-600, last) {
		if err != nil {
			t.Log(err)
			return
		}
		b, _ := e.MarshalJSON()
		t.Logf("%.500s", b)
	}
}

// cull ends most of what lives on, so that the world does not grow without end.
func (w *torture) cull(t *testing.T) {
	ps, err := w.Client.Ps(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, h := range ps.Handles {
		grace := w.rng.Int64N(int64(100 * time.Millisecond))
		if w.rng.IntN(4) == 0 && len(ps.Handles) < 12 {
			continue
		}
		all.Go(func() {
			_, err := w.Client.Stop(t.Context(), &control.StopRequest{ID: h.ID, GraceNano: &grace})
			if err != nil && control.ExitCode(err) != 3 { // it may have gone by itself
				t.Errorf("stop of %s: %v", h.ID, err)
			}
		})
	}
	all.Wait()
}

// clean removes what the daemons have logged, and the gates.
func (w *torture) clean(t *testing.T) {
	if t.Failed() {
		return
	}
	for _, pattern := range []string{filepath.Join(w.Dir, "log-*"), filepath.Join(w.Witness(), "gate-*")} {
		found, _ := filepath.Glob(pattern)
		for _, path := range found {
			if path != w.Daemon.Log {
				_ = os.Remove(path)
			}
		}
	}
}

// end stops everything in order and checks all of the ledger, from its first
// event, as one that nobody has looked at before.
func (w *torture) end(t *testing.T) {
	w.Settle(t)
	w.Check(t, "", true) // each witness was heard with its release, and is gone
}
