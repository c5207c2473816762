package migrations_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/migrations"
	"github.com/astrid-os/processledger/projector"
)

// testdata/layout1 is a data directory of layout 1 as the first release wrote
// it, and beside it stands what is in it. It is made once and then kept for
// ever: every later build has to open, upgrade and replay it.
//
// Segment files are mostly holes and are kept compressed, as NAME.gz. Git keeps
// no empty directories and no modes; restore puts all that back.
const (
	fixture       = "testdata/layout1"
	fixtureEvents = "testdata/layout1.events.jsonl"
	fixtureStates = "testdata/layout1.states.txt"
)

var makeLayout1 = flag.Bool("make-layout1", false, "make the fixture of layout 1 where there is none; only a build whose layout is 1 can")

// TestLayout1OpensForEver upgrades a copy of the fixture, then reads it as an
// auditor without a daemon does and as a daemon does.
func TestLayout1OpensForEver(t *testing.T) {
	if *makeLayout1 {
		makeFixture(t)
	}
	dir := filepath.Join(t.TempDir(), "data")
	restore(t, dir)
	r, err := migrations.Run(t.Context(), dir, migrations.Options{})
	must(t, err)
	if r.From != 1 || r.To != migrations.Current {
		t.Errorf("migrated %+v", r)
	}
	ledgerDir := filepath.Join(dir, "ledger")

	a, err := ledger.OpenArchive(ledgerDir)
	must(t, err)
	compareEvents(t, "events in the archive", eventsText(t, a))
	compare(t, "states in the archive", fixtureStates, statesText(t, a))
	checkOpenings(t, a)
	must(t, a.Close())

	l, err := projector.Open(ledgerDir, ledger.Options{Reserve: -1})
	must(t, err)
	compareEvents(t, "events in the ledger", eventsText(t, l.Ledger()))
	compare(t, "states in the ledger", fixtureStates, statesText(t, l.Ledger()))

	// It is not only readable: the next event goes behind the last one.
	_, last := l.Ledger().Bounds()
	c, err := l.Decide(t.Context(), func(*projector.State, ledger.Header) ([]*event.Event, error) {
		return []*event.Event{{Body: &event.DaemonStarted{Version: "later"}}}, nil
	})
	must(t, err)
	if got := c.Events[0].Seq; got <= last {
		t.Errorf("the next event got seq %d, the last one has %d", got, last)
	}
	must(t, l.Close())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// restore copies the fixture, which itself is never opened.
func restore(t *testing.T, dir string) {
	t.Helper()
	must(t, os.CopyFS(dir, os.DirFS(fixture)))
	packed, err := filepath.Glob(filepath.Join(dir, "ledger/segments/*.gz"))
	must(t, err)
	for _, path := range packed {
		unpack(t, path)
	}
	for _, name := range []string{"ledger", "processes", "trash", "workspaces", "cache", "keys"} {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o700))
	}
}

// unpack puts NAME in place of NAME.gz.
func unpack(t *testing.T, path string) {
	t.Helper()
	in, err := os.Open(path)
	must(t, err)
	defer in.Close()
	z, err := gzip.NewReader(in)
	must(t, err)
	out, err := os.OpenFile(strings.TrimSuffix(path, ".gz"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	must(t, err)
	_, err = io.Copy(out, z)
	must(t, err)
	must(t, out.Close())
	must(t, os.Remove(path))
}

// pack puts NAME.gz in place of NAME.
func pack(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	out, err := os.Create(path + ".gz")
	must(t, err)
	z := gzip.NewWriter(out)
	_, err = z.Write(b)
	must(t, err)
	must(t, z.Close())
	must(t, out.Close())
	must(t, os.Remove(path))
}

func compare(t *testing.T, what, golden, got string) {
	t.Helper()
	b, err := os.ReadFile(golden)
	must(t, err)
	if string(b) == got {
		return
	}
	want, have := strings.Split(string(b), "\n"), strings.Split(got, "\n")
	for i := range want {
		if i >= len(have) || want[i] != have[i] {
			t.Errorf("%s: line %d of %s is\n%s\nand was\n%s", what, i+1, golden, strings.Join(have[min(i, len(have)):min(i+1, len(have))], ""), want[i])
			return
		}
	}
	t.Errorf("%s: %d lines more than in %s", what, len(have)-len(want), golden)
}

// compareEvents holds that every event has the JSON form it had. Later builds
// know more fields, and the form is only ever added to: keys that were not there
// do not count.
func compareEvents(t *testing.T, what, got string) {
	t.Helper()
	b, err := os.ReadFile(fixtureEvents)
	must(t, err)
	want, have := strings.Split(string(b), "\n"), strings.Split(got, "\n")
	if len(want) != len(have) {
		t.Fatalf("%s: %d, were %d", what, len(have)-1, len(want)-1)
	}
	for i := range want[:len(want)-1] {
		var was, is any
		must(t, json.Unmarshal([]byte(want[i]), &was))
		must(t, json.Unmarshal([]byte(have[i]), &is))
		if !reflect.DeepEqual(was, shared(was, is)) {
			t.Errorf("%s: line %d of %s is\n%s\nand was\n%s", what, i+1, fixtureEvents, have[i], want[i])
			return
		}
	}
}

// shared returns is without the keys that was does not have.
func shared(was, is any) any {
	before, object := was.(map[string]any)
	now, both := is.(map[string]any)
	if !object || !both {
		return is
	}
	out := map[string]any{}
	for key, value := range now {
		if old, had := before[key]; had {
			out[key] = shared(old, value)
		}
	}
	return out
}

// eventsText is every event in its JSON form, a line each.
func eventsText(t *testing.T, r ledger.Reader) string {
	t.Helper()
	var out bytes.Buffer
	for e, err := range r.Events(t.Context(), 1, 0) {
		must(t, err)
		b, err := json.Marshal(e)
		must(t, err)
		fmt.Fprintf(&out, "%s\n", b)
	}
	return out.String()
}

// statesText tells the state after every event by what people ask for.
func statesText(t *testing.T, r ledger.Reader) string {
	t.Helper()
	var out bytes.Buffer
	_, last := r.Bounds()
	for seq := range last + 1 {
		s, err := projector.At(t.Context(), r, seq)
		must(t, err)
		fmt.Fprintf(&out, "%d: live %+v, %d cancels, %d invocations, %d capsules", seq, s.LiveAll(), len(s.Cancels()), len(s.Invocations()), len(s.Capsules()))
		for _, h := range s.Handles() {
			fmt.Fprintf(&out, "; %v %v", h.ID, h.Phase)
		}
		fmt.Fprintln(&out)
	}
	return out.String()
}

// checkOpenings holds that each segment's opening state is the one that the
// ledger vouches for, and the one that a replay gives.
func checkOpenings(t *testing.T, r ledger.Reader) {
	t.Helper()
	segments := 0
	s := projector.New()
	for e, err := range r.Events(t.Context(), 1, 0) {
		must(t, err)
		if b, ok := e.Body.(*event.SegmentOpened); ok {
			segments++
			first, opening, err := r.Opening(t.Context(), e.Seq)
			must(t, err)
			if first != e.Seq || sha256.Sum256(opening) != [32]byte(b.StateSHA256) {
				t.Errorf("the opening state of segment %d is not the one of event %d", b.Ordinal, e.Seq)
			}
			if !bytes.Equal(s.Encode(), opening) {
				t.Errorf("the opening state of segment %d is not what a replay to %d gives", b.Ordinal, s.Seq())
			}
		}
		must(t, s.Apply(e))
	}
	if segments < 3 {
		t.Errorf("only %d segments", segments)
	}
}

// makeFixture writes the fixture with the real ledger. It never overwrites.
func makeFixture(t *testing.T) {
	t.Helper()
	if migrations.Current != 1 {
		t.Fatal("this build does not write layout 1 any more")
	}
	if _, err := os.Lstat(fixture); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s is there: it is kept for ever", fixture)
	}
	_, err := migrations.Run(t.Context(), fixture, migrations.Options{})
	must(t, err)
	ledgerDir := filepath.Join(fixture, "ledger")
	clock := &fixtureClock{}
	l, err := projector.Open(ledgerDir, ledger.Options{Reserve: -1, SegmentEvents: 16, Clock: clock})
	must(t, err)
	for i, es := range fixtureHistory() {
		if i == 5 {
			clock.skew = 3600e9
		}
		_, err := l.Decide(t.Context(), func(tip *projector.State, next ledger.Header) ([]*event.Event, error) {
			for _, e := range es { // a signal.sent refers to the newest request of its handle
				if sent, ok := e.Body.(*event.SignalSent); ok {
					h, _ := tip.Handle(e.Handle)
					sent.Request = h.Signals[len(h.Signals)-1].Seq
				}
			}
			return es, nil
		})
		must(t, err)
	}
	must(t, os.WriteFile(fixtureEvents, []byte(eventsText(t, l.Ledger())), 0o644))
	must(t, os.WriteFile(fixtureStates, []byte(statesText(t, l.Ledger())), 0o644))
	must(t, l.Close())
	must(t, os.Remove(filepath.Join(ledgerDir, "lock")))
	segments, err := filepath.Glob(filepath.Join(ledgerDir, "segments/*"))
	must(t, err)
	for _, path := range segments {
		pack(t, path)
	}
}

// fixtureClock moves a second at each reading.
type fixtureClock struct{ n, skew int64 }

func (c *fixtureClock) Now() (wall, boottime int64) {
	c.n++
	return 1_790_000_000e9 + c.n*1e9 + c.skew, 5_000e9 + c.n*1e9
}

func (c *fixtureClock) BootID() [16]byte { return [16]byte{0x0b, 0x07} }

// fixtureHistory has an event of every kind that the first release writes, a
// slice for each commit.
func fixtureHistory() (commits [][]*event.Event) {
	host := event.Scope{Actor: event.Actor{Kind: event.ActorHost}}
	guest := event.Scope{Principal: "alice", Capsule: "builder", Instance: "alice/builder", CallID: "call-1", Actor: event.Actor{Kind: event.ActorGuest}}
	operator := event.Scope{Principal: "alice", Capsule: "builder", Actor: event.Actor{Kind: event.ActorOperator, UID: 1000, Role: "operator"}}
	add := func(sc event.Scope, bodies ...event.Body) {
		var es []*event.Event
		for _, b := range bodies {
			es = append(es, &event.Event{Scope: sc, Body: b})
		}
		commits = append(commits, es)
	}
	of := func(n byte) event.Scope {
		sc := guest
		sc.Handle = handleID(n)
		if n > 5 {
			sc.Principal, sc.Instance, sc.CallID = "bob", "bob/builder", ""
		}
		return sc
	}
	memory, pids := uint64(64<<20), uint32(16)
	request := func(tier event.Tier, command string, args ...string) *event.SpawnRequested {
		return &event.SpawnRequested{
			Tier: tier, Command: command, Args: args, ArgsCount: uint32(len(args)), Cwd: "src", EnvKeys: []string{"HOME", "GOCACHE"},
			StdinBytes: 3, StdinDigest: []byte{1, 2, 3}, Limits: &event.Limits{MemoryBytes: &memory, PIDs: &pids}, Label: command,
		}
	}
	grant := &event.SpawnDecided{
		Outcome: event.OutcomeGranted, Rule: "manifest host_process: git", Quotas: []event.QuotaSeen{{Scope: "principal:alice", Used: 1, Cap: 8}},
		Orders: &event.Orders{LifetimeNano: 6 * 3600e9, GraceNano: 5e9, OrphanNano: 30e9}, RingBytes: 1 << 20, Isolation: "pidns", Cwd: "/data/workspaces/alice/builder/src",
	}
	identity := event.Identity{PID: 4711, StartTicks: 123456, PidfsHandle: []byte{9, 8, 7}, PidNamespace: 4026532000}
	start := &event.ProcessStarted{
		Program: identity, Shim: identity, Isolation: "pidns", StartedWall: 1_790_000_010e9, StartedBoot: 5_010e9,
		Executable:  event.File{Path: "/usr/bin/git", Device: 2049, Inode: 77, SHA256: bytes.Repeat([]byte{0xaa}, 32)},
		Interpreter: &event.File{Path: "/bin/sh", Device: 2049, Inode: 78, SHA256: bytes.Repeat([]byte{0xbb}, 32)},
	}
	code, signal := int32(3), int32(9)
	out := event.StreamSummary{Bytes: 120, SHA256: bytes.Repeat([]byte{0xcc}, 32), Dropped: 20}

	add(host, &event.DaemonStarted{Version: "1.0.0", PID: 99, UID: 1000, Kernel: "6.12", Isolation: "pidns", ConfigSHA256: []byte{5}})
	add(host, &event.PolicyChanged{Subject: "config", Text: "data_dir = \"/data\"\n", SHA256: []byte{6}})
	add(host, &event.RecoveryStarted{Handles: 0, Directories: 0}, &event.RecoveryFinished{TookNano: 1e6})
	loaded := &event.CapsuleLoaded{Version: "0.1.0", Manifest: "[capabilities]\n", ManifestSHA256: []byte{7}, ModuleSHA256: []byte{8}, ModuleBytes: 1 << 20, HostProcess: []string{"git", "go"}}
	add(event.Scope{Capsule: "builder", Actor: host.Actor}, loaded)
	add(guest, &event.InvocationStarted{Action: "tool_execute_build", PayloadBytes: 40, PayloadDigest: []byte{4}})
	add(of(1), request(event.TierSync, "git", "status", "--short"), grant)
	add(of(1), start, &event.ProcessExited{Exit: event.Exit{Code: &code}, Cause: "self", UserNano: 1e6, SystemNano: 2e6, MaxRSSKiB: 9000, Stdout: out, Stderr: out, EndedWall: 1_790_000_011e9, EndedBoot: 5_011e9})
	add(of(1), &event.HandleReleased{Reason: "sync-finished"})
	add(of(2), request(event.TierBackground, "go", "test", "./..."), grant)
	add(of(2), start)
	add(of(3), request(event.TierBackground, "sleep", "1000"), &event.SpawnDecided{Outcome: event.OutcomeRefused, Code: "capability-denied", Rule: "manifest host_process: no entry", Detail: "sleep is not among the capsule's commands"})
	add(of(4), request(event.TierBackground, "git", "gc"), grant)
	add(of(4), &event.SpawnAborted{Reason: "caller-gone"})
	add(of(5), request(event.TierBackground, "go", "vet"), grant)
	add(of(5), &event.SpawnFailed{Step: "exec", Errno: 2, Detail: "no such file or directory"})
	add(of(6), request(event.TierPersistent, "go", "run", "."), grant)
	add(of(6), start)
	add(of(2), &event.SignalRequested{Signal: 1, Target: event.TargetProgram, Cause: "signal"})
	add(of(2), &event.SignalSent{Signal: 1, Delivered: true})
	cancel, target := handleID(200), handleID(2)
	add(operator, &event.CancelRequested{Cancel: cancel[:], CallIDs: []string{"call-1"}, Handles: [][]byte{target[:]}, Reason: "operator"})
	add(of(2), &event.SignalRequested{Signal: 2, Target: event.TargetTree, Cause: "cancel", Cancel: cancel[:]})
	add(of(2), &event.SignalSent{Signal: 2, Delivered: true})
	add(of(2), &event.SignalRequested{Signal: 9, Target: event.TargetTree, Cause: "cancel", Cancel: cancel[:]})
	add(of(2), &event.ProcessExited{Exit: event.Exit{Signal: &signal}, Cause: "cancel", Stdout: out, Stderr: out, RestKilled: 2})
	add(operator, &event.CancelFinished{Cancel: cancel[:]})
	add(guest, &event.InvocationFinished{Outcome: "cancelled", Detail: "cancelled by operator", DurationNano: 3e9})
	add(host, &event.DaemonStarted{Version: "1.0.1", PID: 100, UID: 1000})
	add(host, &event.RecoveryStarted{Handles: 4, Directories: 3})
	add(of(6), &event.ProcessAdopted{Shim: identity})
	add(event.Scope{Handle: handleID(99), Actor: host.Actor}, &event.OrphanEnded{Directory: "processes/x", Shim: &identity, Reason: "unknown to the ledger"})
	add(host, &event.RecoveryFinished{Adopted: 1, Orphans: 1, TookNano: 2e6})
	add(event.Scope{Capsule: "builder", Actor: host.Actor}, loaded)
	add(of(7), request(event.TierBackground, "go", "build"), grant)
	add(of(7), start)
	add(of(7), &event.ProcessLost{Reason: "shim-killed", Detail: "its lock was free", Witness: &event.Exit{Code: &code}})
	add(of(6), &event.TimerFired{Timer: "lifetime", DueBoot: 9e12})
	add(of(6), &event.StopRequested{GraceNano: 5e9, Reason: "shutdown"})
	add(host, &event.LedgerMigrated{From: 0, To: 1})
	add(event.Scope{Capsule: "builder", Actor: host.Actor}, &event.CapsuleUnloaded{Reason: "operator"})
	add(host, &event.DaemonStopped{Reason: "operator", Ended: 1})
	return commits
}

func handleID(n byte) (id ulid.ULID) {
	if err := id.SetTime(1_790_000_000_000 + uint64(n)); err != nil {
		panic(err)
	}
	id[15] = n
	return id
}

// The fixture holds every kind that this build writes, as long as layout 1 is
// its layout: a kind that is added later needs no new fixture.
func TestFixtureHoldsEveryKind(t *testing.T) {
	if migrations.Current != 1 {
		t.Skip("the kinds of later layouts are in later fixtures")
	}
	dir := filepath.Join(t.TempDir(), "data")
	restore(t, dir)
	a, err := ledger.OpenArchive(filepath.Join(dir, "ledger"))
	must(t, err)
	defer a.Close()
	seen := map[event.Kind]bool{}
	for e, err := range a.Events(context.Background(), 1, 0) {
		must(t, err)
		seen[e.Kind()] = true
	}
	for _, k := range event.Kinds() {
		if k <= event.KindLedgerMigrated && !seen[k] {
			t.Errorf("no event of kind %v", k)
		}
	}
}
