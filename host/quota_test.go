package host

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// TestLastSlotIsGrantedOnce has two callers race for the last slot a thousand
// times, on a real ledger: exactly one of them gets it each time.
func TestLastSlotIsGrantedOnce(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.Default.Background = 1 })
	one, two := alice, Caller{Principal: "alice", Capsule: "other", Instance: "i-3"}
	for round := range 1000 {
		var granted atomic.Int32
		var winner atomic.Pointer[plan]
		var both sync.WaitGroup
		for _, c := range []Caller{one, two} {
			both.Go(func() {
				p := w.host.plan(c, &Request{Cmd: "sh"}, event.TierBackground)
				commit, err := w.host.decide(t.Context(), p.decide)
				if err != nil {
					t.Error(err)
					return
				}
				if !refused(commit) {
					granted.Add(1)
					winner.Store(p)
				}
			})
		}
		both.Wait()
		if granted.Load() != 1 {
			t.Fatalf("round %d: %d grants for one slot", round, granted.Load())
		}
		scope := winner.Load().decidedScope()
		_, err := w.host.decide(t.Context(), func(*projector.State, ledger.Header) ([]*event.Event, error) {
			return []*event.Event{
				{Scope: scope, Body: &event.SpawnAborted{Reason: "caller-gone"}},
				{Scope: scope, Body: &event.HandleReleased{Reason: "refused"}},
			}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := w.counts("alice").Total(); n != 0 {
		t.Errorf("%d slots leaked", n)
	}
}

// TestLastSlotOfRealSpawns races whole spawns for one slot.
func TestLastSlotOfRealSpawns(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.Default.Background = 1 })
	for range 10 {
		var got [2]*Process
		var errs [2]error
		var both sync.WaitGroup
		for i, c := range []Caller{alice, {Principal: "alice", Capsule: "other", Instance: "i-3"}} {
			both.Go(func() { got[i], errs[i] = w.host.SpawnBackground(t.Context(), c, w.script(stays)) })
		}
		both.Wait()
		for i, c := range []Caller{alice, {Principal: "alice", Capsule: "other", Instance: "i-3"}} {
			if got[i] == nil {
				if CodeOf(errs[i]) != Quota {
					t.Errorf("the loser got %v", errs[i])
				}
				continue
			}
			if got[1-i] != nil {
				t.Error("both were granted one slot")
			}
			if err := got[i].Drop(t.Context(), c); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestQuotaCountsAcrossCapsules(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.config.Default.Background = 3
		w.config.PerCapsule = 2
	})
	caller := func(principal, capsule string) Caller {
		return Caller{Principal: principal, Capsule: capsule, Instance: principal + "-" + capsule}
	}
	spawn := func(principal, capsule string) error {
		_, err := w.host.SpawnBackground(t.Context(), caller(principal, capsule), w.script(stays))
		return err
	}
	for i, step := range []struct {
		principal, capsule string
		refused            string
	}{
		{"alice", "builder", ""},
		{"alice", "builder", ""},
		{"alice", "builder", "capsule:builder has 2 of 2"},
		{"bob", "builder", "capsule:builder has 2 of 2"},
		{"alice", "other", ""},
		{"alice", "third", "principal:alice has 3 of 3"},
		{"bob", "third", ""},
	} {
		err := spawn(step.principal, step.capsule)
		var refusal *Error
		switch {
		case step.refused == "" && err != nil:
			t.Fatalf("step %d: %v", i, err)
		case step.refused != "" && (!errors.As(err, &refusal) || refusal.Code != Quota || refusal.Detail != step.refused):
			t.Fatalf("step %d: %v, want quota: %s", i, err, step.refused)
		}
	}
	// The numbers that a decision saw stand in it.
	var last *event.SpawnDecided
	for _, e := range w.events(1) {
		if d, ok := e.Body.(*event.SpawnDecided); ok && d.Outcome == event.OutcomeRefused {
			last = d
		}
	}
	want := []event.QuotaSeen{{Scope: "principal:alice", Used: 3, Cap: 3}, {Scope: "capsule:third", Used: 0, Cap: 2}}
	if len(last.Quotas) != 2 || last.Quotas[0] != want[0] || last.Quotas[1] != want[1] || last.Rule != "quota" || last.Code != "quota" {
		t.Errorf("decision %+v, want the quotas %+v", last, want)
	}
}

func TestSyncQuotaIsItsOwn(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.config.Principals = map[string]policy.Quotas{"alice": {Sync: 1, MaxTimeout: policy.DefaultMaxTimeout}}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := w.script(stays)
	var running sync.WaitGroup
	running.Go(func() { _, _ = w.host.Spawn(ctx, alice, r) })
	w.began(r)
	if _, err := w.host.Spawn(t.Context(), alice, w.script("true")); CodeOf(err) != Quota {
		t.Errorf("a second sync spawn: %v", err)
	}
	if _, err := w.host.SpawnBackground(t.Context(), alice, w.script("true")); CodeOf(err) != Quota {
		t.Errorf("a background process of a principal who may have none: %v", err)
	}
	cancel()
	running.Wait()
	w.until("the slot is free", func() bool { return w.counts("alice").Total() == 0 })
}

// TestRefusalsAreRecorded holds that every refusal is in the ledger before it
// is told, with all that was asked for and nothing that is secret.
func TestRefusalsAreRecorded(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.Default.Background = 0 })
	up, none := "../..", "no/such/dir"
	secret := "do-not-write-this-down"
	env := []EnvVar{{"TOKEN", secret}}
	for _, c := range []struct {
		name    string
		caller  Caller
		request Request
		code    Code
		rule    string
	}{
		{"gate", alice, Request{Cmd: "rm", Args: []string{"-rf"}, Env: env}, CapabilityDenied, `manifest host_process: no entry for "rm"`},
		{"flag", alice, Request{Cmd: "--bind", Env: env}, CapabilityDenied, "command looks like a flag"},
		{"no manifest", Caller{Principal: "alice", Capsule: "nobody"}, Request{Cmd: "sh", Env: env}, CapabilityDenied, `no manifest: capsule "nobody"`},
		{"principal", Caller{Principal: "a/b", Capsule: "builder"}, Request{Cmd: "sh", Env: env}, CapabilityDenied, "principal: not 1 to 64 of [A-Za-z0-9_-]"},
		{"gate before paths", alice, Request{Cmd: "rm", Cwd: &up, Env: env}, CapabilityDenied, `manifest host_process: no entry for "rm"`},
		{"escape", alice, Request{Cmd: "sh", Cwd: &up, Env: env}, BoundaryEscape, "validation"},
		{"no dir", alice, Request{Cmd: "sh", Cwd: &none, Env: env}, InvalidInput, "validation"},
		{"env", alice, Request{Cmd: "sh", Env: append(env, EnvVar{"LD_PRELOAD", secret})}, InvalidInput, "validation"},
		{"stdin", alice, Request{Cmd: "sh", Stdin: []byte(strings.Repeat(secret, 400000)), Env: env}, TooLarge, "validation"},
		{"args", alice, Request{Cmd: "sh", Args: []string{strings.Repeat("x", 2<<20)}, Env: env}, InvalidInput, "validation"},
		{"quota", alice, Request{Cmd: "sh", Env: env, Stdin: []byte(secret)}, Quota, "quota"},
	} {
		_, err := w.host.SpawnBackground(t.Context(), c.caller, c.request)
		if CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %v", c.name, err, c.code)
		}
		_, last := w.live.Ledger().Bounds()
		es := w.events(last - 1)
		asked, ok := es[0].Body.(*event.SpawnRequested)
		if !ok || asked.ArgsCount != uint32(len(c.request.Args)) || len(asked.EnvKeys) < 1 || asked.EnvKeys[0] != "TOKEN" {
			t.Errorf("%s: recorded request %+v", c.name, es[0].Body)
		}
		d, ok := es[1].Body.(*event.SpawnDecided)
		if !ok || d.Outcome != event.OutcomeRefused || d.Code != c.code.String() || d.Rule != c.rule {
			t.Errorf("%s: recorded decision %+v", c.name, es[1].Body)
		}
		for _, e := range es {
			if strings.Contains(string(event.Encode(e)), secret) {
				t.Errorf("%s: the secret stands in %v", c.name, e.Kind())
			}
		}
	}
	if n := w.counts("alice").Total(); n != 0 {
		t.Errorf("%d slots taken by refusals", n)
	}
}

// TestLongArgumentsAreCut holds that a command line of any length leaves an
// event that can be written, with the whole's length and digest.
func TestLongArgumentsAreCut(t *testing.T) {
	w := newWorld(t)
	long := Request{Cmd: "sh", Args: []string{"-c", "exit 3", strings.Repeat("é", 50000), strings.Repeat("z", 30000), strings.Repeat("q", 100000)}}
	got, err := w.host.Spawn(t.Context(), alice, long)
	if err != nil || *got.Exit.Code != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	var asked *event.SpawnRequested
	for _, e := range w.events(1) {
		if b, ok := e.Body.(*event.SpawnRequested); ok {
			asked = b
		}
	}
	if !asked.ArgsCut || asked.ArgsCount != 5 || asked.ArgsBytes != uint64(2+6+100000+30000+100000) || len(asked.ArgsDigest) != 32 {
		t.Errorf("recorded %d args, cut %v, %d bytes, digest of %d", asked.ArgsCount, asked.ArgsCut, asked.ArgsBytes, len(asked.ArgsDigest))
	}
	if n := len(strings.Join(asked.Args, "")); n < 50000 || !strings.HasPrefix(long.Args[2], asked.Args[2]) {
		t.Errorf("%d bytes of arguments kept", n)
	}
}

// TestWhatWasNotReadIsRefusedAndRecorded: a request that the binding cut short
// goes through policy and gate like any other, and its refusal says what it was.
func TestWhatWasNotReadIsRefusedAndRecorded(t *testing.T) {
	w := newWorld(t)
	long := Request{
		Cmd: "sh", Args: []string{"-c", "first"}, HasStdin: true,
		Unread: &Unread{Refusal: &Error{Code: TooLarge, Detail: "more than is taken"}, ArgsCount: 5000, ArgsBytes: 1 << 21, StdinBytes: 5 << 20},
	}
	denied := long
	denied.Cmd = "/evil"
	for cmd, c := range map[*Request]Code{&long: TooLarge, &denied: CapabilityDenied} {
		_, before := w.live.Ledger().Bounds()
		if _, err := w.host.SpawnBackground(t.Context(), alice, *cmd); CodeOf(err) != c {
			t.Fatalf("%s: %v, want %v", cmd.Cmd, err, c)
		}
		es := w.events(before + 1)
		asked, decided := es[0].Body.(*event.SpawnRequested), es[1].Body.(*event.SpawnDecided)
		if asked.ArgsCount != 5000 || asked.ArgsBytes != 1<<21 || !asked.ArgsCut || asked.StdinBytes != 5<<20 || asked.StdinDigest != nil || asked.ArgsDigest != nil {
			t.Errorf("%s: requested %+v", cmd.Cmd, asked)
		}
		if decided.Outcome != event.OutcomeRefused || decided.Code != c.String() {
			t.Errorf("%s: decided %+v", cmd.Cmd, decided)
		}
	}
}
