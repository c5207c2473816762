package abi_test

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	. "github.com/astrid-os/processledger/host/abi"
)

// arena is a guest whose cabi_realloc hands out its memory from the start on,
// and may be made to misbehave.
type arena struct {
	mem  bytesMemory
	next uint32
	hand func(at uint32) (uint32, error)
}

func (a *arena) Size() uint32                     { return a.mem.Size() }
func (a *arena) Read(at, n uint32) ([]byte, bool) { return a.mem.Read(at, n) }
func (a *arena) calls(align, size uint32) (at uint32) {
	at = (a.next + align - 1) &^ (align - 1)
	a.next = at + size
	return at
}

// Realloc moves the memory, as a growing memory does: views from before are
// stale.
func (a *arena) Realloc(_ context.Context, align, size uint32) (uint32, error) {
	a.mem = append(make(bytesMemory, 0, len(a.mem)), a.mem...)
	at := a.calls(align, size)
	if a.hand != nil {
		return a.hand(at)
	}
	return at, nil
}

var reply = Record("reply", p("out", String), p("none", String), p("running", Bool), p("exit", Option(S32)), p("raw", List(U8)), p("n", U64))

func lower(a *arena, at uint32) (err error) {
	defer Catch(&err)
	f := NewFunc("f", Result(reply, pollError), p("x", U32))
	l := NewLifter(a)
	ret := f.Return(&l, []uint64{1, 0xdead_0000_0000 | uint64(at)})
	lo := NewLowerer(context.Background(), a)
	ret.Store(&lo, func(s Slot) {
		ok := s.Case(0)
		ok.Field("out").Text("hello")
		ok.Field("none").Text("")
		ok.Field("running").Bool(true)
		ok.Field("exit").Some().S32(-3)
		ok.Field("raw").Bytes([]byte{1, 2})
		ok.Field("n").U64(1 << 40)
	})
	return nil
}

func TestLowerStoresAfterTheLastRealloc(t *testing.T) {
	a := &arena{mem: make(bytesMemory, 256), next: 128}
	for i := range a.mem {
		a.mem[i] = 0xaa
	}
	if err := lower(a, 8); err != nil {
		t.Fatal(err)
	}
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(a.mem[at:]) }
	const ok = 16 // 8-byte alignment behind the tag
	if a.mem[8] != 0 || string(a.mem[word(ok):word(ok)+word(ok+4)]) != "hello" || word(ok+12) != 0 || a.mem[ok+16] != 1 {
		t.Errorf("memory % x", a.mem)
	}
	if a.mem[ok+20] != 1 || int32(word(ok+24)) != -3 || word(ok+32) != 2 || binary.LittleEndian.Uint64(a.mem[ok+40:]) != 1<<40 {
		t.Errorf("memory % x", a.mem)
	}
	if a.next != 128+5+2 {
		t.Errorf("%d bytes asked for, want exactly those of the two values that are not empty", a.next-128)
	}
}

func TestLowerBelievesNoPointer(t *testing.T) {
	boom := errors.New("wasm error: unreachable")
	for name, c := range map[string]struct {
		hand func(uint32) (uint32, error)
		at   uint32
		want string
	}{
		"beyond the memory": {func(uint32) (uint32, error) { return 253, nil }, 8, "outside the memory"},
		"near 2^32":         {func(uint32) (uint32, error) { return 0xffff_ffff, nil }, 8, "outside the memory"},
		"realloc traps":     {func(uint32) (uint32, error) { return 0, boom }, 8, "cabi_realloc failed: wasm error"},
		"return misaligned": {nil, 12, "not aligned to 8"},
		"return outside":    {nil, 240, "outside the memory"},
	} {
		t.Run(name, func(t *testing.T) {
			err := lower(&arena{mem: make(bytesMemory, 256), next: 128, hand: c.hand}, c.at)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if c.want == "cabi_realloc failed: wasm error" && !errors.Is(err, boom) {
				t.Error("the guest's own error is not in the chain")
			}
		})
	}
}

func TestFlatResult(t *testing.T) {
	stack := []uint64{9}
	f := NewFunc("clock-ms", U64)
	l := NewLifter(make(bytesMemory, 8))
	f.Return(&l, stack).Store(nil, func(s Slot) { s.U64(1 << 50) })
	if stack[0] != 1<<50 {
		t.Errorf("result %d", stack[0])
	}
}

func TestTable(t *testing.T) {
	table := Table{Limit: 3}
	trapped := func(f func()) (err error) {
		defer Catch(&err)
		f()
		return nil
	}
	a, b := table.Add(pollable, "a"), table.Add(subscription, "b")
	if a == 0 || a == b {
		t.Errorf("indices %d and %d", a, b)
	}
	if table.Borrow(pollable, a) != "a" || table.Drop(subscription, b) != "b" || table.Len() != 1 {
		t.Error("table does not give back what it was given")
	}
	for name, f := range map[string]func(){
		"zero":           func() { table.Borrow(pollable, 0) },
		"unknown":        func() { table.Borrow(pollable, 77) },
		"dropped":        func() { table.Borrow(subscription, b) },
		"dropped twice":  func() { table.Drop(subscription, b) },
		"of other type":  func() { table.Borrow(subscription, a) },
		"drop as other":  func() { table.Drop(subscription, a) },
		"more than room": func() { table.Add(pollable, 1); table.Add(pollable, 2); table.Add(pollable, 3) },
	} {
		if trapped(f) == nil {
			t.Errorf("%s: no trap", name)
		}
	}
	if c := table.Add; table.Len() == 3 && trapped(func() { c(pollable, 1) }) == nil {
		t.Error("full table gave out a handle")
	}
}
