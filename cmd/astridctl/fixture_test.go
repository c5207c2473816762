package main

import (
	"context"
	"crypto/sha256"
	"path/filepath"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// fixtureStart is when the history of the test ledgers begins.
var fixtureStart = time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)

// stepClock goes a second forward whenever it is read.
type stepClock struct{ at int64 }

func (c *stepClock) Now() (wall, boottime int64) {
	c.at += int64(time.Second)
	return fixtureStart.UnixNano() + c.at, c.at
}

func (c *stepClock) BootID() [16]byte { return [16]byte{7} }

// fixtureHandle is the id of the nth process of the history.
func fixtureHandle(n byte) ulid.ULID {
	var id ulid.ULID
	if err := id.SetTime(uint64(fixtureStart.UnixMilli())); err != nil {
		panic(err)
	}
	id[6], id[15] = n, n
	return id
}

// history is what a test ledger is told.
type history struct {
	live   *projector.Live
	scopes map[byte]event.Scope
}

// makeLedger writes the history that the tests know into dir/ledger, in
// segments of that many events (0: the default). With server it goes on with a
// persistent process.
func makeLedger(dir string, segmentEvents uint64, server bool) error {
	live, err := projector.Open(filepath.Join(dir, "ledger"), ledger.Options{
		SegmentEvents: segmentEvents, Clock: &stepClock{}, Reserve: -1,
	})
	if err != nil {
		return err
	}
	h := &history{live: live, scopes: map[byte]event.Scope{}}
	err = h.tell()
	if err == nil && server {
		err = h.serverOfBob()
	}
	if cerr := live.Close(); err == nil {
		err = cerr
	}
	return err
}

var (
	byGuest    = event.Actor{Kind: event.ActorGuest}
	byHost     = event.Actor{Kind: event.ActorHost}
	byOperator = event.Actor{Kind: event.ActorOperator, UID: 1000, Role: "operator"}
)

// add commits events of one scope together.
func (h *history) add(s event.Scope, bodies ...event.Body) error {
	_, err := h.live.Decide(context.Background(), func(*projector.State, ledger.Header) ([]*event.Event, error) {
		events := make([]*event.Event, len(bodies))
		for i, b := range bodies {
			events[i] = &event.Event{Scope: s, Body: b}
		}
		return events, nil
	})
	return err
}

func textSum(s string) []byte { x := sha256.Sum256([]byte(s)); return x[:] }

const (
	fixtureManifest = "name = \"builder\"\n\n[capabilities]\nhost_process = [\"git\", \"sleep\", \"evil\"]\n"
	fixtureConfig   = "isolation = \"pidns\"\n"
)

// tell commits the whole history.
func (h *history) tell() error {
	for _, step := range []func() error{h.start, h.gitOfAlice, h.refusals, h.longRunners, h.cancelOfAlice} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (h *history) start() error {
	host := event.Scope{Actor: byHost}
	capsule := event.Scope{Capsule: "builder", Actor: byHost}
	if err := h.add(host, &event.DaemonStarted{Version: "test", PID: 7, Isolation: "pidns", Kernel: "6.18", ConfigSHA256: textSum(fixtureConfig)}); err != nil {
		return err
	}
	if err := h.add(host, &event.RecoveryStarted{}, &event.RecoveryFinished{TookNano: 1e6}); err != nil {
		return err
	}
	if err := h.add(host, &event.PolicyChanged{Subject: "config", Text: fixtureConfig, SHA256: textSum(fixtureConfig)}); err != nil {
		return err
	}
	return h.add(capsule, &event.CapsuleLoaded{Version: "1.0", Manifest: fixtureManifest, ManifestSHA256: textSum(fixtureManifest), ModuleSHA256: textSum("m"), ModuleBytes: 1000, HostProcess: []string{"git", "sleep", "evil"}})
}

// scope is that of the nth process; n 0 is that of the call alone.
func (h *history) scope(n byte, principal, call string) event.Scope {
	s := event.Scope{Principal: principal, Capsule: "builder", Instance: "builder-" + principal, CallID: call, Actor: byGuest}
	if n > 0 {
		s.Handle = fixtureHandle(n)
		h.scopes[n] = s
	}
	return s
}

func (h *history) gitOfAlice() error {
	call := h.scope(0, "alice", "call-1")
	call.Actor = byOperator
	if err := h.add(call, &event.InvocationStarted{Action: "tool_execute_build", PayloadBytes: 2}); err != nil {
		return err
	}
	s := h.scope(1, "alice", "call-1")
	err := h.add(s, &event.SpawnRequested{Tier: event.TierSync, Command: "git", Args: []string{"status", "--short"}, EnvKeys: []string{"HOME"}},
		granted("manifest host_process: git", event.QuotaSeen{Scope: "principal-sync:alice", Used: 0, Cap: 4}))
	if err != nil {
		return err
	}
	host := s
	host.Actor = byHost
	code := int32(0)
	err = h.add(host, started(100, "/usr/bin/git"), &event.ProcessExited{
		Exit: event.Exit{Code: &code}, Cause: "self", UserNano: 2e6, SystemNano: 1e6, MaxRSSKiB: 4000,
		Stdout: event.StreamSummary{Bytes: 42, SHA256: textSum("out")}, EndedWall: fixtureStart.Add(9500 * time.Millisecond).UnixNano(), EndedBoot: int64(9500 * time.Millisecond),
	})
	if err != nil {
		return err
	}
	if err := h.add(host, &event.HandleReleased{Reason: "sync-finished"}); err != nil {
		return err
	}
	return h.add(call, &event.InvocationFinished{Outcome: "ok", Returned: "continue", DurationNano: 3e9})
}

func granted(rule string, quotas ...event.QuotaSeen) *event.SpawnDecided {
	return &event.SpawnDecided{
		Outcome: event.OutcomeGranted, Rule: rule, Quotas: quotas, RingBytes: 1 << 20, Isolation: "pidns", Cwd: "/data/workspaces/x",
		Orders: &event.Orders{LifetimeNano: int64(time.Hour), GraceNano: int64(5 * time.Second), OrphanNano: int64(30 * time.Second)},
	}
}

func started(pid uint32, path string) *event.ProcessStarted {
	return &event.ProcessStarted{
		Program: event.Identity{PID: pid, StartTicks: 5}, Shim: event.Identity{PID: pid - 1, StartTicks: 4}, Isolation: "pidns",
		Executable: event.File{Path: path, Device: 1, Inode: 2, SHA256: textSum(path)}, StartedWall: fixtureStart.Add(9 * time.Second).UnixNano(), StartedBoot: int64(9 * time.Second),
	}
}

func (h *history) refusals() error {
	err := h.add(h.scope(2, "bob", "call-2"), &event.SpawnRequested{Tier: event.TierBackground, Command: "rm", Args: []string{"-rf", "/"}},
		&event.SpawnDecided{Outcome: event.OutcomeRefused, Code: "capability-denied", Rule: "no manifest entry for rm", Detail: "the capsule's manifest does not name rm"})
	if err != nil {
		return err
	}
	return h.add(h.scope(3, "bob", "call-2"), &event.SpawnRequested{Tier: event.TierBackground, Command: "sleep", Args: []string{"9"}},
		&event.SpawnDecided{Outcome: event.OutcomeRefused, Code: "quota", Rule: "quota principal:bob", Detail: "no slot is free", Quotas: []event.QuotaSeen{{Scope: "principal:bob", Used: 2, Cap: 2}}})
}

func (h *history) longRunners() error {
	a := h.scope(4, "alice", "call-3")
	err := h.add(a, &event.SpawnRequested{Tier: event.TierBackground, Command: "sleep", Args: []string{"1000"}, Label: "nap"},
		granted("manifest host_process: sleep", event.QuotaSeen{Scope: "principal:alice", Used: 0, Cap: 8}, event.QuotaSeen{Scope: "capsule:builder", Used: 0, Cap: 8}))
	if err != nil {
		return err
	}
	b := h.scope(5, "bob", "call-4")
	err = h.add(b, &event.SpawnRequested{Tier: event.TierBackground, Command: "evil", Args: []string{"\x1b[2J\r\nfake row", "\u202etxt"}, Label: "l\x1b]0;x\x07"},
		granted("manifest host_process: evil", event.QuotaSeen{Scope: "principal:bob", Used: 0, Cap: 2}))
	if err != nil {
		return err
	}
	a.Actor, b.Actor = byHost, byHost
	if err := h.add(a, started(200, "/usr/bin/sleep")); err != nil {
		return err
	}
	return h.add(b, started(300, "/opt/evil"))
}

func (h *history) cancelOfAlice() error {
	a := h.scopes[4]
	scope := event.Scope{Principal: "alice", Actor: byOperator}
	id := fixtureHandle(200)
	handle := fixtureHandle(4)
	if err := h.add(scope, &event.CancelRequested{Cancel: id[:], CallIDs: []string{"call-3"}, Handles: [][]byte{handle[:]}, Reason: "wrong branch"}); err != nil {
		return err
	}
	a.Actor = byHost
	request := &event.SignalRequested{Signal: 2, Target: event.TargetTree, Cause: "cancel", Cancel: id[:]}
	if err := h.add(a, request); err != nil {
		return err
	}
	seq := uint64(0)
	h.live.View(func(s *projector.State) { seq = s.Seq() })
	if err := h.add(a, &event.SignalSent{Request: seq, Signal: 2, Delivered: true}); err != nil {
		return err
	}
	sig := int32(2)
	exit := &event.ProcessExited{Exit: event.Exit{Signal: &sig}, Cause: "cancel", EndedWall: fixtureStart.Add(20 * time.Second).UnixNano(), EndedBoot: int64(20 * time.Second)}
	if err := h.add(a, exit); err != nil {
		return err
	}
	return h.add(scope, &event.CancelFinished{Cancel: id[:]})
}

// serverOfBob is a persistent process that is attached to and watched, whose
// input is closed, and that goes idle.
func (h *history) serverOfBob() error {
	b := h.scope(6, "bob", "call-5")
	d := granted("manifest host_process: serve")
	d.KeepStdinOpen, d.Overflow, d.ProcessIDHash, d.Label = true, event.OverflowBackpressure, textSum("id"), "web"
	d.IdleNano, d.RetentionNano, d.Orders.OrphanNano = int64(30*time.Minute), int64(5*time.Minute), 0
	if err := h.add(b, &event.SpawnRequested{Tier: event.TierPersistent, Command: "serve", Label: " web", KeepStdinOpen: new(true)}, d); err != nil {
		return err
	}
	host, later := b, b
	host.Actor = byHost
	later.Instance, later.CallID = "builder-bob-2", "call-6"
	if err := h.add(host, started(400, "/opt/serve")); err != nil {
		return err
	}
	return h.add(later, &event.WatchArmed{Suffix: "web"}, &event.HandleAttached{}, &event.HandleAttached{}, &event.StdinClosed{Reason: "guest", Bytes: 300})
}

// segmentsOf reads how many events a test wants in a segment.
func segmentsOf(args []string) (uint64, error) {
	if len(args) < 2 || args[1] == "server" {
		return 0, nil
	}
	return strconv.ParseUint(args[1], 10, 64)
}
