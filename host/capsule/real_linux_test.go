package capsule_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	. "github.com/astrid-os/processledger/host/abi/abitest"
	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/host/capsule/capsuletest"
	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/ledger/event"
)

// The tests of this file run guests on the real process host, with a real
// ledger, real shims and real programs.

func TestMain(m *testing.M) { os.Exit(capsuletest.Main(m)) }

// runs are the lines of a manifest by which its capsule may run a command, and
// has the action "drop" too.
func runs(command string) string {
	return fmt.Sprintf("\"t.v1.drop\" = { wit = \"opaque\", handler = \"drop\" }\n[capabilities]\nhost_process = [%q]\n", command)
}

const refusedAt = 1200 // the hook's other result

// racer starts a process on "go" and keeps it, or answers that it was refused
// for its quota; it traps on any other refusal. On "drop" it lets go of it.
func racer() []byte {
	g := newGuest()
	g.request(nil, "sleep", "1000")
	g.Bump(cellAt, heapAt)
	im := &Image{Base: refusedAt}
	im.Alloc(20, 4)
	im.Text(refusedAt, "continue")
	im.U8(refusedAt+8, 1)
	im.Text(refusedAt+12, "quota")
	g.Data(refusedAt, im.Bytes())
	const i32eq, i32ne, ifVoid, otherwise, end, ret = 0x46, 0x47, 0x04, 0x05, 0x0b, 0x0f
	const quota = 3
	return g.hook(
		Get(1), Const(uint32(len("go"))), []byte{i32eq, ifVoid, 0x40},
		call(g.background, imageAt, returnAt),
		Const(returnAt), Load8(), []byte{ifVoid, 0x40},
		Const(returnAt+4), Load8(), Const(quota), []byte{i32ne, ifVoid, 0x40}, Trap(), []byte{end},
		Const(refusedAt), []byte{ret},
		[]byte{end},
		[]byte{otherwise}, Const(returnAt+4), Load(), Call(g.drop), []byte{end})
}

// TestTwoGuestsRaceForTheLastSlot has two capsules of one principal ask for its
// one slot at once, round after round: each time one of them gets it.
func TestTwoGuestsRaceForTheLastSlot(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 50
	}
	dir := t.TempDir()
	names := [2]string{"one", "two"}
	for _, name := range names {
		putWith(t, dir, name, racer(), runs("sleep"))
	}
	config := policy.DefaultConfig()
	config.Default.Background = 1
	w := capsuletest.NewWith(t, dir, capsule.RunOptions{}, config)
	var won [2]int
	for round := range rounds {
		var answers [2]capsule.Answer
		var errs [2]error
		var both sync.WaitGroup
		for i, name := range names {
			both.Go(func() { answers[i], errs[i] = w.Runner.Invoke(t.Context(), invocation(name, "alice", "c")) })
		}
		both.Wait()
		winner := slices.IndexFunc(answers[:], func(a capsule.Answer) bool { return string(a.Data) == "fine" })
		if errs != [2]error{} || winner < 0 || string(answers[1-winner].Data) != "quota" {
			t.Fatalf("round %d: %q and %q, %v", round, answers[0].Data, answers[1].Data, errs)
		}
		won[winner]++
		let := invocation(names[winner], "alice", "c")
		let.Action = "drop"
		if _, err := w.Runner.Invoke(t.Context(), let); err != nil {
			t.Fatalf("round %d: drop: %v", round, err)
		}
	}
	if n := w.Live.Snapshot().LivePrincipal("alice").Total(); n != 0 {
		t.Errorf("%d slots leaked", n)
	}
	t.Logf("%d rounds, won %v", rounds, won)
}

// perCall is how many spawns the benchmark's guest makes in one invocation, so
// that the spawn is measured and not the invocation.
const perCall = 10

// BenchmarkSpawn is a spawn and wait of /bin/true by a guest, isolated and
// recorded, beside the same by os/exec, turn by turn in one run.
func BenchmarkSpawn(b *testing.B) {
	g := newGuest()
	g.request(nil, "/bin/true")
	g.Bump(cellAt, heapAt)
	const counter = 4
	const loop, brIf, sub, tee, ifVoid, end = 0x03, 0x0d, 0x6b, 0x22, 0x04, 0x0b
	module := g.hook(
		Const(perCall), Set(counter), []byte{loop, 0x40},
		call(g.spawn, imageAt, returnAt),
		Const(returnAt), Load8(), []byte{ifVoid, 0x40}, Trap(), []byte{end},
		Get(counter), Const(1), []byte{sub, tee, counter, brIf, 0, end})
	dir := b.TempDir()
	putWith(b, dir, "bench", module, runs("/bin/true"))
	w := capsuletest.New(b, dir, capsule.RunOptions{})
	var raw, ours []time.Duration
	for b.Loop() {
		began := time.Now()
		for range perCall {
			if err := exec.Command("/bin/true").Run(); err != nil {
				b.Fatal(err)
			}
		}
		between := time.Now()
		if _, err := w.Runner.Invoke(b.Context(), invocation("bench", "alice", "c")); err != nil {
			b.Fatal(err)
		}
		raw, ours = append(raw, between.Sub(began)), append(ours, time.Since(between))
	}
	slices.Sort(raw)
	slices.Sort(ours)
	ms := func(d []time.Duration) float64 { return d[len(d)/2].Seconds() * 1e3 / perCall }
	b.ReportMetric(ms(raw), "os-exec-ms")
	b.ReportMetric(ms(ours), "spawn-ms")
	b.ReportMetric(ms(ours)/ms(raw), "ratio")
}

// vandals are guests that do not stop when they are asked to, each in its own
// way.
func vandals() map[string][]byte {
	endless := func(spoil func(*Image), cmd string, code func(g *guest) []byte) []byte {
		g := newGuest()
		g.Memory(256, 0)
		g.request(spoil, cmd, "1000")
		g.Bump(cellAt, 256<<16)
		return g.hook(Forever(code(g)))
	}
	spawn := func(g *guest) []byte { return call(g.spawn, imageAt, returnAt) }
	return map[string][]byte{
		"spawns-after-the-cancel": endless(nil, "sleep", spawn),
		"spawns-in-background": endless(nil, "sleep", func(g *guest) []byte {
			return call(g.background, imageAt, returnAt)
		}),
		"spawns-what-is-denied": endless(nil, "ls", spawn),
		"sends-huge-lists":      endless(func(i *Image) { i.U32(imageAt+8, 1<<16); i.U32(imageAt+12, 200<<13) }, "sleep", spawn),
		"loops":                 endless(nil, "sleep", func(*guest) []byte { return nil }),
	}
}

// TestVandalsHarmNobody lets them run, one after the other, on a real host: each
// ends with its deadline and leaves no process, and another capsule keeps
// answering meanwhile.
func TestVandalsHarmNobody(t *testing.T) {
	dir := t.TempDir()
	putWith(t, dir, "honest", honest(), runs("true"))
	all := vandals()
	for name, module := range all {
		putWith(t, dir, name, module, runs("sleep"))
	}
	w := capsuletest.New(t, dir, capsule.RunOptions{Deadline: 1500 * time.Millisecond, Grace: 1500 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	answers := func(t *testing.T) bool {
		t.Helper()
		a, err := w.Runner.Invoke(t.Context(), invocation("honest", "alice", "c"))
		var late *capsule.CallError // on a machine that is busy with more than this
		if errors.As(err, &late) && late.Outcome == capsule.OutcomeDeadline {
			return false
		}
		if err != nil || string(a.Data) != "fine" {
			t.Fatalf("the honest capsule answers %q, error %v", a.Data, err)
		}
		return true
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			over := make(chan error, 1)
			go func() {
				_, err := w.Runner.Invoke(t.Context(), invocation(name, "mallory", "c-"+name))
				over <- err
			}()
			answered, late := 0, 0
			var err error
			for running := true; running; {
				ok := answers(t)
				select {
				case err = <-over:
					running = false
				default:
					answered++
					if !ok {
						late++
					}
				}
			}
			if answered == late {
				t.Errorf("the honest capsule was called %d times meanwhile and never answered in time", late)
			}
			var failed *capsule.CallError
			if !errors.As(err, &failed) || failed.Outcome != capsule.OutcomeDeadline {
				t.Errorf("it ended with %v", err)
			}
			if n := w.Live.Snapshot().LivePrincipal("mallory").Total(); n != 0 {
				t.Errorf("it left %d processes", n)
			}
			t.Logf("meanwhile the honest capsule was called %d times, and was late %d times", answered, late)
		})
	}
	t.Logf("%d spawns were decided, %d processes ended", len(w.Events(t, event.KindSpawnDecided)), len(w.Events(t, event.KindProcessExited)))
}
