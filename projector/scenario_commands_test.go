package projector

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// scenarioCommands are the commands of the scenario files. A NAME stands for
// the id of a handle or cancel.
var scenarioCommands map[string]func(*scenario, arguments) string

func init() { // the table and some of its commands refer to each other
	scenarioCommands = map[string]func(*scenario, arguments) string{
		// The ledger.
		"open":    (*scenario).cmdOpen,    // [segment-events=N]
		"restart": (*scenario).cmdRestart, // close, open
		"crash":   (*scenario).cmdCrash,   // go on with a copy of the files
		"reboot":  (*scenario).cmdReboot,  // crash, and another boot id
		"advance": (*scenario).cmdAdvance, // DURATION: both clocks
		"step":    (*scenario).cmdStep,    // DURATION: the wall clock alone

		// Decisions.
		"quota": (*scenario).cmdQuota, // principal=N sync=N capsule=N
		"spawn": (*scenario).cmdSpawn, // NAME [tier= principal= capsule= call= cmd=]: decides by quota
		"race":  (*scenario).cmdRace,  // N NAME […]: N spawns at once

		// Single events, legal or not.
		"request": (*scenario).cmdRequest, // NAME [tier=]: spawn.requested alone
		"grant":   (*scenario).cmdGrant,   // NAME: spawn.decided alone
		"refuse":  (*scenario).cmdRefuse,  // NAME [code=]
		"abort":   one(func(a arguments) event.Body { return &event.SpawnAborted{Reason: a.get("reason", "caller-gone")} }),
		"fail": one(func(a arguments) event.Body {
			return &event.SpawnFailed{Step: "exec", Errno: 2, Detail: "no such file"}
		}),
		"start":   (*scenario).cmdStart, // NAME [isolation=]
		"adopt":   one(func(a arguments) event.Body { return &event.ProcessAdopted{Shim: event.Identity{PID: 77}} }),
		"exit":    (*scenario).cmdExit, // NAME [code=N | signal=N] [cause=]
		"lost":    (*scenario).cmdLost, // NAME [reason=] [witness=N]
		"release": one(func(a arguments) event.Body { return &event.HandleReleased{Reason: "dropped"} }),
		"signal":  (*scenario).cmdSignal, // NAME N [cause=] [cancel=NAME] [late=1]
		"sent":    (*scenario).cmdSent,   // NAME [request=SEQ] [delivered=0]
		"stop":    (*scenario).cmdStop,   // NAME [grace=DURATION] [reason=]
		"timer":   one(func(a arguments) event.Body { return &event.TimerFired{Timer: a.word(1)} }),
		"persist": (*scenario).cmdPersist, // NAME [id= stdin=0 idle=D retention=D overflow=N tier= label=]: both events
		"attach":  one(func(arguments) event.Body { return &event.HandleAttached{} }),
		"watch":   one(func(a arguments) event.Body { return &event.WatchArmed{Suffix: a.word(1)} }),
		"unwatch": one(func(arguments) event.Body { return &event.WatchDisarmed{Reason: "guest"} }),
		"eof": one(func(a arguments) event.Body {
			return &event.StdinClosed{Reason: a.get("reason", "guest"), Bytes: uint64(a.int("bytes", 0))}
		}),
		"cancel":  (*scenario).cmdCancel, // NAME [principal= capsule= calls=a,b handles=x,y]
		"finish":  (*scenario).cmdFinish, // NAME
		"orphan":  one(func(a arguments) event.Body { return &event.OrphanEnded{Directory: "processes/x"} }),
		"invoke":  (*scenario).cmdInvoke, // CALL [principal= capsule=]
		"return":  (*scenario).cmdReturn, // CALL [principal= capsule=]
		"daemon":  (*scenario).cmdDaemon, // start | stop | recover | recovered
		"load":    (*scenario).cmdLoad,   // CAPSULE [version=]
		"unload":  (*scenario).cmdUnload, // CAPSULE
		"policy":  (*scenario).cmdPolicy, // SUBJECT
		"unknown": (*scenario).cmdUnknown,

		// Questions.
		"log":      (*scenario).cmdLog,      // [from=N]
		"state":    (*scenario).cmdState,    // [at=N]
		"counters": (*scenario).cmdCounters, // [at=N]
		"totals":   (*scenario).cmdTotals,   // [at=N]
		"id":       (*scenario).cmdID,       // ID [at=N]: whose process id it is
		"reached":  (*scenario).cmdReached,  // [principal= capsule= calls=a,b]
		"snapshot": (*scenario).cmdSnapshot,
		"check":    (*scenario).cmdCheck,
	}
}

// one makes a command that commits one event of the handle NAME.
func one(body func(a arguments) event.Body) func(*scenario, arguments) string {
	return func(e *scenario, a arguments) string { return e.commit(e.scope(a.word(0), a), body(a)) }
}

func (e *scenario) cmdOpen(a arguments) string {
	e.opts.SegmentEvents = uint64(a.int("segment-events", 0))
	e.open()
	return e.opened()
}

func (e *scenario) opened() string {
	first, last := e.live.Ledger().Bounds()
	return fmt.Sprintf("events %d to %d\n", first, last)
}

func (e *scenario) cmdRestart(arguments) string {
	want := e.live.Snapshot().Encode()
	if err := e.live.Close(); err != nil {
		return err.Error() + "\n"
	}
	e.open()
	return e.opened() + e.sameAs(want)
}

func (e *scenario) cmdCrash(arguments) string {
	want := e.live.Snapshot().Encode()
	to := filepath.Join(e.t.TempDir(), "ledger")
	e.copyLedger(to)
	if err := e.live.Close(); err != nil {
		return err.Error() + "\n"
	}
	e.dir = to
	e.open()
	return e.opened() + e.sameAs(want)
}

func (e *scenario) cmdReboot(a arguments) string {
	e.clock.mu.Lock()
	e.clock.bootID++
	e.clock.boot = 0
	e.clock.mu.Unlock()
	return e.cmdCrash(a)
}

func (e *scenario) sameAs(want []byte) string {
	if bytes.Equal(want, e.live.Snapshot().Encode()) {
		return "the same state\n"
	}
	return "ANOTHER STATE\n"
}

func duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return d
}

func (e *scenario) cmdAdvance(a arguments) string {
	e.clock.mu.Lock()
	defer e.clock.mu.Unlock()
	d := int64(duration(a.word(0)))
	e.clock.wall += d
	e.clock.boot += d
	return ""
}

func (e *scenario) cmdStep(a arguments) string {
	e.clock.mu.Lock()
	defer e.clock.mu.Unlock()
	e.clock.wall += int64(duration(a.word(0)))
	return ""
}

func (e *scenario) cmdQuota(a arguments) string {
	e.caps.principal = uint32(a.int("principal", int64(e.caps.principal)))
	e.caps.sync = uint32(a.int("sync", int64(e.caps.sync)))
	e.caps.capsule = uint32(a.int("capsule", int64(e.caps.capsule)))
	return ""
}

func tierOf(a arguments) event.Tier {
	return map[string]event.Tier{"sync": 1, "background": 2, "persistent": 3, "none": 0}[a.get("tier", "background")]
}

func (e *scenario) cmdSpawn(a arguments) string {
	sc := e.scope(a.word(0), a)
	return e.decide(func(tip *State, _ ledger.Header) ([]*event.Event, error) { return e.spawnEvents(tip, sc, a), nil })
}

// spawnEvents decides a spawn by the quotas, as the host does.
func (e *scenario) spawnEvents(tip *State, sc event.Scope, a arguments) []*event.Event {
	tier := tierOf(a)
	p, c := tip.LivePrincipal(sc.Principal), tip.LiveCapsule(sc.Capsule)
	seen := []event.QuotaSeen{
		{Scope: "principal:" + sc.Principal, Used: p.Concurrent(), Cap: e.caps.principal},
		{Scope: "capsule:" + sc.Capsule, Used: c.Concurrent(), Cap: e.caps.capsule},
	}
	if tier == event.TierSync {
		seen = []event.QuotaSeen{{Scope: "principal-sync:" + sc.Principal, Used: p.Sync, Cap: e.caps.sync}}
	}
	d := granted()
	d.Quotas = seen
	for _, q := range seen {
		if q.Used >= q.Cap {
			d = &event.SpawnDecided{Outcome: event.OutcomeRefused, Code: "quota", Rule: "quota " + q.Scope, Quotas: seen}
			break
		}
	}
	return eventsOf(sc, &event.SpawnRequested{Tier: tier, Command: a.get("cmd", "git")}, d)
}

// cmdRace spawns N processes at once. Which goroutine comes first is chance;
// ids are given in the order of the decisions, so that the outcome is not.
func (e *scenario) cmdRace(a arguments) string {
	var n int
	if _, err := fmt.Sscan(a.word(0), &n); err != nil {
		return err.Error() + "\n"
	}
	before := e.live.Snapshot().Seq()
	scopes := make([]event.Scope, n)
	for i := range scopes {
		scopes[i] = e.scope(fmt.Sprintf("%s.%d", a.word(1), i+1), a)
	}
	var next int // touched by the closures, which run one after another
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			_, err := e.live.Decide(context.Background(), func(tip *State, _ ledger.Header) ([]*event.Event, error) {
				next++
				return e.spawnEvents(tip, scopes[next-1], a), nil
			})
			if err != nil {
				e.t.Error(err)
			}
		})
	}
	wg.Wait()
	var out strings.Builder
	e.printEvents(&out, before+1, e.live.Snapshot().Seq())
	return out.String()
}

func (e *scenario) cmdRequest(a arguments) string {
	return e.commit(e.scope(a.word(0), a), &event.SpawnRequested{Tier: tierOf(a), Command: a.get("cmd", "git")})
}

func (e *scenario) cmdGrant(a arguments) string {
	d := granted()
	d.Outcome = event.Outcome(a.int("outcome", 1))
	return e.commit(e.scope(a.word(0), a), d)
}

// cmdPersist decides a spawn without quotas. Its process id is the hash itself:
// "-" stands for none, the default is the name.
func (e *scenario) cmdPersist(a arguments) string {
	d := granted()
	d.KeepStdinOpen = a.get("stdin", "1") == "1"
	d.IdleNano = int64(duration(a.get("idle", "30m")))
	d.RetentionNano = int64(duration(a.get("retention", "5m")))
	d.Overflow, d.Label = event.Overflow(a.int("overflow", 0)), a.get("label", "")
	if id := a.get("id", a.word(0)); id != "-" {
		d.ProcessIDHash = []byte(id)
	}
	a.values["tier"] = a.get("tier", "persistent")
	return e.commit(e.scope(a.word(0), a), &event.SpawnRequested{Tier: tierOf(a), Command: "server"}, d)
}

func (e *scenario) cmdRefuse(a arguments) string {
	return e.commit(e.scope(a.word(0), a), &event.SpawnDecided{Outcome: event.OutcomeRefused, Code: a.get("code", "capability-denied"), Rule: "gate"})
}

func (e *scenario) cmdStart(a arguments) string {
	wall, boot := e.clock.Now()
	return e.commit(e.scope(a.word(0), a), &event.ProcessStarted{
		Program: event.Identity{PID: uint32(a.int("pid", 42)), StartTicks: 1}, Shim: event.Identity{PID: 41, StartTicks: 1},
		Isolation: a.get("isolation", "pidns"), StartedWall: wall, StartedBoot: boot,
	})
}

func number(n int64) *int32 { v := int32(n); return &v }

func (e *scenario) cmdExit(a arguments) string {
	wall, boot := e.clock.Now()
	b := &event.ProcessExited{Cause: a.get("cause", "self"), EndedWall: wall, EndedBoot: boot, AfterRestart: a.get("after-restart", "") != ""}
	if _, ok := a.values["signal"]; ok {
		b.Exit.Signal = number(a.int("signal", 0))
	}
	if _, ok := a.values["code"]; ok || b.Exit.Signal == nil && a.get("none", "") == "" {
		b.Exit.Code = number(a.int("code", 0))
	}
	return e.commit(e.scope(a.word(0), a), b)
}

func (e *scenario) cmdLost(a arguments) string {
	b := &event.ProcessLost{Reason: a.get("reason", "shim-killed")}
	if _, ok := a.values["witness"]; ok {
		b.Witness = &event.Exit{Code: number(a.int("witness", 0))}
	}
	return e.commit(e.scope(a.word(0), a), b)
}

func (e *scenario) cmdSignal(a arguments) string {
	var n uint32
	if _, err := fmt.Sscan(a.word(1), &n); err != nil {
		return err.Error() + "\n"
	}
	b := &event.SignalRequested{Signal: n, Target: event.TargetTree, Cause: a.get("cause", "signal"), Late: a.get("late", "") != ""}
	if c, ok := a.values["cancel"]; ok {
		id := e.id(c)
		b.Cancel, b.Cause = id[:], "cancel"
	}
	return e.commit(e.scope(a.word(0), a), b)
}

func (e *scenario) cmdSent(a arguments) string {
	request := uint64(a.int("request", 0))
	if h, ok := e.live.Snapshot().Handle(e.id(a.word(0))); ok && request == 0 && len(h.Signals) > 0 {
		request = h.Signals[len(h.Signals)-1].Seq
	}
	return e.commit(e.scope(a.word(0), a), &event.SignalSent{Request: request, Delivered: a.get("delivered", "1") == "1"})
}

func (e *scenario) cmdStop(a arguments) string {
	return e.commit(e.scope(a.word(0), a), &event.StopRequested{
		GraceNano: int64(duration(a.get("grace", "5s"))), Reason: a.get("reason", "operator"),
	})
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func (e *scenario) cmdCancel(a arguments) string {
	id := e.id(a.word(0))
	sc := event.Scope{Principal: a.get("principal", ""), Capsule: a.get("capsule", ""), Actor: event.Actor{Kind: event.ActorOperator}}
	b := &event.CancelRequested{Cancel: id[:], CallIDs: list(a.get("calls", "")), Reason: a.get("reason", "user")}
	return e.decide(func(tip *State, _ ledger.Header) ([]*event.Event, error) {
		if names, ok := a.values["handles"]; ok {
			for _, n := range list(names) {
				b.Handles = append(b.Handles, e.id(n).Bytes())
			}
			return eventsOf(sc, b), nil
		}
		for _, h := range tip.Reached(sc.Principal, sc.Capsule, b.CallIDs) {
			b.Handles = append(b.Handles, h.ID.Bytes())
		}
		return eventsOf(sc, b), nil
	})
}

func (e *scenario) cmdFinish(a arguments) string {
	id := e.id(a.word(0))
	return e.commit(event.Scope{}, &event.CancelFinished{Cancel: id[:]})
}

func (e *scenario) call(a arguments) event.Scope {
	sc := e.scope("", a)
	sc.CallID, sc.Handle = a.word(0), ulid.ULID{}
	return sc
}

func (e *scenario) cmdInvoke(a arguments) string {
	return e.commit(e.call(a), &event.InvocationStarted{Action: "tool_execute_git"})
}

func (e *scenario) cmdReturn(a arguments) string {
	return e.commit(e.call(a), &event.InvocationFinished{Outcome: a.get("outcome", "ok")})
}

func (e *scenario) cmdDaemon(a arguments) string {
	bodies := map[string]event.Body{
		"start":   &event.DaemonStarted{Version: a.get("version", "1"), PID: 1, Isolation: a.get("isolation", "pidns")},
		"stop":    &event.DaemonStopped{Reason: "operator"},
		"recover": &event.RecoveryStarted{}, "recovered": &event.RecoveryFinished{},
	}
	return e.commit(event.Scope{Actor: event.Actor{Kind: event.ActorHost}}, bodies[a.word(0)])
}

func (e *scenario) cmdLoad(a arguments) string {
	return e.commit(event.Scope{Capsule: a.word(0)}, &event.CapsuleLoaded{Version: a.get("version", "1"), HostProcess: []string{"git"}})
}

func (e *scenario) cmdUnload(a arguments) string {
	return e.commit(event.Scope{Capsule: a.word(0)}, &event.CapsuleUnloaded{Reason: "operator"})
}

func (e *scenario) cmdPolicy(a arguments) string {
	return e.commit(event.Scope{}, &event.PolicyChanged{Subject: a.word(0), Text: "x", SHA256: []byte{1}})
}

// cmdUnknown replays an event of a later build; its ledger would hold it.
func (e *scenario) cmdUnknown(a arguments) string {
	return e.commit(e.scope(a.word(0), a), &event.Unknown{Of: 4000, Raw: []byte{8, 1}})
}
