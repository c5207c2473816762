package event

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var compareAll = cmp.Exporter(func(reflect.Type) bool { return true })

// equateEmpty: an empty list is an absent one.
var equateEmpty = cmpopts.EquateEmpty()

// drawn is a source of random values.
type drawn struct{ t *rapid.T }

func (d drawn) number(_, bits int) uint64 {
	return rapid.Uint64Max(1<<(bits-1)<<1-1).Draw(d.t, "n")
}
func (d drawn) text(int) string { return rapid.String().Draw(d.t, "text") }
func (d drawn) length(int) int  { return rapid.IntRange(0, 3).Draw(d.t, "length") }
func (d drawn) bytes(_, size int) []byte {
	if size < 0 {
		return rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(d.t, "bytes")
	}
	return rapid.SliceOfN(rapid.Byte(), size, size).Draw(d.t, "id")
}

// TestRoundTrip: any event that Check admits reads back equal, whole and by
// its header.
func TestRoundTrip(t *testing.T) {
	kinds := append(Kinds(), 77, maxKind)
	rapid.Check(t, func(t *rapid.T) {
		want := (&filler{source: drawn{t}}).event(rapid.SampledFrom(kinds).Draw(t, "kind"))
		if err := Check(want); err != nil {
			t.Fatal(err)
		}
		b := Encode(want)
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, compareAll); d != "" {
			t.Fatalf("decoded event differs (-want +got):\n%s", d)
		}
		head, err := DecodeHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		if head.Header != want.Header || head.Scope != want.Scope || head.Kind() != want.Kind() || !head.HeaderOnly() {
			t.Fatalf("header %+v of %+v", head, want)
		}
	})
}

// example is a spawn.requested of ordinary size: ids, scope, command, 4 args,
// cwd, 6 env keys, limits.
func example() *Event {
	r := rand.New(rand.NewPCG(1, 2))
	e := &Event{Body: &SpawnRequested{
		Tier: TierBackground, Command: "git", Args: []string{"clone", "--depth=1", "https://example.org/repo.git", "work"},
		ArgsCount: 4, ArgsBytes: 50, Cwd: "src", EnvKeys: []string{"HOME", "PATH", "LANG", "GOCACHE", "TERM", "USER"},
		StdinBytes: 100, StdinDigest: make([]byte, 32),
		Limits: &Limits{MemoryBytes: new(uint64(1 << 30)), PIDs: new(uint32(64))},
	}}
	e.Seq, e.Wall, e.Boottime = 123456, 1_700_000_000_000_000_000, 5_000_000_000_000
	for i := range 16 {
		e.ID[i], e.BootID[i], e.Handle[i] = byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())
	}
	e.Principal, e.Capsule, e.Instance, e.CallID = "alice", "builder", "builder-1", "call-42"
	e.Actor.Kind = ActorGuest
	return e
}

func BenchmarkEncode(b *testing.B) {
	e, buf := example(), []byte(nil)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendEncode(buf[:0], e)
	}
	b.ReportMetric(float64(len(buf)), "bytes/event")
}

func BenchmarkDecode(b *testing.B) {
	wire := Encode(example())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(wire); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeHeader(b *testing.B) {
	wire := Encode(example())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeHeader(wire); err != nil {
			b.Fatal(err)
		}
	}
}
