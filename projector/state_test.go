package projector

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// history makes events that follow each other.
type history struct {
	events []*event.Event
}

func (h *history) add(scope event.Scope, body event.Body) *event.Event {
	seq := uint64(len(h.events) + 1)
	e := &event.Event{
		Header: event.Header{
			Seq: seq, ID: testID(1_000_000+seq, byte(seq)),
			Wall: int64(1_000_000+seq) * 1e6, Boottime: int64(seq) * 1e9, BootID: [16]byte{0xb0},
		},
		Scope: scope, Body: body,
	}
	h.events = append(h.events, e)
	return e
}

// testID is a ULID of ms with a recognisable tail.
func testID(ms uint64, n byte) (id ulid.ULID) {
	if err := id.SetTime(ms); err != nil {
		panic(err)
	}
	id[15] = n
	return id
}

func scopeOf(handle byte) event.Scope {
	return event.Scope{
		Principal: "alice", Capsule: "builder", Instance: "i1", CallID: "c1",
		Handle: testID(7, handle), Actor: event.Actor{Kind: event.ActorGuest},
	}
}

func granted() *event.SpawnDecided {
	return &event.SpawnDecided{
		Outcome: event.OutcomeGranted, Rule: "manifest host_process: git", Isolation: "pidns", Cwd: "/w",
		RingBytes: 1 << 20, Orders: &event.Orders{LifetimeNano: 6e9, GraceNano: 5e9, OrphanNano: 30e9},
	}
}

func code(n int32) event.Exit { return event.Exit{Code: &n} }

// applied folds the whole history and fails the test at the first error.
func (h *history) applied(t testing.TB) *State {
	t.Helper()
	s := New()
	for _, e := range h.events {
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestLifeOfAHandle(t *testing.T) {
	var h history
	sc := scopeOf(1)
	h.add(sc, &event.SpawnRequested{Tier: event.TierBackground, Command: "git", Label: "git fetch"})
	h.add(sc, granted())
	h.add(sc, &event.ProcessStarted{Program: event.Identity{PID: 7}, Isolation: "pidns", StartedWall: 5, StartedBoot: 6})

	s := h.applied(t)
	if got := s.LivePrincipal("alice"); got != (Counts{Background: 1}) {
		t.Errorf("live of alice: %+v", got)
	}
	p, ok := s.Handle(sc.Handle)
	if !ok || p.Phase != PhaseStarted || p.LastSeq != 3 || p.Command != "git" || p.Cwd != "/w" {
		t.Errorf("handle: %+v", p)
	}

	h.add(sc, &event.ProcessExited{Exit: code(0), Cause: "self"})
	s = h.applied(t)
	if got := s.LivePrincipal("alice"); got != (Counts{}) {
		t.Errorf("live of alice after the exit: %+v", got)
	}
	if got := s.HeldPair("alice", "builder"); got != (Counts{Background: 1}) {
		t.Errorf("held after the exit: %+v", got)
	}

	h.add(sc, &event.HandleReleased{Reason: "dropped"})
	s = h.applied(t)
	if _, ok := s.Handle(sc.Handle); ok || s.HeldAll() != (Counts{}) || len(s.Tallies()) != 0 {
		t.Error("a released handle is still held")
	}
}

func TestTransitionErrorNamesEverything(t *testing.T) {
	var h history
	sc := scopeOf(1)
	h.add(sc, &event.SpawnRequested{Tier: event.TierSync, Command: "git"})
	h.add(sc, granted())
	h.add(sc, &event.ProcessStarted{})
	h.add(sc, &event.ProcessExited{Exit: code(1), Cause: "self"})
	s := h.applied(t)
	before := s.Encode()

	err := s.Apply(h.add(sc, &event.ProcessStarted{}))
	want := "invalid transition [exited -> started] of handle " + sc.Handle.String() + " by event 5"
	if err == nil || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	var te *TransitionError
	if !errors.As(err, &te) || te.Handle != sc.Handle || te.From != "exited" || !errors.Is(err, ErrTransition) {
		t.Errorf("not the right error: %#v", err)
	}
	if !bytes.Equal(before, s.Encode()) {
		t.Error("a refused event changed the state")
	}
}

func TestGap(t *testing.T) {
	var h history
	h.add(event.Scope{}, &event.ClockStepped{})
	e := h.add(event.Scope{}, &event.ClockStepped{})
	if err := New().Apply(e); !errors.Is(err, ErrGap) {
		t.Errorf("got %v", err)
	}
}

// everything is a history that leaves something in every field of a state.
func everything() *history {
	var h history
	host := event.Scope{Actor: event.Actor{Kind: event.ActorHost}}
	h.add(host, &event.DaemonStarted{Version: "1", PID: 3, UID: 1000, Isolation: "pidns"})
	h.add(host, &event.RecoveryStarted{})
	h.add(host, &event.RecoveryFinished{})
	h.add(event.Scope{Capsule: "builder"}, &event.CapsuleLoaded{
		Version: "2", ManifestSHA256: []byte{1}, ModuleSHA256: []byte{2}, ModuleBytes: 9,
		HostProcess: []string{"git", ""}, AllowPersistent: true,
	})
	h.add(host, &event.PolicyChanged{Subject: "config", Text: "x", SHA256: []byte{3}})
	call := scopeOf(0)
	call.Handle = ulid.ULID{}
	h.add(call, &event.InvocationStarted{Action: "tool_execute_git"})
	for n := byte(1); n <= 5; n++ {
		sc := scopeOf(n)
		h.add(sc, &event.SpawnRequested{Tier: event.Tier(1 + n%3), Command: "git", Label: "l"})
		if n == 5 {
			h.add(sc, &event.SpawnDecided{Outcome: event.OutcomeRefused, Code: "quota"})
			continue
		}
		h.add(sc, granted())
	}
	h.add(scopeOf(1), &event.SpawnFailed{Step: "exec", Errno: 2, Detail: "no such file"})
	id := event.Identity{PID: 9, StartTicks: 8, PidfsHandle: []byte{1, 2}, PidNamespace: 4}
	for n := byte(2); n <= 4; n++ {
		h.add(scopeOf(n), &event.ProcessStarted{Program: id, Shim: id, Isolation: "pidns+mount", StartedWall: 1, StartedBoot: 2})
	}
	h.add(scopeOf(2), &event.ProcessExited{Exit: code(0), Cause: "self", UserNano: 1, SystemNano: 2, MaxRSSKiB: 3, EndedWall: 4, EndedBoot: 5, AfterRestart: true})
	h.add(scopeOf(3), &event.ProcessAdopted{Shim: id})
	witness := code(3)
	h.add(scopeOf(4), &event.ProcessLost{Reason: "shim-killed", Detail: "d", Witness: &witness})
	cancel, target := testID(8, 1), testID(7, 3)
	h.add(call, &event.CancelRequested{Cancel: cancel[:], CallIDs: []string{"c1"}, Handles: [][]byte{target[:]}, Reason: "user"})
	h.add(scopeOf(3), &event.StopRequested{GraceNano: 5e9, Reason: "operator"})
	h.add(scopeOf(3), &event.TimerFired{Timer: "lifetime", DueBoot: 3})
	req := h.add(scopeOf(3), &event.SignalRequested{Signal: 2, Target: event.TargetTree, Cause: "cancel", Cancel: cancel[:]})
	h.add(scopeOf(3), &event.SignalSent{Request: req.Seq, Signal: 2, Delivered: true})
	h.add(scopeOf(3), &event.SignalRequested{Signal: 9, Target: event.TargetTree, Cause: "cancel", Cancel: cancel[:]})
	h.add(host, &event.OrphanEnded{Directory: "x"})
	h.add(host, &event.Unknown{Of: 4000})
	return &h
}

// everythingPersistent goes on with what leaves something in every field of the
// persistent tier.
func everythingPersistent() *history {
	h := everything()
	for n := byte(6); n <= 7; n++ {
		d := granted()
		d.KeepStdinOpen, d.Overflow, d.IdleNano, d.RetentionNano = true, event.OverflowBackpressure, 7, 8
		d.ProcessIDHash, d.Label = []byte{n, 9}, "server"
		h.add(scopeOf(n), &event.SpawnRequested{Tier: event.TierPersistent, Command: "server"})
		h.add(scopeOf(n), d)
		h.add(scopeOf(n), &event.ProcessStarted{})
		h.add(scopeOf(n), &event.HandleAttached{})
		h.add(scopeOf(n), &event.WatchArmed{Suffix: "s"})
		h.add(scopeOf(n), &event.StdinClosed{Reason: "guest", Bytes: 3})
	}
	h.add(scopeOf(7), &event.WatchDisarmed{Reason: "guest"})
	h.add(scopeOf(7), &event.ProcessExited{Exit: code(0), Cause: "self"})
	h.add(scopeOf(7), &event.TimerFired{Timer: "retention"})
	h.add(scopeOf(6), &event.TimerFired{Timer: "idle"})
	return h
}

// TestOldState: the state that the first release encoded decodes, is what its
// events give, and encodes to the same bytes: a state is written in a newer
// format only if it holds something newer.
func TestOldState(t *testing.T) {
	text, err := os.ReadFile("testdata/state-1.hex")
	must(t, err)
	old, err := hex.DecodeString(strings.TrimSpace(string(text)))
	must(t, err)
	s, err := Decode(old)
	must(t, err)
	if !bytes.Equal(s.Encode(), old) {
		t.Error("it encodes to other bytes")
	}
	if !bytes.Equal(everything().applied(t).Encode(), old) {
		t.Error("its events give another state")
	}
	h := everything()
	id := h.add(scopeOf(3), &event.ClockStepped{}).Seq
	for _, e := range []*event.Event{h.events[id-1], h.add(scopeOf(6), &event.SpawnRequested{Tier: event.TierPersistent})} {
		must(t, s.Apply(e))
	}
	if format, err := formatOf(s.Encode()); format != formatFirst || err != nil {
		t.Errorf("without anything newer its format is %d, %v", format, err)
	}
	must(t, s.Apply(h.add(scopeOf(6), &event.SpawnDecided{Outcome: event.OutcomeGranted, ProcessIDHash: []byte{1}})))
	if format, err := formatOf(s.Encode()); format != formatPersistent || err != nil {
		t.Errorf("with a process id its format is %d, %v", format, err)
	}
}

// TestFormatIsTheLowest: the same state in a higher format than it needs, or a
// lower one than it has, is not canonical.
func TestFormatIsTheLowest(t *testing.T) {
	for _, h := range []*history{everything(), everythingPersistent()} {
		b := h.applied(t).Encode()
		b[1] = 3 - b[1]
		if _, err := Decode(b); !errors.Is(err, ErrCorruptState) {
			t.Errorf("format %d: got %v", b[1], err)
		}
		b[1] = 3
		if _, err := Decode(b); !errors.Is(err, ErrNewerState) {
			t.Errorf("format 3: got %v", err)
		}
	}
}

// TestDecodeRefusesContradictions: what no events lead to is refused, field by
// field of the persistent tier.
func TestDecodeRefusesContradictions(t *testing.T) {
	seven, six := testID(7, 7), testID(7, 6)
	for name, spoil := range map[string]func(s *State){
		"id of a background process": func(s *State) { s.handles[testID(7, 3)].ProcessIDHash = []byte{1} },
		"id twice":                   func(s *State) { s.handles[seven].ProcessIDHash = s.handles[six].ProcessIDHash },
		"closed, was never open":     func(s *State) { s.handles[six].KeepStdinOpen = false },
		"closed after its last":      func(s *State) { s.handles[six].StdinClosedSeq = s.seq + 1 },
		"expired while it lives":     func(s *State) { s.handles[six].Expired = s.handles[seven].Expired },
		"overflow":                   func(s *State) { s.handles[six].Overflow = 3 },
		"watch of another tier":      func(s *State) { s.handles[testID(7, 3)].Watch = new(Watch) },
	} {
		s := everythingPersistent().applied(t)
		if _, err := Decode(s.Encode()); err != nil {
			t.Fatal(err)
		}
		spoil(s)
		if _, err := Decode(s.Encode()); !errors.Is(err, ErrCorruptState) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestEncodeDecodeClone(t *testing.T) {
	h := everythingPersistent()
	s := New()
	for _, e := range h.events {
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
		b := s.Encode()
		d, err := Decode(b)
		if err != nil {
			t.Fatalf("after event %d (%v): %v", e.Seq, e.Kind(), err)
		}
		if !bytes.Equal(d.Encode(), b) {
			t.Fatalf("after event %d (%v): decoded state encodes otherwise", e.Seq, e.Kind())
		}
		if !bytes.Equal(s.Clone().Encode(), b) {
			t.Fatalf("after event %d (%v): clone encodes otherwise", e.Seq, e.Kind())
		}
	}
}

func TestCancelLifecycle(t *testing.T) {
	h := everything()
	s := h.applied(t)
	cs := s.Cancels()
	if len(cs) != 1 || len(cs[0].Remaining) != 1 {
		t.Fatalf("cancels: %+v", cs)
	}
	p, _ := s.Handle(testID(7, 3))
	if p.CancelID() != cs[0].ID {
		t.Errorf("cancel of the handle: %v", p.CancelID())
	}
	o, ok := p.Obligation("cancel")
	if !ok || o.Gentle.Sent.Seq == 0 || !o.Gentle.Delivered || o.Kill.Requested == 0 || o.Kill.Sent.Seq != 0 {
		t.Errorf("obligation: %+v", o)
	}
	finished := h.add(event.Scope{}, &event.CancelFinished{Cancel: cs[0].ID[:]})
	if err := s.Apply(finished); !errors.Is(err, ErrTransition) {
		t.Errorf("a cancel finished before its handles: %v", err)
	}
	h.events = h.events[:len(h.events)-1]
	n := int32(9)
	h.add(scopeOf(3), &event.ProcessExited{Exit: event.Exit{Signal: &n}, Cause: "cancel"})
	h.add(event.Scope{}, &event.CancelFinished{Cancel: cs[0].ID[:]})
	if s := h.applied(t); len(s.Cancels()) != 0 {
		t.Error("a finished cancel is open")
	}
}
