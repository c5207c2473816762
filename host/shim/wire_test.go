//go:build linux

package shim

import (
	"bytes"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	someIdentity = Identity{PID: 4242, StartTicks: 1 << 40, PidfsHandle: []byte{1, 0, 0, 0, 9, 9}, PidNamespace: 4026531836}
	someFile     = File{Path: "/usr/bin/git", Device: 5, Inode: 7, SHA256: bytes.Repeat([]byte{0xab}, 32)}
	someMessage  = Message{
		Version: ProtocolVersion, Type: TypeSignal, Seq: 1 << 60, PID: 1, Errno: 3, Text: "t", Signal: 15, Target: TargetTree,
		Cause: "cancel", Order: "lifetime", Due: 1 << 50, Phase: PhaseRunning, Record: []byte("r"), Isolation: IsolationNone,
		Stdin: StdinOpen, Ended: EndedStderr, Handle: bytes.Repeat([]byte{1}, 16),
	}
	someSpec = Spec{
		ID: bytes.Repeat([]byte{1}, 16), Argv: []string{"sh", "-c", "", "echo"}, Path: "sh", Env: []string{"A=", "B=c"},
		Dir: "/tmp", RingBytes: 1 << 20, Orders: Orders{LifetimeNano: 5, GraceNano: 6, OrphanNano: 7}, Isolation: IsolationPIDNS, HasStdin: true,
		KeepStdin: true, Backpressure: true,
		Files: []InjectedFile{{EnvKey: "POLICY", Size: 1 << 20}, {Path: "/etc/vendor/policy", Size: 0}}, Ground: Ground{Workspace: "/w", Processes: "/p"},
	}
	someReady   = Ready{Version: ProtocolVersion, Shim: someIdentity, Isolation: "pidns+mount", Boot: 8, Wall: 9, BootID: []byte{1}}
	someStarted = Started{Program: someIdentity, Shim: someIdentity, Isolation: "none", Executable: someFile, Interpreter: &someFile, Boot: 1, Wall: 2, BootID: []byte{1}}
	someFailed  = Failed{Step: "exec", Errno: 2, Detail: "no", Boot: 3, Wall: 4}
	someExit    = Exit{
		Signaled: true, Code: -1, Signal: 9, Core: true, Cause: "kill", Order: "orphan", Due: 1, UserNano: 2, SystemNano: 3, MaxRSSKiB: 4,
		Stdout: Stream{Bytes: 5, SHA256: []byte{6}, Dropped: 7}, Stderr: Stream{Bytes: 8}, RestKilled: 9, Boot: 10, Wall: 11,
	}
)

// roundTrip checks that decoding what was encoded gives the same, also with a
// field of a newer build behind it.
func roundTrip[T any](t *testing.T, v *T, enc func(*T) []byte, dec func([]byte) (*T, error)) {
	t.Helper()
	b := enc(v)
	for _, b := range [][]byte{b, appendText(b, 1000, "from a newer build"), append(slices.Clone(b), 0x85, 0x7d, 1, 2, 3, 4)} {
		got, err := dec(b)
		if err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("%T: got %+v, %v; want %+v", v, got, err, v)
		}
	}
	allSet(t, reflect.ValueOf(v).Elem())
}

// allSet holds that the examples leave no field out, so that a new one without
// a codec is noticed.
func allSet(t *testing.T, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("the example of %s leaves %s empty", v.Type(), v.Type().Field(i).Name)
		}
	}
}

func TestEverythingSurvivesARoundTrip(t *testing.T) {
	roundTrip(t, &someMessage, (*Message).Encode, DecodeMessage)
	roundTrip(t, &someSpec, EncodeSpec, DecodeSpec)
	roundTrip(t, &someReady, EncodeReady, DecodeReady)
	roundTrip(t, &someStarted, EncodeStarted, DecodeStarted)
	roundTrip(t, &someFailed, EncodeFailed, DecodeFailed)
	roundTrip(t, &someExit, EncodeExit, DecodeExit)
}

func TestASpecThatIsNotUnderstoodIsRefused(t *testing.T) {
	for what, change := range map[string]func(*Spec){
		"no command":        func(s *Spec) { s.Path = "" },
		"no argv":           func(s *Spec) { s.Argv = nil },
		"unknown isolation": func(s *Spec) { s.Isolation = "pidns2" },
		"no isolation":      func(s *Spec) { s.Isolation = "" },
	} {
		s := someSpec
		change(&s)
		if _, err := DecodeSpec(EncodeSpec(&s)); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
}

func TestADamagedRecordIsNoRecord(t *testing.T) {
	good := frame(EncodeExit(&someExit))
	if _, err := unframe(append(slices.Clone(good), make([]byte, 100)...)); err != nil {
		t.Errorf("zeros behind a record: %v", err)
	}
	for i := range good {
		if body, err := unframe(good[:i]); err == nil {
			t.Errorf("cut at %d of %d: %x", i, len(good), body)
		}
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		if body, err := unframe(bad); err == nil && !bytes.Equal(body, EncodeExit(&someExit)) {
			t.Errorf("byte %d altered: taken as %x", i, body)
		}
	}
	if _, err := unframe(nil); err == nil {
		t.Error("an empty file is a record")
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(someMessage.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMessage(b)
		if err != nil {
			return
		}
		m.Version = ProtocolVersion
		again, err := DecodeMessage(m.Encode())
		if err != nil || !reflect.DeepEqual(clean(*again), clean(*m)) {
			t.Errorf("%+v became %+v (%v)", m, again, err)
		}
	})
}

// clean makes an empty record and none the same.
func clean(m Message) Message {
	if len(m.Record) == 0 {
		m.Record = nil
	}
	return m
}

func FuzzSpec(f *testing.F) {
	f.Add(EncodeSpec(&someSpec))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSpec(b)
		if err != nil {
			return
		}
		again, err := DecodeSpec(EncodeSpec(s))
		if err != nil || !slices.Equal(again.Argv, s.Argv) || !slices.Equal(again.Env, s.Env) || again.Path != s.Path {
			t.Errorf("%+v became %+v (%v)", s, again, err)
		}
	})
}

func FuzzRecords(f *testing.F) {
	for _, b := range [][]byte{EncodeReady(&someReady), EncodeStarted(&someStarted), EncodeFailed(&someFailed), EncodeExit(&someExit)} {
		f.Add(b)
		f.Add(frame(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		DecodeReady(b)
		DecodeFailed(b)
		if s, err := DecodeStarted(b); err == nil {
			EncodeStarted(s)
		}
		if e, err := DecodeExit(b); err == nil {
			EncodeExit(e)
		}
		if body, err := unframe(b); err == nil {
			if again, err := unframe(frame(body)); err != nil || !bytes.Equal(again, body) {
				t.Errorf("%x became %x (%v)", body, again, err)
			}
		}
		parseStat(b)
		shebang(b)
	})
}

func TestStatIsReadBehindAnyName(t *testing.T) {
	line := "12 (a) b (c\n)) S 7 8 9 0 -1 4194304 1 0 0 0 1 2 0 0 20 0 1 0 987654321 1 1 1"
	s, err := parseStat([]byte(line))
	if err != nil || s != (stat{state: 'S', ppid: 7, pgrp: 8, start: 987654321}) {
		t.Errorf("got %+v, %v", s, err)
	}
}

// TestTheShimLinksLittle holds that every live process pays for little: these
// are what makes a binary slow to start and large in memory.
func TestTheShimLinksLittle(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "github.com/astrid-os/processledger/host/shim/astrid-shim").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	for _, forbidden := range []string{
		"net", "net/http", "os/exec", "log", "log/slog", "encoding/json", "text/template", "regexp", "os/user", "flag", "testing",
		"github.com/tetratelabs/wazero", "go.etcd.io/bbolt", "google.golang.org/protobuf/proto",
		"github.com/astrid-os/processledger/ledger", "github.com/astrid-os/processledger/ledger/event",
	} {
		if slices.Contains(deps, forbidden) {
			t.Errorf("the shim links %s", forbidden)
		}
	}
}

func TestLookPathIsExecvps(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, err := range []error{
		unix.Mkdir("a", 0o755), unix.Mkdir("b", 0o755), unix.Mkdir("a/tool", 0o755),
		write("b/tool", 0o755), write("a/locked", 0o644), write("here", 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		command, path, want string
		err                 error
	}{
		{"tool", "a:b", "b/tool", nil}, // a directory is no command
		{"locked", "a:b", "", unix.EACCES},
		{"nothing", "a:b", "", unix.ENOENT},
		{"here", "a:", "./here", nil},
		{"./here", "a", "./here", nil},
		{"b/tool", "", "b/tool", nil},
		{"tool", dir + "/b", dir + "/b/tool", nil},
	} {
		got, err := lookPath(c.command, []string{"PATH=ignored", "PATH=" + c.path})
		if err != c.err || err == nil && got != c.want {
			t.Errorf("%s in %q: got %q, %v; want %q, %v", c.command, c.path, got, err, c.want, c.err)
		}
	}
}

func write(path string, mode uint32) error {
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_WRONLY, mode)
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

func TestCausesAreNotGuessed(t *testing.T) {
	exited, killed, hup := unix.WaitStatus(0), unix.WaitStatus(9), unix.WaitStatus(1)
	for _, c := range []struct {
		what string
		sent func(*causes)
		ws   unix.WaitStatus
		want string
	}{
		{"nobody sent anything", func(*causes) {}, killed, "self"},
		{"it answered a TERM by exiting", func(c *causes) { c.note(15, "stop") }, exited, "stop"},
		{"it ignored a guest's TERM and ended later", func(c *causes) { c.note(15, "signal") }, exited, "self"},
		{"it died of a guest's HUP", func(c *causes) { c.note(1, "signal") }, hup, "signal"},
		{"the KILL after the TERM was another's", func(c *causes) { c.note(15, "stop"); c.note(9, "kill") }, killed, "kill"},
		{"a KILL that nobody here sent", func(c *causes) { c.note(10, "signal") }, killed, "self"},
	} {
		var s causes
		c.sent(&s)
		if got := s.of(c.ws); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}
