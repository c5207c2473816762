package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/ledger/event"
)

// bodies has at least one of every kind, and the variants that read
// differently.
func bodies() []event.Body {
	return append(aboutTheHouse(), aboutProcesses()...)
}

func aboutTheHouse() []event.Body {
	return []event.Body{
		&event.DaemonStarted{Version: "0.1.0", PID: 77, UID: 0, Kernel: "6.18.4", Isolation: "pidns", ConfigSHA256: sum(1)},
		&event.DaemonStarted{Isolation: "none"},
		&event.DaemonStopped{Reason: "signal: terminated", Ended: 2},
		&event.DaemonStopped{},
		&event.DaemonStopped{Reason: "restart", Ended: 1, Successor: "0.2.0", Binary: "/opt/astrid/astridd"},
		&event.DaemonStarted{Version: "0.2.0", PID: 77, UID: 0, Replaces: "0.1.0", GapNano: 48e6},
		&event.RecoveryStarted{Handles: 3, Directories: 1},
		&event.RecoveryFinished{Exited: 1, Ended: 2, Lost: 1, TookNano: 12e6},
		&event.RecoveryFinished{TookNano: 900e3},
		&event.RecoveryFinished{TookNano: 1e9, Lost: 4, LostReboot: 1, LostMaybe: 1, LostNoDirectory: 1, Unsent: 1, Released: 1, Retained: 2, Trash: 1, Damaged: 1, Foreign: 2, Missing: 1, Pending: 3, Silent: 2},
		&event.RecoveryFinished{TookNano: 1e6, Lost: 1, LostReboot: 1, Foreign: 1, Pending: 1},
		&event.SegmentOpened{Ordinal: 1, Layout: 1, Reason: "first"},
		&event.SegmentOpened{Ordinal: 3, Layout: 1, PreviousFirst: 100, Reason: "salvaged", SalvagedThrough: 140},
		&event.ClockStepped{DeltaNano: int64(3200 * time.Millisecond)},
		&event.ClockStepped{DeltaNano: -int64(time.Hour)},
		&event.CapsuleLoaded{Version: "1.2", Manifest: "name = \"builder\"", ModuleSHA256: sum(4), ModuleBytes: 3 << 20, HostProcess: []string{"git", "go", "sleep"}, AllowPersistent: true},
		&event.CapsuleLoaded{},
		&event.CapsuleUnloaded{Reason: "shutdown"},
		&event.PolicyChanged{Subject: "config", Text: "x = 1\n", SHA256: sum(5)},
		&event.PolicyChanged{Subject: "principal:alice", Text: "", SHA256: sum(6)},
		&event.InvocationStarted{Action: "tool_execute_build", PayloadBytes: 120},
		&event.InvocationFinished{Outcome: "ok", Returned: "continue", DurationNano: 1.2e9},
		&event.InvocationFinished{Outcome: "trap", Detail: "wasm error: unreachable", InstanceLost: true},
		&event.LedgerMigrated{From: 1, To: 2, Backup: "/data/backup"},
		&event.LedgerSalvaged{KeptFrom: 1, KeptTo: 30, LostFrom: 31, LostTo: 33, Readable: 2, Fault: "event 31 does not verify", SetAside: "1.seg.damaged.1", SHA256: sum(9)},
		&event.LedgerSalvaged{KeptTo: 30, Fault: "the file is missing"},
		&event.LedgerBackedUp{Directory: "/backup", Through: 33, Segments: 2, Bytes: 300000},
		&event.CancelRequested{Cancel: id(3), CallIDs: []string{"call-7", "call-8"}, Handles: [][]byte{id(1), id(2)}, Reason: "user"},
		&event.CancelRequested{Cancel: id(3)},
		&event.CancelFinished{Cancel: id(3)},
		&event.Unknown{Of: 99, Raw: []byte("hello")},
	}
}

func aboutProcesses() []event.Body {
	return []event.Body{
		&event.SpawnRequested{Tier: event.TierSync, Command: "git", Args: []string{"log", "--format=%h %s", "-n", "3"}, Cwd: "sub", EnvKeys: []string{"HOME"}, StdinBytes: 3},
		&event.SpawnRequested{Tier: event.TierPersistent, Command: "evil\x1b[2J\nname", Args: []string{"\u202egnp.exe", "", "it's"}},
		&event.SpawnRequested{Tier: event.TierBackground, Command: "echo", Args: []string{strings.Repeat("x", 400)}, ArgsCut: true, ArgsBytes: 70000, ArgsCount: 1},
		&event.SpawnDecided{Outcome: event.OutcomeGranted, Rule: "manifest host_process: git", Quotas: []event.QuotaSeen{{Scope: "principal:alice", Used: 0, Cap: 8}, {Scope: "capsule:builder", Used: 3, Cap: 8}}},
		&event.SpawnDecided{Outcome: event.OutcomeRefused, Code: "quota", Rule: "quota principal:alice", Detail: "no slot is free", Quotas: []event.QuotaSeen{{Scope: "principal:alice", Used: 8, Cap: 8}}},
		&event.SpawnDecided{Outcome: event.OutcomeRefused, Code: "capability-denied", Rule: "no entry for rm"},
		&event.SpawnAborted{Reason: "caller-gone"},
		&event.SpawnAborted{Reason: "shim-not-ready", Detail: "timeout"},
		&event.SpawnFailed{Step: "exec", Errno: 2, Detail: "git is not in PATH"},
		&event.SpawnFailed{Errno: 212},
		&event.ProcessStarted{Program: event.Identity{PID: 9}, Isolation: "pidns", Executable: event.File{Path: "/usr/bin/git", SHA256: sum(7)}},
		&event.ProcessStarted{Program: event.Identity{PID: 9}, Isolation: "userns+pidns+mount", Executable: event.File{Path: "/w/x.sh"}, Interpreter: &event.File{Path: "/bin/sh"}},
		&event.ProcessAdopted{},
		&event.ProcessExited{Exit: event.Exit{Code: ptr[int32](0)}, Cause: "self", UserNano: 5e6, Stdout: event.StreamSummary{Bytes: 12}},
		&event.ProcessExited{Exit: event.Exit{Signal: ptr[int32](9)}, Cause: "owner-lost", RestKilled: 2, CoreDumped: true, AfterRestart: true},
		&event.ProcessExited{},
		&event.ProcessLost{Reason: "shim-killed"},
		&event.ProcessLost{Reason: "reboot", Detail: "boot id changed", Witness: &event.Exit{Code: ptr[int32](3)}},
		&event.StopRequested{GraceNano: 5e9, Reason: "operator"},
		&event.StopRequested{GraceNano: 5e9, Reason: "shutdown"},
		&event.CapsuleUnloaded{Reason: "ended"},
		&event.TimerFired{Timer: "lifetime"},
		&event.TimerFired{Timer: "orphan"},
		&event.TimerFired{Timer: "idle"},
		&event.TimerFired{Timer: "retention"},
		&event.HandleAttached{},
		&event.WatchArmed{},
		&event.WatchArmed{Suffix: "build-server"},
		&event.WatchDisarmed{Reason: "guest"},
		&event.WatchDisarmed{Reason: "released"},
		&event.StdinClosed{Reason: "guest", Bytes: 2048},
		&event.StdinClosed{Reason: "broken"},
		&event.HandleReleased{Reason: "retention"},
		&event.SignalRequested{Signal: 2, Target: event.TargetTree, Cause: "cancel"},
		&event.SignalRequested{Signal: 42, Target: event.TargetProgram, Cause: "signal", Late: true},
		&event.SignalSent{Signal: 15, Delivered: true},
		&event.SignalSent{Signal: 15, Detail: "it had exited"},
		&event.HandleReleased{Reason: "dropped"},
		&event.OrphanEnded{Directory: "01ABC", Reason: "nothing in the ledger"},
		&event.OrphanEnded{Directory: "01ABC", Shim: &event.Identity{PID: 5}},
		&event.OrphanEnded{Directory: "01ABC", Shim: &event.Identity{PID: 5}, Go: true, Started: &event.ProcessStarted{Executable: event.File{Path: "/usr/bin/git"}}},
		&event.OrphanEnded{Directory: "01ABC", Go: true, Started: &event.ProcessStarted{Executable: event.File{Path: "/usr/bin/git"}}, Exited: &event.ProcessExited{Exit: event.Exit{Signal: ptr[int32](9)}}},
		&event.OrphanEnded{Directory: "01ABC", Go: true, Started: &event.ProcessStarted{Executable: event.File{Path: "/usr/bin/git"}}},
		&event.OrphanEnded{Directory: "01ABC", Go: true, Failed: &event.SpawnFailed{Step: "exec"}},
		&event.OrphanEnded{Directory: "01ABC", Go: true, Exited: &event.ProcessExited{Exit: event.Exit{Code: ptr[int32](3)}}},
		&event.OrphanEnded{Directory: "01ABC", Go: true},
	}
}

func TestSentences(t *testing.T) {
	var out bytes.Buffer
	for i, b := range bodies() {
		e := make1(uint64(i+1), guestScope(), b)
		if k := e.Kind(); k == event.KindInvocationStarted || k == event.KindStopRequested || k == event.KindCancelRequested {
			e.Actor = event.Actor{Kind: event.ActorOperator, UID: 1000}
		}
		fmt.Fprintf(&out, "%-20s %s\n", e.Kind(), Sentence(e))
	}
	golden(t, "sentences.txt", out.Bytes())
}

func TestBriefs(t *testing.T) {
	var out bytes.Buffer
	for i, b := range bodies() {
		fmt.Fprintf(&out, "%-20s %s\n", b.Kind(), Brief(make1(uint64(i+1), guestScope(), b)))
	}
	golden(t, "briefs.txt", out.Bytes())
}

// TestEveryKindHasASentence holds that a new kind cannot go without words:
// whatever is not listed above would read as unknown.
func TestEveryKindHasASentence(t *testing.T) {
	seen := map[event.Kind]bool{}
	for _, b := range bodies() {
		s := Sentence(make1(1, guestScope(), b))
		if _, unknown := b.(*event.Unknown); !unknown && strings.Contains(s, "does not know") {
			t.Errorf("%s: %s", b.Kind(), s)
		}
		seen[b.Kind()] = true
	}
	for _, k := range event.Kinds() {
		if !seen[k] {
			t.Errorf("kind %s has no example in this test", k)
		}
	}
}

// TestSentencesAreOneSafeLine holds that nothing a guest chose reaches a
// terminal as it is.
func TestSentencesAreOneSafeLine(t *testing.T) {
	evil := "a\x1b]0;pwned\x07\r\nb\u202ec\x9b"
	s := event.Scope{Principal: evil, Capsule: evil, Instance: evil, CallID: evil}
	for _, b := range append(bodies(),
		&event.SpawnRequested{Command: evil, Args: []string{evil}, Cwd: evil, EnvKeys: []string{evil}},
		&event.SpawnDecided{Rule: evil, Code: evil, Detail: evil, Quotas: []event.QuotaSeen{{Scope: evil}}},
		&event.InvocationFinished{Outcome: evil, Returned: evil, Detail: evil},
	) {
		got := Sentence(make1(1, s, b)) + Brief(make1(1, s, b))
		for _, bad := range []string{"\x1b", "\n", "\r", "\x07", "\u202e", "\x9b"} {
			if strings.Contains(got, bad) {
				t.Errorf("%s: %q holds %q", b.Kind(), got, bad)
			}
		}
	}
}
