//go:build linux

package worldcheck_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/worldcheck"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// events is a ledger made of what a test wants it to say.
type events struct {
	ledger.Reader
	all []*event.Event
}

func (r *events) Bounds() (first, last uint64) {
	if len(r.all) == 0 {
		return 0, 0
	}
	return r.all[0].Seq, r.all[len(r.all)-1].Seq
}

func (r *events) Opening(context.Context, uint64) (uint64, []byte, error) { return 1, nil, nil }

func (r *events) Events(_ context.Context, from, to uint64) iter.Seq2[*event.Event, error] {
	return func(yield func(*event.Event, error) bool) {
		for _, e := range r.all {
			if e.Seq >= from && e.Seq <= to && !yield(e, nil) {
				return
			}
		}
	}
}

// scene is a true world in which a test plants one lie.
type scene struct {
	t       *testing.T
	data    string
	witness string
	world   worldcheck.World
	ledger  *events

	// Of the process of the scene.
	id      ulid.ULID
	started *shim.Started
	exit    *shim.Exit
	check   func(context.Context, worldcheck.World) []string // nil: a first look
}

const nonce = worldcheck.Prefix + "scene"

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, data: t.TempDir(), witness: t.TempDir(), ledger: &events{}, id: ulid.MustParse("01KDYAK3SE0000000000000001")}
	must(t, os.MkdirAll(s.dir(), 0o700))
	s.world = worldcheck.World{Ledger: s.ledger, Data: s.data, Witness: s.witness}
	s.started = &shim.Started{
		Program: shim.Identity{PID: 7, StartTicks: 8, PidfsHandle: []byte{9}, PidNamespace: 10},
		Shim:    shim.Identity{PID: 4, StartTicks: 5, PidfsHandle: []byte{6}, PidNamespace: 10}, Isolation: "pidns",
		Executable: shim.File{Path: "/bin/sh", Device: 1, Inode: 2, SHA256: []byte{3}}, Boot: 11, Wall: 12,
		Interpreter: &shim.File{Path: "/bin/dash", Device: 1, Inode: 4, SHA256: []byte{5}},
	}
	s.exit = &shim.Exit{Code: 3, Cause: "self", UserNano: 1, SystemNano: 2, MaxRSSKiB: 3, RestKilled: 1, Boot: 13e9, Wall: 14}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *scene) dir() string { return filepath.Join(s.data, "processes", s.id.String()) }

// add appends events of the process.
func (s *scene) add(bodies ...event.Body) {
	for _, b := range bodies {
		seq := uint64(len(s.ledger.all) + 1)
		s.ledger.all = append(s.ledger.all, &event.Event{
			Header: event.Header{Seq: seq, Boottime: int64(seq) * 1e9, Wall: int64(seq)},
			Scope:  event.Scope{Principal: "alice", Capsule: "driver", Instance: "i", CallID: "c", Handle: s.id, Actor: event.Actor{Kind: event.ActorHost}},
			Body:   b,
		})
	}
}

func (s *scene) spawn(tier event.Tier) {
	decided := &event.SpawnDecided{Outcome: event.OutcomeGranted, Orders: &event.Orders{GraceNano: 5e9}, RingBytes: 1 << 20, Isolation: "pidns"}
	if tier == event.TierPersistent {
		decided.ProcessIDHash, decided.RetentionNano = []byte{1, 2, 3}, 1e9
	}
	s.add(&event.SpawnRequested{Tier: tier, Command: "sh", Args: []string{"-c", "…", nonce}}, decided)
}

// began is what the ledger says of the start.
func (s *scene) began() *event.ProcessStarted {
	r := s.started
	file := func(f shim.File) event.File {
		return event.File{Path: f.Path, Device: f.Device, Inode: f.Inode, SHA256: f.SHA256}
	}
	e := &event.ProcessStarted{
		Program: identity(r.Program), Shim: identity(r.Shim), Isolation: r.Isolation,
		Executable: file(r.Executable), StartedBoot: r.Boot, StartedWall: r.Wall,
	}
	if r.Interpreter != nil {
		f := file(*r.Interpreter)
		e.Interpreter = &f
	}
	return e
}

func identity(i shim.Identity) event.Identity {
	return event.Identity{PID: i.PID, StartTicks: i.StartTicks, PidfsHandle: i.PidfsHandle, PidNamespace: i.PidNamespace}
}

// ended is what the ledger says of the end.
func (s *scene) ended() *event.ProcessExited {
	r := s.exit
	stream := func(x shim.Stream) event.StreamSummary {
		return event.StreamSummary{Bytes: x.Bytes, SHA256: x.SHA256, Dropped: x.Dropped}
	}
	e := &event.ProcessExited{
		Cause: r.Cause, UserNano: r.UserNano, SystemNano: r.SystemNano, MaxRSSKiB: r.MaxRSSKiB, Stdout: stream(r.Stdout), Stderr: stream(r.Stderr),
		RestKilled: r.RestKilled, EndedBoot: r.Boot, EndedWall: r.Wall, CoreDumped: r.Core,
	}
	e.Exit.Code = code(r.Code)
	return e
}

// record writes a record of the shim.
func (s *scene) record(name string, body []byte) {
	s.t.Helper()
	sum := sha256.Sum256(body)
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1)
	b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), body)
	b = protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), sum[:8])
	s.file(name, string(append(b, make([]byte, 100)...)))
}

func (s *scene) file(name, text string) {
	s.t.Helper()
	must(s.t, os.WriteFile(filepath.Join(s.dir(), name), []byte(text), 0o600))
}

// records writes all that a shim leaves of a program that ran.
func (s *scene) records() {
	s.record("ready", shim.EncodeReady(&shim.Ready{Version: 1, Shim: s.started.Shim, Isolation: "pidns"}))
	s.record("go", shim.EncodeGoing(&shim.Going{Boot: 1}))
	s.record("started", shim.EncodeStarted(s.started))
}

// ring writes the ring of a stream.
func (s *scene) ring(name, text string) {
	s.t.Helper()
	fd, err := unix.Open(s.dir(), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(s.t, err)
	defer unix.Close(fd)
	_ = unix.Unlinkat(fd, name, 0)
	must(s.t, shim.CreateRing(fd, name, shim.MinRing, false))
	f, err := os.OpenFile(filepath.Join(s.dir(), name), os.O_RDWR, 0)
	must(s.t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte(text), 4096)
	must(s.t, err)
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(len(text))), 64)
	must(s.t, err)
}

// tell writes the witness.
func (s *scene) tell(lines ...string) {
	s.t.Helper()
	must(s.t, os.WriteFile(filepath.Join(s.witness, nonce), []byte(strings.Join(lines, "\n")+"\n"), 0o600))
}

// told is what the program of an ended scene tells.
var told = []string{"start", "tells", nonce + " 1", nonce + " 2 5", "end", "code 3"}

const output = nonce + " 1\n" + nonce + " 2 5xxxxx\n"

// endedScene is a persistent process that came to its own end and is kept.
func endedScene(t *testing.T) *scene {
	t.Helper()
	s := newScene(t)
	sum, none := sha256.Sum256([]byte(output)), sha256.Sum256(nil)
	s.exit.Stdout = shim.Stream{Bytes: uint64(len(output)), SHA256: sum[:]}
	s.exit.Stderr = shim.Stream{SHA256: none[:]}
	s.spawn(event.TierPersistent)
	s.add(s.began(), s.ended())
	s.records()
	s.record("exit", shim.EncodeExit(s.exit))
	s.file("lock", "")
	s.ring("stdout.ring", output)
	s.ring("stderr.ring", "")
	s.tell(told...)
	return s
}

// last returns the body of the last event, to be changed.
func last[B event.Body](s *scene) B { return s.ledger.all[len(s.ledger.all)-1].Body.(B) }

// livingScene is a persistent process that runs, under a parent that stands in
// for its shim.
func livingScene(t *testing.T) *scene {
	t.Helper()
	s := newScene(t)
	cmd := exec.Command("sh", "-c", `WITNESS=$1 sleep 100 & echo $!; wait`, "shim", s.witness)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var pid uint32
	_, err = fmt.Fscan(out, &pid)
	must(t, err)
	t.Cleanup(func() {
		_ = unix.Kill(int(pid), unix.SIGKILL)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	s.started.Program, s.started.Shim = identityOf(t, pid), identityOf(t, uint32(cmd.Process.Pid))
	for deadline := time.Now().Add(10 * time.Second); len(worldcheck.Marked(s.witness)) == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // it is being forked
	}
	s.spawn(event.TierPersistent)
	s.add(s.began())
	s.records()
	s.file("lock", "")
	s.hold()
	s.ring("stdout.ring", nonce+" 1\n")
	s.ring("stderr.ring", "")
	s.tell("start", "tells", nonce+" 1", nonce+" 2")
	return s
}

func identityOf(t *testing.T, pid uint32) shim.Identity {
	t.Helper()
	proc, err := shim.OpenProc()
	must(t, err)
	defer unix.Close(proc)
	fd, err := unix.PidfdOpen(int(pid), 0)
	must(t, err)
	defer unix.Close(fd)
	return shim.IdentityOf(proc, fd)
}

// hold holds the lock, as a living shim does.
func (s *scene) hold() {
	s.t.Helper()
	f, err := os.Open(filepath.Join(s.dir(), "lock"))
	must(s.t, err)
	s.t.Cleanup(func() { f.Close() })
	must(s.t, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
}

// lie is one thing that is not so, and what a check must say about it.
type lie struct {
	name  string
	plant func(s *scene)
	want  string
}

func code(n int32) *int32 { return &n }

// endedLies are planted in an ended scene.
var endedLies = []lie{
	// The ledger and its projections.
	{"gap", func(s *scene) { s.ledger.all = slices.Delete(s.ledger.all, 2, 3) }, "event 4 where 3 was due"},
	{"illegal step", func(s *scene) { s.add(s.began()) }, "replay: event 5"},
	{"granted twice", func(s *scene) { s.id[15]++; s.spawn(event.TierBackground) }, "was granted to"},
	{"another state in use", func(s *scene) {
		s.world.State = projector.New()
		for _, e := range s.ledger.all {
			e := *e
			e.Principal = "mallory"
			must(s.t, s.world.State.Apply(&e))
		}
	}, "the state in use at event 4 is not what a replay"},
	{"another table", func(s *scene) { s.table(func(h *control.Handle) { h.Phase = "started" }) }, "the daemon lists"},
	{"a table without it", func(s *scene) { s.table(nil); s.world.Table.Handles = nil }, "the daemon does not list it"},
	{"a table with more", func(s *scene) { s.table(func(h *control.Handle) { h.ID = "01KDYAK3SE0000000000000009" }) }, "a replay does not know it"},
	{"not recorded", func(s *scene) { s.table(func(h *control.Handle) { h.Unrecorded = true }) }, "its end is not recorded"},
	{"live count", func(s *scene) { s.table(nil); s.world.Status.Live = 1 }, "live processes"},
	{"counter", func(s *scene) { s.table(nil); s.world.Status.Usage[0].Persistent = 2 }, "the counters of"},

	// Directories.
	{"stray", func(s *scene) { must(s.t, os.Mkdir(filepath.Join(s.data, "processes", "x"), 0o700)) }, "is no handle's directory"},
	{"directory of nobody", func(s *scene) {
		must(s.t, os.Mkdir(filepath.Join(s.data, "processes", "01KDYAK3SE0000000000000009"), 0o700))
	}, "has a directory and no handle"},
	{"no directory", func(s *scene) { must(s.t, os.RemoveAll(s.dir())) }, "has no directory"},
	{"released, and still there", func(s *scene) { s.add(&event.HandleReleased{Reason: "released"}) }, "has a directory and no handle"},
	{"its shim lives", func(s *scene) { s.hold() }, "and its shim lives"},
	{"said to live", func(s *scene) { s.ledger.all = s.ledger.all[:3] }, "and its shim is dead"},
	{"said to live, with an exit", func(s *scene) { s.ledger.all = s.ledger.all[:3] }, "and its shim wrote an exit record"},
	{"counted", func(s *scene) { s.ledger.all = s.ledger.all[:3] }, "is counted with 1 live processes, and has 0"},

	// Records.
	{"cut record", func(s *scene) { s.file("exit", "\x08\x01\x12\x02ab") }, "the record's sum is wrong"},
	{"no exit record", func(s *scene) { must(s.t, os.Remove(filepath.Join(s.dir(), "exit"))) }, "has no exit record"},
	{"lost, with an exit", func(s *scene) {
		s.ledger.all = s.ledger.all[:3]
		s.add(&event.ProcessLost{Reason: "shim-killed"})
	}, "and its shim wrote an exit record"},
	{"aborted, with go", func(s *scene) {
		s.ledger.all = s.ledger.all[:2]
		s.add(&event.SpawnAborted{Reason: "daemon-died"})
	}, "the ledger says that nothing ran, and the shim had taken go"},
	{"failed, and it ran", func(s *scene) {
		s.ledger.all = s.ledger.all[:2]
		s.add(&event.SpawnFailed{Step: "exec"})
	}, "the ledger does not know it"},
	{"failed to start, by the shim", func(s *scene) { s.record("failed", shim.EncodeFailed(&shim.Failed{Step: "exec"})) }, "its shim wrote that the start failed"},
	{"shim that was ready", func(s *scene) { s.record("ready", shim.EncodeReady(&shim.Ready{Shim: shim.Identity{PID: 99}})) }, "shim that was ready, pid"},

	// Rings.
	{"ring with other bytes", func(s *scene) { s.ring("stdout.ring", strings.ToUpper(output)) }, "stdout has the SHA-256"},
	{"ring with less", func(s *scene) { s.ring("stdout.ring", output[:5]) }, "and its ring took 5"},
	{"ring with more", func(s *scene) { s.ring("stderr.ring", "oh") }, "stderr has 0 bytes by the ledger, and its ring took 2"},
	{"no ring", func(s *scene) { must(s.t, os.Remove(filepath.Join(s.dir(), "stdout.ring"))) }, "its ring is missing"},
	{"no ring at all", func(s *scene) { s.file("stdout.ring", strings.Repeat("x", 9000)) }, "is no ring"},
	{"more dropped than written", func(s *scene) { last[*event.ProcessExited](s).Stdout.Dropped = 1 << 20 }, "dropped 1048576 of"},

	// The witness.
	{"ran twice", func(s *scene) { s.tell(append([]string{"start"}, told...)...) }, "ran 2 times"},
	{"ran unasked", func(s *scene) {
		must(s.t, os.WriteFile(filepath.Join(s.witness, worldcheck.Prefix+"other"), []byte("start\n"), 0o600))
	}, "no granted spawn of the ledger names it"},
	{"said not to have run", func(s *scene) {
		s.ledger.all = s.ledger.all[:2]
		s.add(&event.SpawnAborted{Reason: "daemon-died"})
	}, "and the ledger says that it did not"},
	{"did not end", func(s *scene) {
		last[*event.ProcessExited](s).Exit.Code = code(0)
		s.tell(told[:4]...)
	}, "ran to its end, and it did not"},
	{"another code", func(s *scene) { s.tell(append(slices.Clone(told[:5]), "code 4")...) }, "left with code 3, and the program wrote code 4"},
	{"a code that it never wrote", func(s *scene) { s.tell(told[:5]...) }, "and the program wrote no code"},
	{"a signal, and it wrote a code", func(s *scene) {
		e := last[*event.ProcessExited](s)
		e.Exit.Code, e.Exit.Signal = nil, code(15)
	}, "left by signal 15, and the program wrote code 3"},
	{"output invented", func(s *scene) { s.tell(append(slices.Clone(told[:3]), told[4:]...)...) }, "and the program says"},
	{"output lost", func(s *scene) {
		s.tell(append(append(slices.Clone(told[:4]), nonce+" 3"), told[4:]...)...)
	}, "and the program says"},
	{"output altered", func(s *scene) {
		s.tell(append(append(slices.Clone(told[:2]), nonce+" 9"), told[3:]...)...)
	}, "its output has the SHA-256"},
	{"output altered in the ring", func(s *scene) {
		s.tell(append(append(slices.Clone(told[:2]), nonce+" 9"), told[3:]...)...)
	}, "its ring does not hold what the program wrote"},
	{"told unasked", func(s *scene) { s.tell(append(slices.Clone(told[:4]), "told TERM", "end", "code 3")...) }, "was told TERM 1 times, and the ledger asked for it 0 times"},
	{"told twice", func(s *scene) {
		s.signalled()
		s.tell(append(slices.Clone(told[:4]), "told INT", "told INT", "end", "code 3")...)
	}, "was told INT 2 times, and the ledger asked for it 1 times"},
	{"delivered, and never told", func(s *scene) { s.signalled() }, "INT was delivered, and the program was never told"},
	{"wrote on after its release", func(s *scene) {
		s.add(&event.HandleReleased{Reason: "released"})
		must(s.t, os.RemoveAll(s.dir()))
		s.world.Forget = true
		var c worldcheck.Checker
		if p := c.CheckWorld(s.t.Context(), s.world); len(p) > 0 {
			s.t.Fatal(p)
		}
		s.tell("start")
		s.check = c.CheckWorld
	}, "wrote on after it was released"},

	// /proc.
	{"left over", func(s *scene) { s.leave("WITNESS="+s.witness, "sleep") }, "(sleep 100, state S) is left over"},
	{"left stopped", func(s *scene) {
		pid := s.leave("WITNESS="+s.witness, "sleep")
		must(s.t, unix.Kill(pid, unix.SIGSTOP))
		for !strings.Contains(s.state(pid), "T") {
			time.Sleep(time.Millisecond)
		}
	}, "state T) is left over"},
	{"a shim of nobody", func(s *scene) { s.world.Shim = s.copyOf("sleep"); s.leave("A=b", s.world.Shim) }, "no live handle of the ledger names it"},
	{"a stopped shim", func(s *scene) {
		s.world.Shim = s.copyOf("sleep")
		pid := s.leave("A=b", s.world.Shim)
		must(s.t, unix.Kill(pid, unix.SIGSTOP))
		for !strings.Contains(s.state(pid), "T") {
			time.Sleep(time.Millisecond)
		}
	}, "is left stopped"},
}

// livingLies are planted in a living scene.
var livingLies = []lie{
	{"its lock is free", func(s *scene) { must(s.t, os.Remove(filepath.Join(s.dir(), "lock"))) }, "and its shim is dead"},
	{"said to have ended", func(s *scene) { s.add(&event.ProcessLost{Reason: "shim-killed"}) }, "and its shim lives"},
	{"said to have ended, and it runs", func(s *scene) { s.add(&event.ProcessLost{Reason: "shim-killed"}) }, "is left over"},
	{"its program is dead", func(s *scene) {
		must(s.t, unix.Kill(int(s.started.Program.PID), unix.SIGKILL))
		for !strings.Contains(s.state(int(s.started.Program.PID)), "Z") && s.state(int(s.started.Program.PID)) != "" {
			time.Sleep(time.Millisecond)
		}
	}, "its program should live"},
	{"a stranger with its number", func(s *scene) { s.started.Program.StartTicks--; s.again() }, "is a stranger that started at"},
	{"a stranger with its number and time", func(s *scene) { s.started.Program.PidfsHandle = []byte{1, 2}; s.again() }, "has another pidfs handle"},
	{"a ring that is ahead", func(s *scene) { s.ring("stdout.ring", output+output+output) }, "and the program says that it wrote"},
	{"a program beside its shim", func(s *scene) { s.leave("WITNESS="+s.witness, "sleep") }, "is left over"},
}

func TestEveryLieIsReported(t *testing.T) {
	for name, set := range map[string]struct {
		scene func(*testing.T) *scene
		lies  []lie
	}{"ended": {endedScene, endedLies}, "living": {livingScene, livingLies}} {
		t.Run(name, func(t *testing.T) {
			s := set.scene(t)
			if p := s.look(); len(p) > 0 {
				t.Fatalf("nothing is wrong, and it says %q", p)
			}
			for _, l := range set.lies {
				t.Run(l.name, func(t *testing.T) {
					t.Parallel()
					s := set.scene(t)
					l.plant(s)
					problems := s.look()
					if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, l.want) }) {
						t.Errorf("reported are %q, want %q", problems, l.want)
					}
				})
			}
		})
	}
}
