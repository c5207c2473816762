package projector

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"github.com/astrid-os/processledger/ledger/event"
)

// sim makes legal histories, and keeps books of its own that know nothing of
// State: the tests compare the two.
type sim struct {
	history
	procs       []*simProc
	cancels     []*simCancel
	invocations []event.Scope
	capsules    map[string]bool
	running     bool
	recovering  bool
	refused     uint64
	nextID      uint64
}

type simProc struct {
	scope   event.Scope
	tier    event.Tier
	phase   Phase
	pending []uint64 // seqs of requested signals
	timers  map[string]bool

	id       []byte // hash of its process id; nil: none
	stdin    bool   // kept open and not closed
	watched  bool
	attached uint32
}

type simCancel struct {
	id      ulid.ULID
	reached []*simProc
}

var (
	simPrincipals = []string{"alice", "bob", "carol"}
	simCapsules   = []string{"builder", "runner"}
	simCalls      = []string{"", "c1", "c2"}
)

func newSim() *sim { return &sim{capsules: map[string]bool{}} }

func (m *sim) id() ulid.ULID {
	m.nextID++
	return testID(5000+m.nextID/200, byte(m.nextID))
}

func (m *sim) scope(t *rapid.T) event.Scope {
	p := rapid.SampledFrom(simPrincipals).Draw(t, "principal")
	c := rapid.SampledFrom(simCapsules).Draw(t, "capsule")
	return event.Scope{
		Principal: p, Capsule: c, Instance: p + "/" + c,
		CallID: rapid.SampledFrom(simCalls).Draw(t, "call"),
		Actor:  event.Actor{Kind: event.ActorGuest},
	}
}

// in returns the processes in one of the phases.
func (m *sim) in(phases ...Phase) (out []*simProc) {
	for _, p := range m.procs {
		for _, phase := range phases {
			if p.phase == phase {
				out = append(out, p)
			}
		}
	}
	return out
}

// step appends a legal event or, for a spawn, two. It may append none, if the
// action drawn has nothing to act on.
func (m *sim) step(t *rapid.T) {
	actions := []func(*rapid.T){
		m.spawn, m.spawn, m.start, m.start, m.end, m.end, m.release, m.signal, m.sent,
		m.stop, m.timer, m.cancel, m.finish, m.adopt, m.invoke, m.daemon, m.capsule, m.other, m.hold, m.hold,
	}
	rapid.SampledFrom(actions).Draw(t, "action")(t)
}

func pick[V any](t *rapid.T, from []V) (v V, ok bool) {
	if len(from) == 0 {
		return v, false
	}
	return rapid.SampledFrom(from).Draw(t, "which"), true
}

func (m *sim) spawn(t *rapid.T) {
	p := &simProc{
		scope: m.scope(t), tier: rapid.SampledFrom([]event.Tier{1, 2, 3}).Draw(t, "tier"),
		phase: PhaseDecided, timers: map[string]bool{},
	}
	p.scope.Handle = m.id()
	m.add(p.scope, &event.SpawnRequested{Tier: p.tier, Command: "git", Label: rapid.StringN(0, 5, 9).Draw(t, "label")})
	if rapid.IntRange(0, 4).Draw(t, "refuse") == 0 {
		m.add(p.scope, &event.SpawnDecided{
			Outcome: event.OutcomeRefused,
			Code:    rapid.SampledFrom([]string{"quota", "capability-denied"}).Draw(t, "code"),
		})
		m.refused++
		return
	}
	m.add(p.scope, m.grant(t, p))
	m.procs = append(m.procs, p)
}

// grant draws what a process is granted; only a persistent one has an id, and
// not in ledgers of the first release.
func (m *sim) grant(t *rapid.T, p *simProc) *event.SpawnDecided {
	d := granted()
	if p.tier != event.TierPersistent || rapid.IntRange(0, 5).Draw(t, "without id") == 0 {
		return d
	}
	p.id, p.stdin = p.scope.Handle.Bytes(), rapid.Bool().Draw(t, "stdin")
	if old, ok := pick(t, m.in(PhaseNone)); ok && len(old.id) > 0 && rapid.Bool().Draw(t, "id of a released one") && !m.taken(old.id) {
		p.id = old.id
	}
	d.ProcessIDHash, d.KeepStdinOpen, d.Label = p.id, p.stdin, "server"
	d.Overflow = event.Overflow(rapid.IntRange(0, 2).Draw(t, "overflow"))
	d.IdleNano, d.RetentionNano = 5, 6
	return d
}

func (m *sim) taken(id []byte) bool {
	return slices.ContainsFunc(m.procs, func(p *simProc) bool { return p.phase != PhaseNone && bytes.Equal(p.id, id) })
}

// hold lets a guest attach, watch, unwatch or end the input.
func (m *sim) hold(t *rapid.T) {
	p, ok := pick(t, slices.DeleteFunc(slices.Clone(m.procs), func(p *simProc) bool { return len(p.id) == 0 || p.phase == PhaseNone }))
	if !ok {
		return
	}
	sc := p.scope
	sc.CallID, sc.Instance = "later", "another"
	switch n := rapid.IntRange(0, 3).Draw(t, "hold"); {
	case n == 0:
		m.add(sc, &event.HandleAttached{})
		p.attached++
	case n == 1:
		m.add(sc, &event.WatchArmed{Suffix: rapid.SampledFrom([]string{"", "s"}).Draw(t, "suffix")})
		p.watched = true
	case n == 2 && p.watched:
		m.add(sc, &event.WatchDisarmed{Reason: "guest"})
		p.watched = false
	case n == 3 && p.stdin:
		m.add(sc, &event.StdinClosed{Reason: "guest", Bytes: 4})
		p.stdin = false
	}
}

func (m *sim) start(t *rapid.T) {
	if p, ok := pick(t, m.in(PhaseDecided)); ok {
		m.add(p.scope, &event.ProcessStarted{
			Program: event.Identity{PID: rapid.Uint32().Draw(t, "pid"), PidfsHandle: []byte{1}}, Isolation: "pidns",
			StartedWall: rapid.Int64().Draw(t, "wall"),
		})
		p.phase = PhaseStarted
	}
}

func (m *sim) end(t *rapid.T) {
	p, ok := pick(t, m.in(PhaseDecided, PhaseStarted))
	if !ok {
		return
	}
	lost := rapid.IntRange(0, 4).Draw(t, "lost") == 0
	switch {
	case lost:
		m.add(p.scope, &event.ProcessLost{Reason: "reboot"})
		p.phase = PhaseLost
	case p.phase == PhaseStarted:
		x := code(rapid.Int32().Draw(t, "exit"))
		if rapid.Bool().Draw(t, "signalled") {
			x = event.Exit{Signal: x.Code}
		}
		m.add(p.scope, &event.ProcessExited{Exit: x, Cause: "self", MaxRSSKiB: 9})
		p.phase = PhaseExited
	case rapid.Bool().Draw(t, "failed"):
		m.add(p.scope, &event.SpawnFailed{Step: "exec", Errno: 2})
		p.phase = PhaseFailed
	default:
		m.add(p.scope, &event.SpawnAborted{Reason: "caller-gone"})
		p.phase = PhaseAborted
	}
}

func (m *sim) release(t *rapid.T) {
	if p, ok := pick(t, m.in(PhaseExited, PhaseAborted, PhaseFailed, PhaseLost)); ok {
		m.add(p.scope, &event.HandleReleased{Reason: "dropped"})
		p.phase = PhaseNone
	}
}

func (m *sim) signal(t *rapid.T) {
	p, ok := pick(t, m.in(PhaseDecided, PhaseStarted))
	if !ok {
		return
	}
	b := &event.SignalRequested{
		Signal: rapid.SampledFrom([]uint32{2, 9, 15}).Draw(t, "signal"), Target: event.TargetTree,
		Cause: rapid.SampledFrom([]string{"signal", "kill", "cancel", "stop", "lifetime"}).Draw(t, "cause"),
	}
	if c, ok := pick(t, m.cancels); ok && b.Cause == "cancel" {
		b.Cancel = c.id[:]
	}
	p.pending = append(p.pending, m.add(p.scope, b).Seq)
}

func (m *sim) sent(t *rapid.T) {
	p, ok := pick(t, m.procs)
	if !ok || p.phase == PhaseNone || len(p.pending) == 0 {
		return
	}
	i := rapid.IntRange(0, len(p.pending)-1).Draw(t, "pending")
	m.add(p.scope, &event.SignalSent{Request: p.pending[i], Signal: 15, Delivered: rapid.Bool().Draw(t, "delivered")})
	p.pending = append(p.pending[:i:i], p.pending[i+1:]...)
}

func (m *sim) stop(t *rapid.T) {
	if p, ok := pick(t, m.in(PhaseDecided, PhaseStarted)); ok {
		m.add(p.scope, &event.StopRequested{GraceNano: 5e9, Reason: rapid.SampledFrom([]string{"operator", "shutdown"}).Draw(t, "reason")})
	}
}

func (m *sim) timer(t *rapid.T) {
	p, ok := pick(t, m.in(PhaseStarted))
	name := rapid.SampledFrom([]string{"lifetime", "orphan", "idle"}).Draw(t, "timer")
	if late, found := pick(t, m.in(PhaseExited, PhaseLost, PhaseAborted)); found && late.tier == event.TierPersistent && !late.timers["retention"] {
		late.timers["retention"] = true
		m.add(late.scope, &event.TimerFired{Timer: "retention", DueBoot: 4})
		return
	}
	if ok && !p.timers[name] && (name != "idle" || len(p.id) > 0) {
		p.timers[name] = true
		m.add(p.scope, &event.TimerFired{Timer: name, DueBoot: 4})
	}
}

func (m *sim) cancel(t *rapid.T) {
	c := &simCancel{id: m.id()}
	b := &event.CancelRequested{Cancel: c.id[:], CallIDs: []string{"c1"}, Reason: "user"}
	for _, p := range m.in(PhaseDecided, PhaseStarted) {
		if rapid.Bool().Draw(t, "reach") {
			c.reached = append(c.reached, p)
			b.Handles = append(b.Handles, p.scope.Handle.Bytes())
		}
	}
	m.cancels = append(m.cancels, c)
	m.add(event.Scope{Principal: "alice", Actor: event.Actor{Kind: event.ActorOperator, UID: 3, Role: "admin"}}, b)
}

func (m *sim) finish(t *rapid.T) {
	for i, c := range m.cancels {
		open := 0
		for _, p := range c.reached {
			if p.phase.Live() {
				open++
			}
		}
		if open == 0 {
			m.add(event.Scope{}, &event.CancelFinished{Cancel: c.id[:]})
			m.cancels = append(m.cancels[:i:i], m.cancels[i+1:]...)
			return
		}
	}
}

func (m *sim) adopt(t *rapid.T) {
	if p, ok := pick(t, m.in(PhaseStarted)); ok {
		m.add(p.scope, &event.ProcessAdopted{Shim: event.Identity{PID: 4}})
	}
}

func (m *sim) invoke(t *rapid.T) {
	if len(m.invocations) > 0 && rapid.Bool().Draw(t, "finish") {
		i := rapid.IntRange(0, len(m.invocations)-1).Draw(t, "invocation")
		m.add(m.invocations[i], &event.InvocationFinished{Outcome: "ok"})
		m.invocations = append(m.invocations[:i:i], m.invocations[i+1:]...)
		return
	}
	sc := m.scope(t)
	m.invocations = append(m.invocations, sc)
	m.add(sc, &event.InvocationStarted{Action: "tool"})
}

func (m *sim) daemon(t *rapid.T) {
	host := event.Scope{Actor: event.Actor{Kind: event.ActorHost}}
	switch n := rapid.IntRange(0, 3).Draw(t, "daemon"); {
	case n == 0 && m.running:
		m.add(host, &event.DaemonStopped{Reason: "operator"})
		m.running = false
	case n == 1 && m.running:
		m.add(host, &event.RecoveryStarted{})
		m.recovering = true
	case n == 2 && m.recovering:
		m.add(host, &event.RecoveryFinished{})
		m.recovering = false
	default:
		m.add(host, &event.DaemonStarted{Version: "v", UID: 5})
		m.running, m.recovering = true, false
		clear(m.capsules)
	}
}

func (m *sim) capsule(t *rapid.T) {
	name := rapid.SampledFrom(simCapsules).Draw(t, "capsule")
	sc := event.Scope{Capsule: name}
	if m.capsules[name] && rapid.Bool().Draw(t, "unload") {
		m.add(sc, &event.CapsuleUnloaded{})
		delete(m.capsules, name)
		return
	}
	m.add(sc, &event.CapsuleLoaded{Version: "1", HostProcess: []string{"git"}})
	m.capsules[name] = true
}

func (m *sim) other(t *rapid.T) {
	sc := m.scope(t)
	if p, ok := pick(t, m.procs); ok {
		sc.Handle = p.scope.Handle
	}
	m.add(sc, rapid.SampledFrom([]event.Body{
		&event.SegmentOpened{Ordinal: 2}, &event.ClockStepped{DeltaNano: 2e9}, &event.Unknown{Of: 77, Raw: []byte{1}},
		&event.PolicyChanged{Subject: "config", SHA256: []byte{1}}, &event.LedgerMigrated{From: 1, To: 2},
	}).Draw(t, "other"))
}

// check compares the state with the simulation's own books.
func (m *sim) check(s *State) error {
	type counts struct{ live, held map[string]Counts }
	want := counts{map[string]Counts{}, map[string]Counts{}}
	bump := func(into map[string]Counts, key string, tier event.Tier) {
		c := into[key]
		switch tier {
		case event.TierSync:
			c.Sync++
		case event.TierBackground:
			c.Background++
		case event.TierPersistent:
			c.Persistent++
		}
		into[key] = c
	}
	held := 0
	for _, p := range m.procs {
		if p.phase == PhaseNone {
			continue
		}
		held++
		h, ok := s.Handle(p.scope.Handle)
		if !ok || h.Phase != p.phase {
			return fmt.Errorf("handle %v: want %v, have %+v", p.scope.Handle, p.phase, h)
		}
		if len(h.Signals) != len(p.pending) {
			return fmt.Errorf("handle %v: want %d pending signals, have %d", h.ID, len(p.pending), len(h.Signals))
		}
		for _, key := range []string{"", "p:" + h.Principal, "c:" + h.Capsule, h.Principal + "/" + h.Capsule} {
			bump(want.held, key, p.tier)
			if p.phase == PhaseDecided || p.phase == PhaseStarted {
				bump(want.live, key, p.tier)
			}
		}
	}
	if err := m.checkHeld(s); err != nil {
		return err
	}
	if got := len(s.Handles()); got != held {
		return fmt.Errorf("%d handles held, want %d", got, held)
	}
	for _, p := range simPrincipals {
		if got := s.LivePrincipal(p); got != want.live["p:"+p] {
			return fmt.Errorf("live of %s: %+v, want %+v", p, got, want.live["p:"+p])
		}
		for _, c := range simCapsules {
			if got := liveOf(s.derived.pairs, pair{p, c}); got != want.live[p+"/"+c] {
				return fmt.Errorf("live of %s/%s: %+v, want %+v", p, c, got, want.live[p+"/"+c])
			}
			if got := s.HeldPair(p, c); got != want.held[p+"/"+c] {
				return fmt.Errorf("held of %s/%s: %+v, want %+v", p, c, got, want.held[p+"/"+c])
			}
		}
	}
	for _, c := range simCapsules {
		if s.LiveCapsule(c) != want.live["c:"+c] || s.HeldCapsule(c) != want.held["c:"+c] {
			return fmt.Errorf("counters of capsule %s are wrong", c)
		}
	}
	if s.LiveAll() != want.live[""] || s.HeldAll() != want.held[""] {
		return fmt.Errorf("live in all: %+v, want %+v", s.LiveAll(), want.live[""])
	}
	return m.checkRest(s)
}

// checkHeld compares what is known of the persistent processes.
func (m *sim) checkHeld(s *State) error {
	ids := 0
	for _, p := range m.procs {
		if p.phase == PhaseNone || len(p.id) == 0 {
			continue
		}
		ids++
		h, ok := s.ByProcessID(p.id)
		if !ok || h.ID != p.scope.Handle {
			return fmt.Errorf("process id of %v leads to %+v", p.scope.Handle, h)
		}
		if open := h.KeepStdinOpen && !h.StdinClosed; open != p.stdin || (h.Watch != nil) != p.watched || h.Attached != p.attached {
			return fmt.Errorf("handle %v: want %+v, have %+v", h.ID, p, h)
		}
	}
	if len(s.derived.ids) != ids {
		return fmt.Errorf("%d process ids, want %d", len(s.derived.ids), ids)
	}
	return nil
}

func (m *sim) checkRest(s *State) error {
	if got := s.Totals().Refused; got != m.refused {
		return fmt.Errorf("%d refused, want %d", got, m.refused)
	}
	if len(s.Cancels()) != len(m.cancels) || len(s.Invocations()) != len(m.invocations) || len(s.Capsules()) != len(m.capsules) {
		return fmt.Errorf("cancels, invocations or capsules differ")
	}
	for _, c := range m.cancels {
		open := 0
		for _, p := range c.reached {
			if p.phase.Live() {
				open++
			}
		}
		if got, ok := s.Cancel(c.id); !ok || len(got.Remaining) != open {
			return fmt.Errorf("cancel %v: want %d remaining, have %+v", c.id, open, got)
		}
	}
	for _, p := range simPrincipals {
		for _, c := range simCapsules {
			if got, want := len(s.Reached(p, c, []string{"c1"})), m.reachable(p, c, "c1"); got != want {
				return fmt.Errorf("a cancel of c1 in %s/%s reaches %d, want %d", p, c, got, want)
			}
		}
	}
	return nil
}

// reachable counts by the contract's words: live, ephemeral, with the call id
// or with none.
func (m *sim) reachable(principal, capsule, call string) (n int) {
	for _, p := range m.in(PhaseDecided, PhaseStarted) {
		if p.tier != event.TierPersistent && p.scope.Principal == principal && p.scope.Capsule == capsule &&
			(p.scope.CallID == call || p.scope.CallID == "") {
			n++
		}
	}
	return n
}
