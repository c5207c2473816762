package report

import (
	"bytes"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// base is the moment of the first event of these tests.
var base = time.Date(2026, 3, 14, 9, 26, 53, 589_000_000, time.UTC)

func testID(n byte) ulid.ULID {
	var id ulid.ULID
	if err := id.SetTime(uint64(base.UnixMilli())); err != nil {
		panic(err)
	}
	id[15] = n
	return id
}

func sum(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func ptr[T any](v T) *T { return &v }

func guestScope() event.Scope {
	return event.Scope{
		Principal: "alice", Capsule: "builder", Instance: "builder-1", CallID: "call-7", Handle: testID(200),
		Actor: event.Actor{Kind: event.ActorGuest},
	}
}

func by(s event.Scope, a event.Actor) event.Scope { s.Actor = a; return s }

// make1 makes event seq, 10 ms after the one before.
func make1(seq uint64, s event.Scope, body event.Body) *event.Event {
	at := base.Add(time.Duration(seq) * 10 * time.Millisecond)
	e := &event.Event{Scope: s, Body: body}
	e.Seq, e.ID, e.Wall, e.Boottime, e.BootID = seq, testID(byte(seq)), at.UnixNano(), int64(seq)*int64(10*time.Millisecond), [16]byte{1}
	return e
}

// aStory is a process that was cancelled.
func aStory() []*event.Event {
	g := guestScope()
	op := by(g, event.Actor{Kind: event.ActorOperator, UID: 1000, Role: "operator"})
	host := by(g, event.Actor{Kind: event.ActorHost})
	bodies := []struct {
		s event.Scope
		b event.Body
	}{
		{g, &event.SpawnRequested{Tier: event.TierBackground, Command: "sleep", Args: []string{"1000", "it's"}, EnvKeys: []string{"HOME", "GOCACHE"},
			StdinBytes: 5, StdinDigest: sum(9), Limits: &event.Limits{MemoryBytes: ptr[uint64](64 << 20), PIDs: ptr[uint32](10)}, Label: "nap"}},
		{g, &event.SpawnDecided{Outcome: event.OutcomeGranted, Rule: "manifest host_process: sleep", RingBytes: 1 << 20, Isolation: "pidns", Cwd: "/data/workspaces/alice/builder",
			Quotas: []event.QuotaSeen{{Scope: "principal:alice", Used: 1, Cap: 8}, {Scope: "capsule:builder", Used: 2, Cap: 8}},
			Orders: &event.Orders{LifetimeNano: int64(6 * time.Hour), GraceNano: int64(5 * time.Second), OrphanNano: int64(30 * time.Second)}}},
		{host, &event.ProcessStarted{Program: event.Identity{PID: 4242, StartTicks: 77, PidfsHandle: []byte{1, 2}, PidNamespace: 4026532000}, Shim: event.Identity{PID: 4240, StartTicks: 70},
			Isolation: "pidns", Executable: event.File{Path: "/usr/bin/sleep", Device: 5, Inode: 6, SHA256: sum(1)}, StartedWall: base.Add(31 * time.Millisecond).UnixNano(), StartedBoot: int64(31 * time.Millisecond)}},
		{op, &event.SignalRequested{Signal: 2, Target: event.TargetTree, Cause: "cancel", Cancel: id(3)}},
		{host, &event.SignalSent{Request: 4, Signal: 2, Delivered: true}},
		{host, &event.ProcessExited{Exit: event.Exit{Signal: ptr[int32](2)}, Cause: "cancel", UserNano: 1e6, SystemNano: 2e6, MaxRSSKiB: 1500,
			Stdout: event.StreamSummary{Bytes: 2048, SHA256: sum(2), Dropped: 10}, Stderr: event.StreamSummary{SHA256: sum(3)}, RestKilled: 1,
			EndedWall: base.Add(61 * time.Millisecond).UnixNano(), EndedBoot: int64(61 * time.Millisecond)}},
		{g, &event.HandleReleased{Reason: "dropped"}},
	}
	var events []*event.Event
	for i, x := range bodies {
		events = append(events, make1(uint64(i+1), x.s, x.b))
	}
	return events
}

// aServer is a persistent process that ran idle.
func aServer() []*event.Event {
	g := guestScope()
	later := g
	later.Instance, later.CallID = "builder-2", "call-9"
	host := by(g, event.Actor{Kind: event.ActorHost})
	timer := by(g, event.Actor{Kind: event.ActorTimer})
	bodies := []struct {
		s event.Scope
		b event.Body
	}{
		{g, &event.SpawnRequested{Tier: event.TierPersistent, Command: "serve", Label: "  web", KeepStdinOpen: ptr(true), IdleMS: ptr[uint64](600_000),
			Files: []event.InjectedFile{{EnvKey: "TOKEN_FILE", Bytes: 40, Digest: sum(6)}, {Path: "/etc/serve.conf", Bytes: 2048, Digest: sum(7)}}}},
		{g, &event.SpawnDecided{Outcome: event.OutcomeGranted, Rule: "manifest host_process: serve", RingBytes: 1 << 16, Isolation: "pidns", Cwd: "/data/workspaces/alice/builder",
			KeepStdinOpen: true, Overflow: event.OverflowBackpressure, IdleNano: int64(10 * time.Minute), RetentionNano: int64(5 * time.Minute), ProcessIDHash: sum(8), Label: "web",
			Orders: &event.Orders{LifetimeNano: int64(6 * time.Hour), GraceNano: int64(5 * time.Second)}}},
		{host, &event.ProcessStarted{Program: event.Identity{PID: 4242}, Isolation: "pidns", Executable: event.File{Path: "/usr/bin/serve", SHA256: sum(1)}}},
		{g, &event.WatchArmed{Suffix: "web"}},
		{later, &event.HandleAttached{}},
		{later, &event.HandleAttached{}},
		{later, &event.StdinClosed{Reason: "guest", Bytes: 300}},
		{timer, &event.TimerFired{Timer: "idle"}},
		{host, &event.ProcessExited{Exit: event.Exit{Signal: ptr[int32](15)}, Cause: "idle"}},
	}
	var events []*event.Event
	for i, x := range bodies {
		events = append(events, make1(uint64(i+1), x.s, x.b))
	}
	return events
}

// aRefusal is a spawn that a quota refused.
func aRefusal() []*event.Event {
	g := guestScope()
	return []*event.Event{
		make1(1, g, &event.SpawnRequested{Tier: event.TierSync, Command: "git", Args: []string{"status"}}),
		make1(2, g, &event.SpawnDecided{Outcome: event.OutcomeRefused, Code: "quota", Rule: "quota principal-sync:alice", Detail: "4 of 4 synchronous spawns are running",
			Quotas: []event.QuotaSeen{{Scope: "principal-sync:alice", Used: 4, Cap: 4}}}),
	}
}

func id(n byte) []byte { x := testID(n); return x[:] }
