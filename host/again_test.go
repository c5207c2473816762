package host

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

var every = flag.Bool("every", false, "kill a recovery at every passing of every point, not at a sample of them (minutes)")

// TestRecoveryCanBeKilledAtEachStep recovers a world that has something for each
// row of the table: once undisturbed, to learn which crash points of ledger, host
// and recovery it passes, and how often; and then once for each of those
// passings, killed there, killed again in the run after, and then left alone.
// What the ledger says of each process in the end is the same every time.
func TestRecoveryCanBeKilledAtEachStep(t *testing.T) {
	driver() // built before the worlds: what is left there lives for seconds
	var steps []string
	var want string
	if !t.Run("undisturbed", func(t *testing.T) {
		w, names := newRows(t)
		steps = w.recoverAt("")
		want = w.outcome(names)
		golden(t, filepath.Join("recovery", "one-of-each.txt"), want)
		w.open()
		w.calm()
	}) {
		return
	}
	chosen := steps
	if !*every {
		chosen = sampleOf(steps)
	}
	t.Logf("%d of %d steps", len(chosen), len(steps))
	for i, step := range chosen {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w, names := newRows(t)
			if w.recoverAt(step) == nil { // else it came by fewer times: commits were shared differently
				if w.recoverAt(steps[(7*i+3)%len(steps)]) == nil {
					w.recoverAt("")
				}
			}
			if got := w.outcome(names); got != want {
				t.Errorf("in the end:\n%s\nwant:\n%s", got, want)
			}
			w.open()
			w.calm()
			w.check()
		})
	}
}

// sampleOf are the first and the last passing of each point, and of those of the
// ledger one.
func sampleOf(steps []string) (chosen []string) {
	last := map[string]string{}
	for _, s := range steps {
		name, n, _ := strings.Cut(s, "#")
		if n == "1" {
			chosen = append(chosen, s)
		}
		last[name] = s
	}
	for _, s := range steps {
		if name, n, _ := strings.Cut(s, "#"); last[name] == s && n != "1" && !strings.HasPrefix(name, "ledger.") {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

// newRows is a dead daemon's world with one process for each row of the recovery
// table, by name.
func newRows(t *testing.T) (w *world, names map[ulid.ULID]string) {
	t.Helper()
	w = newWorld(t, func(w *world) { w.config.Default.Background = 32 })
	names = map[ulid.ULID]string{}
	added := func(name string) {
		for _, h := range w.live.Snapshot().Handles() {
			if names[h.ID] == "" {
				names[h.ID] = name
			}
		}
	}
	found := func(what string, ok func(act.Found) bool) {
		w.until(what, func() bool {
			list, err := w.hands.Scan()
			return err == nil && slices.ContainsFunc(list, func(f act.Found) bool { return names[f.ID] == what && ok(f) })
		})
	}
	decided := w.held("before-go", w.script("true"))
	added("decided")
	failed := w.held("after-go", Request{Cmd: "no-such-program"})
	added("failed")
	found("failed", func(f act.Found) bool { return f.Failed != nil })
	exited := w.held("after-go", w.script("exit 3"))
	added("exited")
	found("exited", func(f act.Found) bool { return f.Exit != nil && f.Dead })
	body := w.script(stays)
	taken := w.held("after-go", body)
	added("decided, started")
	w.began(body)
	_, r := w.start(bob, stays)
	w.began(r)
	added("started")
	p, r := w.start(bob, stays)
	w.began(r)
	added("terminal, shim alive")
	w.append(&event.Event{Scope: p.o.scope, Body: &event.ProcessLost{Reason: "may-have-run"}})
	p, r = w.start(bob, stays)
	w.began(r)
	added("released, shim alive")
	w.append(&event.Event{Scope: p.o.scope, Body: &event.ProcessLost{Reason: "may-have-run"}},
		&event.Event{Scope: p.o.scope, Body: &event.HandleReleased{Reason: "dropped"}})
	p, _ = w.start(bob, "true")
	added("terminal")
	if _, err := p.Wait(t.Context(), bob, nil); err != nil {
		t.Fatal(err)
	}
	p, r = w.start(bob, stays)
	w.began(r)
	added("shim killed")
	dead, err := w.hands.Look(p.ID())
	if err != nil {
		t.Fatal(err)
	}
	w.startPersistent(stays)
	added("persistent")
	id, _ := w.keep(alice, "exit 4")
	added("retained")
	w.ended(id)
	o := w.startPersistent("trap '' TERM; " + stays)
	added("stop unfinished")
	w.append(&event.Event{Scope: o.scope, Body: &event.StopRequested{GraceNano: 1e6, Reason: "operator"}})
	if _, _, err := w.host.BeginInvocation(t.Context(), alice, "tool_execute_x", nil); err != nil {
		t.Fatal(err)
	}
	w.leave(func() { decided(); failed(); exited(); taken() })
	w.killShim(dead)
	if err := os.MkdirAll(filepath.Join(w.data, "processes", newID().String()), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.data, "processes", "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return w, names
}

// recoverAt starts a daemon in a process of its own that dies at a step of its
// recovery, "name#3"; without one it dies once all is settled. It returns the
// steps that were passed, nil if it died at the one named.
func (w *world) recoverAt(step string) (passed []string) {
	w.t.Helper()
	dir := w.t.TempDir()
	if step != "" {
		if err := os.WriteFile(filepath.Join(dir, "target"), []byte(step), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	cmd := exec.Command(driver())
	cmd.Env = append(os.Environ(), "ASTRID_CRASH_AT=@"+dir,
		fmt.Sprintf("%s=settle %s %s %s %s", driverEnv, w.data, w.witness, w.shim, w.mode))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if step != "" && errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == unix.SIGKILL {
		return nil
	}
	if err != nil {
		w.t.Fatalf("the driver: %v\n%s", err, out)
	}
	trace, err := os.ReadFile(filepath.Join(dir, "trace"))
	if err != nil {
		w.t.Fatal(err)
	}
	counts := map[string]int{}
	for _, name := range strings.Fields(string(trace)) {
		counts[name]++
		passed = append(passed, fmt.Sprintf("%s#%d", name, counts[name]))
	}
	return passed
}

// outcome tells what became of each named process, and what is left besides,
// without times, seqs and ids.
func (w *world) outcome(names map[ulid.ULID]string) string {
	w.t.Helper()
	archive, err := ledger.OpenArchive(filepath.Join(w.data, "ledger"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer archive.Close()
	told := map[string]map[string]bool{}
	state := projector.New()
	for e, err := range archive.Events(w.t.Context(), 1, 0) {
		if err == nil {
			err = state.Apply(e)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		switch b := e.Body.(type) {
		case *event.OrphanEnded:
			// That a released handle's directory was still to be deleted says
			// where a run was killed, and not what became of the process.
			if b.Shim == nil && names[e.Handle] != "" {
				continue
			}
		case *event.SpawnAborted, *event.SpawnFailed, *event.ProcessStarted, *event.ProcessAdopted, *event.ProcessExited,
			*event.ProcessLost, *event.HandleReleased, *event.InvocationFinished:
		default:
			continue
		}
		name := names[e.Handle]
		if told[name] == nil {
			told[name] = map[string]bool{}
		}
		told[name][e.Kind().String()+gist(e.Body)] = true
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(told)) {
		fmt.Fprintf(&b, "%s: %s\n", cmp.Or(name, "besides"), strings.Join(slices.Sorted(maps.Keys(told[name])), "; "))
	}
	for _, h := range state.Handles() {
		fmt.Fprintf(&b, "left: %s is %v, adopted %v, %d endings, %d signals\n", names[h.ID], h.Phase, h.Adopted.Seq != 0, len(h.Obligations), len(h.Signals))
	}
	entries, err := os.ReadDir(filepath.Join(w.data, "processes"))
	fmt.Fprintf(&b, "%d directories, %d cancels, %d invocations, %v\n", len(entries), len(state.Cancels()), len(state.Invocations()), err)
	return b.String()
}
