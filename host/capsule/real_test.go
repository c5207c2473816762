//go:build linux

package capsule_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host"
	. "github.com/astrid-os/processledger/host/abi/abitest"
	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/host/capsule/capsuletest"
	"github.com/astrid-os/processledger/ledger/event"
)

func TestMain(m *testing.M) { os.Exit(capsuletest.Main(m)) }

// kit invokes an action of the guest in testdata/kit.
func kit(ctx context.Context, w *capsuletest.World, principal, action string) (capsule.Answer, error) {
	return w.Runner.Invoke(ctx, capsule.Invocation{Principal: principal, Capsule: "kit", Action: action, CallID: "call-" + action})
}

// saw is kit for actions that answer.
func saw(t *testing.T, w *capsuletest.World, principal, action string) map[string]any {
	t.Helper()
	a, err := kit(t.Context(), w, principal, action)
	if err != nil {
		t.Fatalf("%s: %v", action, err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(a.Data, &out); err != nil || a.Action != "continue" {
		t.Fatalf("%s answered %s %s", action, a.Action, a.Data)
	}
	return out
}

// TestGuestSDKOnTheRealHost runs a capsule written with the SDK against real
// processes.
func TestGuestSDKOnTheRealHost(t *testing.T) {
	dir := t.TempDir()
	capsuletest.Build(t, dir, "testdata/kit")
	put(t, dir, "honest", honest())
	w := capsuletest.New(t, dir, capsule.RunOptions{Grace: time.Second})

	t.Run("background", func(t *testing.T) {
		got := saw(t, w, "alice", "background")
		exit, _ := got["exit"].(map[string]any)
		wait, _ := got["wait"].(map[string]any)
		if text := got["text"].(string); !strings.Contains(text, "ready\n") || !strings.Contains(text, "got usr1\n") || got["killed"] != true ||
			exit["signal"] != 9.0 || wait["signal"] != 9.0 || got["pid"].(float64) <= 0 {
			t.Errorf("saw %v", got)
		}
	})
	t.Run("limits", func(t *testing.T) {
		got := saw(t, w, "alice", "limits")
		for what, want := range map[string]string{"denied": "process: capability-denied", "escape": "process: boundary-escape",
			"reserved": "process: invalid-input", "large": "process: too-large", "missing": "process: unknown: "} {
			if s := got[what].(string); !strings.HasPrefix(s, want) || (what != "missing" && s != want) {
				t.Errorf("%s: %q, want %q", what, s, want)
			}
		}
	})
	t.Run("quota", func(t *testing.T) {
		if got := saw(t, w, "alice", "quota"); got["granted"] != 8.0 {
			t.Errorf("saw %v", got)
		}
		if got := saw(t, w, "alice", "quota"); got["granted"] != 8.0 {
			t.Errorf("the second time, all dropped: %v", got)
		}
	})
	t.Run("stress", func(t *testing.T) { saw(t, w, "alice", "stress") })
	t.Run("confined", func(t *testing.T) {
		got := saw(t, w, "alice", "confined")
		if !strings.Contains(got["read"].(string), "/etc/passwd") || got["list"] == "<nil>" || got["args"] != 0.0 || got["env"] != 0.0 || got["random"] != true {
			t.Errorf("saw %v", got)
		}
		if off := time.Now().Unix() - int64(got["unix"].(float64)); off < -1 || off > 60 {
			t.Errorf("the guest's clock is %d seconds off", off)
		}
	})
	t.Run("cancel", func(t *testing.T) { cancelled(t, w) })
	t.Run("ends", func(t *testing.T) {
		for action, want := range map[string]string{"panic": "the guest gives up", "exit": "exited with code 3", "nobody": "unknown hook action"} {
			a, err := kit(t.Context(), w, "alice", action)
			var failed *capsule.CallError
			if action == "nobody" {
				if err != nil || a.Action != "abort" || !strings.Contains(string(a.Data), want) {
					t.Errorf("%s: %q, %v", action, a.Data, err)
				}
			} else if !errors.As(err, &failed) || failed.Outcome != capsule.OutcomeTrap || !strings.Contains(failed.Detail, want) {
				t.Errorf("%s: %v", action, err)
			}
		}
	})
	t.Run("sleeping", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := kit(ctx, w, "alice", "sleep")
		var failed *capsule.CallError
		if !errors.As(err, &failed) || failed.Outcome != capsule.OutcomeCancelled || time.Since(began) > 20*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
	if a, err := w.Runner.Invoke(t.Context(), invocation("honest", "bob", "last")); err != nil || string(a.Data) != "fine" {
		t.Errorf("the honest capsule answers %q, %v", a.Data, err)
	}
}

// cancelled has an operator cancel a call whose guest waits for a program.
func cancelled(t *testing.T, w *capsuletest.World) {
	type answer struct {
		a   capsule.Answer
		err error
	}
	done := make(chan answer, 1)
	go func() {
		a, err := kit(t.Context(), w, "bob", "cancel")
		done <- answer{a, err}
	}()
	bobs := func(e *event.Event) bool { return e.Principal == "bob" }
	until("the program starts", func() bool { return slices.ContainsFunc(w.Events(t, event.KindProcessStarted), bobs) })
	if _, err := w.Host.Cancel(t.Context(), event.Actor{Kind: event.ActorOperator}, host.CancelRequest{Principal: "bob", CallIDs: []string{"call-cancel"}}); err != nil {
		t.Fatal(err)
	}
	got := <-done
	var saw struct {
		Wait, Kill string
		Exit       struct{ Signal int }
	}
	if err := json.Unmarshal(got.a.Data, &saw); got.err != nil || err != nil {
		t.Fatalf("answer %s, error %v", got.a.Data, errors.Join(got.err, err))
	}
	// The cancel interrupts the wait and, by INT, the program: either may be seen
	// first.
	if (saw.Wait != "process: cancelled" && saw.Wait != "<nil>") || saw.Kill != "<nil>" || (saw.Exit.Signal != 2 && saw.Exit.Signal != 9) {
		t.Errorf("saw %+v", saw)
	}
	ends := w.Events(t, event.KindInvocationFinished)
	if f := ends[len(ends)-1].Body.(*event.InvocationFinished); f.Outcome != capsule.OutcomeCancelled || f.InstanceLost {
		t.Errorf("invocation finished as %+v", f)
	}
}

// TestLostInstanceTakesItsProcessesAlong: a guest that traps leaves nothing
// running, and the slots of its programs are free again.
func TestLostInstanceTakesItsProcessesAlong(t *testing.T) {
	dir := t.TempDir()
	g := newGuest()
	g.request(nil, "sleep", "600")
	g.Bump(cellAt, heapAt)
	put(t, dir, "traps", g.hook(call(g.background, imageAt, returnAt), Const(returnAt), Load8(), []byte{0x45, 0x04, 0x40}, Trap(), []byte{0x0b}))
	allow(t, dir, "traps", "sleep")
	w := capsuletest.New(t, dir, capsule.RunOptions{})
	for range 10 { // more often than there are slots
		_, err := w.Runner.Invoke(t.Context(), invocation("traps", "alice", "c"))
		var failed *capsule.CallError
		if !errors.As(err, &failed) || failed.Outcome != capsule.OutcomeTrap {
			t.Fatalf("error %v", err)
		}
	}
	if n := len(w.Events(t, event.KindProcessStarted)); n != 10 {
		t.Errorf("%d processes were started", n)
	}
	if n := w.Live.Snapshot().LivePrincipal("alice").Background; n != 0 {
		t.Errorf("%d processes live on", n)
	}
}

// allow adds a command to the manifest of a capsule made by put.
func allow(t *testing.T, dir, name, command string) {
	t.Helper()
	f, err := os.OpenFile(dir+"/"+name+"/"+capsule.ManifestName, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("[capabilities]\nhost_process = [\"" + command + "\"]\n"); err != nil {
		t.Fatal(err)
	}
}
