package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/internal/worldcheck"
	"github.com/astrid-os/processledger/ledger/event"
)

func TestHandleMethods(t *testing.T) {
	w := newWorld(t)
	p, r := w.start(alice, "trap 'echo caught; exit 4' TERM; echo hello; "+stays)
	w.began(r)
	pid, err := p.OSPid(alice)
	if err != nil || !strings.Contains(procFile(t, pid, "cmdline"), r.Args[2]) {
		t.Errorf("os-pid %d, %v", pid, err)
	}
	var out string
	w.until("it writes", func() bool {
		logs, err := p.ReadLogs(t.Context(), alice)
		out += string(logs.Stdout)
		return err != nil || !logs.Running || out == "hello\n"
	})
	short := 10 * time.Millisecond
	if _, err := p.Wait(t.Context(), alice, &short); CodeOf(err) != WaitTimeout {
		t.Errorf("wait: %v", err)
	}
	if err := p.Signal(t.Context(), alice, SigTerm); err != nil {
		t.Errorf("signal: %v", err)
	}
	exit, err := p.Wait(t.Context(), alice, nil)
	if err != nil || exit.Code == nil || *exit.Code != 4 || exit.Signal != nil {
		t.Errorf("wait: %+v, %v", exit, err)
	}
	logs, err := p.ReadLogs(t.Context(), alice)
	if err != nil || logs.Running || logs.Exit == nil || string(logs.Stdout) != "caught\n" {
		t.Errorf("logs after the exit: %+v, %v", logs, err)
	}
	if _, err := p.OSPid(alice); CodeOf(err) != Closed {
		t.Errorf("os-pid after the exit: %v", err)
	}
	if err := p.Signal(t.Context(), alice, SigTerm); CodeOf(err) != Closed {
		t.Errorf("signal after the exit: %v", err)
	}
	if k, err := p.Kill(t.Context(), alice); err != nil || k.Killed || k.Exit == nil || *k.Exit.Code != 4 {
		t.Errorf("kill after the exit: %+v, %v", k, err)
	}
	if err := p.Drop(t.Context(), alice); err != nil {
		t.Error(err)
	}
	if _, err := p.ReadLogs(t.Context(), alice); CodeOf(err) != Closed {
		t.Errorf("logs after drop: %v", err)
	}
}

func procFile(t *testing.T, pid uint32, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(int(pid)), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestForeignCallersAreRefused(t *testing.T) {
	w := newWorld(t)
	p, _ := w.start(alice, stays)
	other := alice
	other.Capsule = "other"
	for _, c := range []Caller{bob, other} {
		_, logs := p.ReadLogs(t.Context(), c)
		_, wait := p.Wait(t.Context(), c, nil)
		_, kill := p.Kill(t.Context(), c)
		_, pid := p.OSPid(c)
		for name, err := range map[string]error{
			"read-logs": logs, "wait": wait, "kill": kill, "os-pid": pid,
			"signal": p.Signal(t.Context(), c, SigTerm), "drop": p.Drop(t.Context(), c),
		} {
			if CodeOf(err) != CapabilityDenied {
				t.Errorf("%s by %s/%s: %v", name, c.Principal, c.Capsule, err)
			}
		}
	}
	if n := w.counts("alice").Background; n != 1 {
		t.Errorf("alice has %d processes, want the one that nobody may touch", n)
	}
}

// TestKillAndDropEndTheTree has grandchildren with sessions of their own.
func TestKillAndDropEndTheTree(t *testing.T) {
	w := newWorld(t)
	tree := "(trap '' TERM INT HUP; " + stays + ") & setsid sh -c '" + stays + "' & " + stays
	for _, end := range []func(*Process) error{
		func(p *Process) error { _, err := p.Kill(t.Context(), alice); return err },
		func(p *Process) error { return p.Drop(t.Context(), alice) },
	} {
		p, _ := w.start(alice, tree)
		w.until("the tree stands", func() bool { return len(worldcheck.Marked(w.witness)) >= 3 })
		if err := end(p); err != nil {
			t.Fatal(err)
		}
		if left := worldcheck.Marked(w.witness); len(left) != 0 {
			t.Errorf("left over: %+v", left)
		}
	}
}

func TestExitsAreTrue(t *testing.T) {
	w := newWorld(t)
	for script, want := range map[string]string{
		"true": "code 0", "exit 7": "code 7", "exit 137": "code 137", "kill -KILL $$": "signal 9", "kill -TERM $$": "signal 15",
	} {
		got, err := w.host.Spawn(t.Context(), alice, w.script(script))
		if err != nil {
			t.Fatal(err)
		}
		if text := exitText(&got.Exit); text != want {
			t.Errorf("%s: %s, want %s", script, text, want)
		}
	}
}

func exitText(x *event.Exit) string {
	switch {
	case x == nil:
		return "none"
	case x.Code != nil:
		return "code " + strconv.Itoa(int(*x.Code))
	}
	return "signal " + strconv.Itoa(int(*x.Signal))
}

func TestFailedStartIsASpawnError(t *testing.T) {
	w := newWorld(t)
	_, err := w.host.SpawnBackground(t.Context(), alice, Request{Cmd: "no-such-program"})
	if CodeOf(err) != Unknown || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("%v, want an error that names the program", err)
	}
	w.until("the slot is free", func() bool { return w.counts("alice").Total() == 0 })
}

// TestCallerGoneBeforeGo and TestCancelBeforeGo hold that nothing runs and no
// slot leaks if somebody leaves or cancels between the decision and go.
func TestCallerGoneBeforeGo(t *testing.T) {
	for _, tier := range []event.Tier{event.TierSync, event.TierBackground} {
		w := newWorld(t)
		ctx, leave := context.WithCancel(t.Context())
		w.passing = func(string) { leave() }
		r := w.script("true")
		if err := w.spawnTier(ctx, tier, r); CodeOf(err) != Cancelled {
			t.Errorf("tier %d: %v, want cancelled", tier, err)
		}
		w.nothingRan(r, "caller-gone")
	}
}

func TestCancelBeforeGo(t *testing.T) {
	for _, tier := range []event.Tier{event.TierSync, event.TierBackground} {
		w := newWorld(t)
		w.passing = func(string) {
			// The owner stands before go: the cancel is durable before it goes on.
			r := CancelRequest{Principal: "alice", CallIDs: []string{"call-1"}}
			done := make(chan struct{})
			go func() {
				defer close(done)
				if got, err := w.host.Cancel(context.Background(), event.Actor{Kind: event.ActorOperator}, r); err != nil || len(got.Handles) != 1 {
					t.Errorf("cancel: %+v, %v", got, err)
				}
			}()
			w.until("the cancel is durable", func() bool { return len(w.live.Snapshot().Cancels()) == 1 })
			t.Cleanup(func() { <-done })
		}
		r := w.script("true")
		if err := w.spawnTier(t.Context(), tier, r); CodeOf(err) != Cancelled {
			t.Errorf("tier %d: %v, want cancelled", tier, err)
		}
		w.nothingRan(r, "cancelled")
		w.until("the cancel is finished", func() bool { return len(w.live.Snapshot().Cancels()) == 0 })
	}
}

func (w *world) spawnTier(ctx context.Context, tier event.Tier, r Request) error {
	if tier == event.TierSync {
		_, err := w.host.Spawn(ctx, alice, r)
		return err
	}
	if tier == event.TierPersistent {
		_, err := w.host.SpawnPersistent(ctx, alice, r)
		return err
	}
	_, err := w.host.SpawnBackground(ctx, alice, r)
	return err
}

func (w *world) nothingRan(r Request, reason string) {
	w.t.Helper()
	w.until("the slot is free", func() bool { return w.counts("alice").Total() == 0 })
	if _, err := os.Stat(filepath.Join(w.witness, r.Args[2])); !errors.Is(err, os.ErrNotExist) {
		w.t.Error("the program ran")
	}
	for _, e := range w.events(1) {
		if b, ok := e.Body.(*event.SpawnAborted); ok {
			if b.Reason != reason {
				w.t.Errorf("aborted: %s, want %s", b.Reason, reason)
			}
			return
		}
	}
	w.t.Error("no spawn.aborted")
}

func TestSyncSpawnTimesOut(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.config.Default = policy.Quotas{Background: 1, Sync: 1, MaxTimeout: 200 * time.Millisecond}
	})
	r := w.script("trap '' TERM; " + stays)
	began := time.Now()
	if _, err := w.host.Spawn(t.Context(), alice, r); CodeOf(err) != WaitTimeout {
		t.Errorf("%v, want wait-timeout", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("told after %v", took)
	}
	if n := w.counts("alice").Sync; n != 1 {
		t.Errorf("%d slots taken while it still runs, want 1", n)
	}
	w.until("it is killed after its grace", func() bool { return w.counts("alice").Sync == 0 })
	var cause string
	for _, e := range w.events(1) {
		if b, ok := e.Body.(*event.ProcessExited); ok {
			cause = b.Cause
		}
	}
	if cause != "lifetime" {
		t.Errorf("cause %q, want lifetime", cause)
	}
}

func TestStdinIsAPrelude(t *testing.T) {
	w := newWorld(t)
	r := w.script("cat")
	r.Stdin, r.HasStdin = []byte("one\ntwo"), true
	got, err := w.host.Spawn(t.Context(), alice, r)
	if err != nil || string(got.Stdout) != "one\ntwo" {
		t.Errorf("%+v, %v", got, err)
	}
	r = w.script("cat")
	r.HasStdin = true
	if got, err := w.host.Spawn(t.Context(), alice, r); err != nil || string(got.Stdout) != "" {
		t.Errorf("empty prelude: %+v, %v", got, err)
	}
}

// TestShutdownReleasesAsShutdown: nobody dropped what the daemon ended, and where
// another daemon goes on, all that belongs to the end says that.
func TestShutdownReleasesAsShutdown(t *testing.T) {
	for cause, end := range map[string]func(*Host) error{
		"shutdown": func(h *Host) error { return h.Shutdown(t.Context(), "a test") },
		"daemon-restart": func(h *Host) error {
			by := event.Actor{Kind: event.ActorOperator, UID: 7, Role: "operator"}
			return h.MakeWay(t.Context(), by, Successor{Version: "next", Binary: "/bin/next"})
		},
	} {
		t.Run(cause, func(t *testing.T) {
			w := newWorld(t)
			_, r := w.start(alice, stays)
			w.began(r)
			ended, _ := w.start(bob, "true")
			if _, err := ended.Wait(t.Context(), bob, nil); err != nil {
				t.Fatal(err)
			}
			if err := end(w.host); err != nil {
				t.Fatal(err)
			}
			said := map[string]int{}
			for _, e := range w.events(1) {
				switch b := e.Body.(type) {
				case *event.HandleReleased:
					said["released "+b.Reason]++
				case *event.StopRequested:
					said["stop "+b.Reason]++
				case *event.SignalRequested:
					said["signal "+b.Cause]++
				case *event.ProcessExited:
					said["exited "+b.Cause]++
				case *event.DaemonStopped:
					said[fmt.Sprintf("stopped %s %d %s %s by %d", b.Reason, b.Ended, b.Successor, b.Binary, e.Actor.UID)]++
				}
			}
			last := "stopped a test 1   by 0"
			if cause == "daemon-restart" {
				last = "stopped restart 1 next /bin/next by 7"
			}
			want := map[string]int{
				"released " + cause: 2, "stop " + cause: 1, "signal " + cause: 1, "exited " + cause: 1, "exited self": 1, last: 1,
			}
			if !maps.Equal(said, want) {
				t.Errorf("the ledger says %v, want %v", said, want)
			}
		})
	}
}
