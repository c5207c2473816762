package event

import (
	"bytes"
	"time"

	"github.com/oklog/ulid/v2"
)

// The examples tell one story and stand in docs/EVENTS.md and among the
// vectors: alice's capsule "builder" runs git, then keeps a server, which the
// daemon's restart and a cancel meet.

var (
	exampleStart  = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	exampleHandle = ulid.MustParse("01KDY7X4PEX9V0QK4M2T6R8WBC")
	exampleCancel = ulid.MustParse("01KDY7X9B1F6Z3M8N5P2Q4R7ST")
	exampleDigest = bytes.Repeat([]byte{0xab, 0xcd, 0xef, 0x01}, 8)
	exampleShim   = Identity{PID: 4711, StartTicks: 8812345, PidfsHandle: []byte{0, 0, 0, 0, 0, 0, 0x2a, 0x11}, PidNamespace: 4026532511}
	exampleProg   = Identity{PID: 4712, StartTicks: 8812346, PidfsHandle: []byte{0, 0, 0, 0, 0, 0, 0x2a, 0x12}, PidNamespace: 4026532511}

	host     = Scope{Actor: Actor{Kind: ActorHost}}
	operator = Scope{Actor: Actor{Kind: ActorOperator, UID: 1000, Role: "admin"}}
	guest    = Scope{Principal: "alice", Capsule: "builder", Instance: "builder-alice-1", CallID: "call-42", Actor: Actor{Kind: ActorGuest}}
	onHandle = with(guest, ActorGuest, exampleHandle)
	byHost   = with(guest, ActorHost, exampleHandle)
	attached = Scope{
		Principal: "alice", Capsule: "builder", Instance: "builder-alice-2", CallID: "call-57",
		Handle: exampleHandle, Actor: Actor{Kind: ActorGuest},
	}
)

func with(s Scope, by ActorKind, handle ulid.ULID) Scope {
	s.Actor, s.Handle = Actor{Kind: by}, handle
	return s
}

// exampleEvents returns one event of each kind as a ledger could hold it.
func exampleEvents() []*Event {
	wall := exampleStart.UnixNano()
	stories := []struct {
		scope Scope
		body  Body
	}{
		{host, &DaemonStarted{Version: "v0.1.0", PID: 4242, UID: 1000, Kernel: "6.12.30", Isolation: "pidns", ConfigSHA256: exampleDigest, Replaces: "v0.0.9", GapNano: 48_000_000}},
		{host, &DaemonStopped{Reason: "restart", Ended: 2, Successor: "v0.1.0", Binary: "/usr/local/bin/astridd"}},
		{host, &RecoveryStarted{Handles: 3, Directories: 3}},
		{host, &RecoveryFinished{Adopted: 1, Exited: 2, TookNano: 41_000_000, Retained: 1, Pending: 1, Silent: 1}},
		{host, &SegmentOpened{Ordinal: 2, Layout: 1, StateSHA256: exampleDigest, PreviousSHA256: exampleDigest, PreviousFirst: 1, Reason: "full"}},
		{host, &ClockStepped{DeltaNano: -3_600_000_000_000}},
		{with(Scope{Capsule: "builder"}, ActorHost, ulid.ULID{}), &CapsuleLoaded{
			Version: "1.2.0", Manifest: "[capabilities]\nhost_process = [\"git\", \"go\"]\n", ManifestSHA256: exampleDigest,
			ModuleSHA256: exampleDigest, ModuleBytes: 2_400_000, HostProcess: []string{"git", "go"},
		}},
		{with(Scope{Capsule: "builder"}, ActorHost, ulid.ULID{}), &CapsuleUnloaded{Reason: "shutdown"}},
		{with(Scope{Principal: "alice"}, ActorHost, ulid.ULID{}), &PolicyChanged{Subject: "principal:alice", Text: "max_background = 4\n", SHA256: exampleDigest}},
		{Scope{Principal: "alice", Capsule: "builder", Instance: "builder-alice-1", CallID: "call-42", Actor: operator.Actor}, &InvocationStarted{Action: "build", PayloadBytes: 120, PayloadDigest: exampleDigest}},
		{Scope{Principal: "alice", Capsule: "builder", Instance: "builder-alice-1", CallID: "call-42", Actor: operator.Actor}, &InvocationFinished{Outcome: "ok", Returned: "built", DurationNano: 2_500_000_000}},
		{onHandle, &SpawnRequested{
			Tier: TierBackground, Command: "git", Args: []string{"clone", "https://example.org/r.git"}, ArgsCount: 2, ArgsBytes: 32,
			Cwd: "src", EnvKeys: []string{"HOME", "LANG"}, StdinBytes: 5, StdinDigest: exampleDigest,
			Limits: &Limits{MemoryBytes: new(uint64(512 << 20)), PIDs: new(uint32(64))}, Label: "clone",
		}},
		{byHost, &SpawnDecided{
			Outcome: OutcomeGranted, Rule: "manifest host_process: git", Quotas: []QuotaSeen{{Scope: "principal:alice", Used: 0, Cap: 4}},
			Orders: &Orders{LifetimeNano: 600_000_000_000, GraceNano: 5_000_000_000, OrphanNano: 30_000_000_000}, RingBytes: 1 << 20, Isolation: "pidns",
			Cwd: "/var/lib/astrid/workspaces/alice/builder/src",
		}},
		{byHost, &SpawnAborted{Reason: "caller-gone", Detail: "the caller left before the program was started"}},
		{byHost, &SpawnFailed{Step: "exec", Errno: 8, Detail: "exec format error"}},
		{byHost, &ProcessStarted{
			Program: exampleProg, Shim: exampleShim, Isolation: "pidns", Executable: File{Path: "/usr/bin/git", Device: 65025, Inode: 131_313, SHA256: exampleDigest},
			StartedWall: wall, StartedBoot: 88_123_460_000_000,
		}},
		{byHost, &ProcessAdopted{Shim: exampleShim}},
		{byHost, &ProcessExited{
			Exit: Exit{Code: new(int32(0))}, Cause: "self", UserNano: 31_000_000, SystemNano: 12_000_000, MaxRSSKiB: 18_432,
			Stdout: StreamSummary{Bytes: 12, SHA256: exampleDigest}, EndedWall: wall + 1e9, EndedBoot: 88_124_460_000_000,
		}},
		{byHost, &ProcessLost{Reason: "shim-killed", Detail: "its shim is gone and left no exit record", Witness: &Exit{Signal: new(int32(9))}}},
		{Scope{Principal: "alice", Actor: operator.Actor}, &CancelRequested{Cancel: exampleCancel[:], CallIDs: []string{"call-42"}, Handles: [][]byte{exampleHandle[:]}, Reason: "wrong branch"}},
		{Scope{Principal: "alice", Actor: host.Actor}, &CancelFinished{Cancel: exampleCancel[:]}},
		{byHost, &StopRequested{GraceNano: 5_000_000_000, Reason: "shutdown"}},
		{with(guest, ActorTimer, exampleHandle), &TimerFired{Timer: "lifetime", DueBoot: 88_723_460_000_000}},
		{byHost, &SignalRequested{Signal: 15, Target: TargetTree, Cause: "cancel", Cancel: exampleCancel[:]}},
		{byHost, &SignalSent{Request: 24, Signal: 15, Detail: "the program has ended"}},
		{byHost, &HandleReleased{Reason: "dropped"}},
		{with(Scope{}, ActorHost, exampleHandle), &OrphanEnded{
			Directory: exampleHandle.String(), Reason: "a directory without a handle: never decided, or released", Go: true,
			Started: &ProcessStarted{Program: exampleProg, Shim: exampleShim, Isolation: "pidns", Executable: File{Path: "/usr/bin/git"}, StartedWall: wall, StartedBoot: 88_123_460_000_000},
			Exited:  &ProcessExited{Exit: Exit{Signal: new(int32(9))}, Cause: "kill", EndedWall: wall + 1e9, EndedBoot: 88_124_460_000_000},
		}},
		{host, &LedgerMigrated{From: 1, To: 2, Backup: "/var/lib/astrid/backup-layout-1"}},
		{attached, &HandleAttached{}},
		{attached, &WatchArmed{Suffix: "build-server"}},
		{attached, &WatchDisarmed{Reason: "guest"}},
		{attached, &StdinClosed{Reason: "guest", Bytes: 2048}},
		{operator, &LedgerSalvaged{
			KeptFrom: 1, KeptTo: 30, LostFrom: 31, LostTo: 33, Readable: 2, Fault: "event 31: the record's checksum does not fit its bytes",
			SetAside: "00000000000000000001.seg.damaged.1", SHA256: exampleDigest,
		}},
		{operator, &LedgerBackedUp{Directory: "/mnt/backup/astrid", Through: 33, Segments: 1, Bytes: 294_912, ManifestSHA256: exampleDigest}},
	}
	events := make([]*Event, len(stories))
	for i, s := range stories {
		now := wall + int64(i)*1_000_000
		e := &Event{Scope: s.scope, Body: s.body}
		e.Header = Header{Seq: uint64(i + 1), Wall: now, Boottime: 88_123_460_000_000 + int64(i)*1_000_000}
		copy(e.BootID[:], exampleDigest)
		e.ID[15] = byte(i + 1)
		if err := e.ID.SetTime(uint64(now / 1_000_000)); err != nil {
			panic(err)
		}
		events[i] = e
	}
	return events
}
