package abi_test

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	. "github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/host/abi/abitest"
)

// bytesMemory is a guest's memory without a guest.
type bytesMemory []byte

func (m bytesMemory) Size() uint32 { return uint32(len(m)) }

func (m bytesMemory) Read(at, n uint32) ([]byte, bool) {
	if uint64(at)+uint64(n) > uint64(len(m)) {
		return nil, false
	}
	return m[at : at+n : at+n], true
}

// walk reads all of a value, whatever it is, and returns how many bytes of
// strings and lists it copied.
func walk(v View, t *Type) (n int) {
	switch t.Kind() {
	case KindBool:
		v.Bool()
	case KindU32:
		v.U32()
	case KindU64:
		v.U64()
	case KindString:
		return len(v.Text())
	case KindOwn, KindBorrow:
		v.Handle()
	case KindList:
		if t.Elem().Kind() == KindU8 {
			return len(v.Bytes())
		}
		for l, i := v.List(), 0; i < l.Len(); i++ {
			n += int(t.Elem().Size()) + walk(l.At(i), t.Elem())
		}
	case KindRecord:
		for _, f := range t.Fields() {
			n += walk(v.Field(f.Name), f.Type)
		}
	case KindVariant:
		i, of := v.Case()
		if cases, _ := t.Cases(); cases[i].Type != nil {
			n += walk(of, cases[i].Type)
		}
	}
	return n
}

// request has every shape that a guest hands in.
var request = Record("request",
	p("cmd", String), p("args", List(String)), p("stdin", Option(List(U8))),
	p("env", List(Record("var", p("key", String), p("value", String)))),
	p("limits", Option(Record("limits", p("mem", Option(U64)), p("pids", Option(U32))))),
	p("open", Option(Bool)), p("mode", Option(Enum("mode", "a", "b"))), p("of", Own(pollable)), p("lifetime", Option(U64)))

func lift(m Memory, at uint32) (n int, err error) {
	defer Catch(&err)
	l := NewLifter(m)
	return walk(l.At(at, request), request), nil
}

// offset returns where a field of the request stands.
func offset(name string) uint32 {
	for _, f := range request.Fields() {
		if f.Name == name {
			return f.Offset
		}
	}
	panic(name)
}

func TestLiftAnswersWhatStandsThere(t *testing.T) {
	im := &abitest.Image{Base: 0}
	at := im.Alloc(request.Size(), 8)
	im.Text(at+offset("cmd"), "git")
	im.Texts(at+offset("args"), "log", "", "-n\u00e9")
	im.U8(at+offset("stdin"), 1)
	im.Text(at+offset("stdin")+4, "\xff\x00")
	im.U8(at+offset("open"), 1)
	im.U8(at+offset("open")+1, 77) // any non-zero value is true
	im.U8(at+offset("lifetime"), 1)
	im.U64(at+offset("lifetime")+8, math.MaxUint64)
	im.U32(at+offset("limits")+8, 0xdeadbeef) // of a none: not looked at

	l := NewLifter(bytesMemory(im.Bytes()))
	v := l.At(at, request)
	if got := v.Field("cmd").Text(); got != "git" {
		t.Errorf("cmd %q", got)
	}
	args := v.Field("args").List()
	if args.Len() != 3 || args.At(2).Text() != "-n\u00e9" || args.At(1).Text() != "" {
		t.Errorf("args of length %d", args.Len())
	}
	if in, ok := v.Field("stdin").Option(); !ok || string(in.Bytes()) != "\xff\x00" {
		t.Error("stdin")
	}
	if open, ok := v.Field("open").Option(); !ok || !open.Bool() {
		t.Error("open")
	}
	if life, ok := v.Field("lifetime").Option(); !ok || life.U64() != math.MaxUint64 {
		t.Error("lifetime")
	}
	if _, ok := v.Field("limits").Option(); ok {
		t.Error("limits: none was read as some")
	}
}

func TestLiftTrapsOnMalformedValues(t *testing.T) {
	const size = 4096
	for name, c := range map[string]struct {
		spoil func(im *abitest.Image, at uint32)
		want  string
	}{
		"string beyond the memory":    {func(im *abitest.Image, at uint32) { im.U32(at, size-1); im.U32(at+4, 2) }, "outside the memory"},
		"string near 2^32":            {func(im *abitest.Image, at uint32) { im.U32(at, 8); im.U32(at+4, 0xffff_fffc) }, "more than the memory holds"},
		"string wraps around":         {func(im *abitest.Image, at uint32) { im.U32(at, 0xffff_ffff); im.U32(at+4, 1) }, "outside the memory"},
		"string not UTF-8":            {func(im *abitest.Image, at uint32) { im.Text(at, "a\xc0\x80") }, "not UTF-8"},
		"list near 2^32":              {func(im *abitest.Image, at uint32) { im.U32(at+8, 8); im.U32(at+12, 0x2000_0001) }, "more than the memory holds"},
		"list misaligned":             {func(im *abitest.Image, at uint32) { im.U32(at+8, 6); im.U32(at+12, 1) }, "not aligned to 4"},
		"list misaligned at length 0": {func(im *abitest.Image, at uint32) { im.U32(at+8, 6); im.U32(at+12, 0) }, "not aligned to 4"},
		"list of strings out of bounds": {func(im *abitest.Image, at uint32) {
			im.Texts(at+8, "x")
			im.U32(at+request.Size(), size)
			im.U32(at+request.Size()+4, 1)
		}, "outside the memory"},
		"option tag 2": {func(im *abitest.Image, at uint32) { im.U8(at+offset("stdin"), 2) }, "no case 2"},
		"enum 2":       {func(im *abitest.Image, at uint32) { im.U8(at+offset("mode"), 1); im.U8(at+offset("mode")+1, 2) }, "no case 2"},
	} {
		t.Run(name, func(t *testing.T) {
			im := &abitest.Image{}
			at := im.Alloc(request.Size(), 8)
			c.spoil(im, at)
			m := make(bytesMemory, size)
			copy(m, im.Bytes())
			if _, err := lift(m, at); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	for _, at := range []uint32{4, size - 8, size, 0xffff_fff8} {
		if _, err := lift(make(bytesMemory, size), at); err == nil {
			t.Errorf("record at %d: no trap", at)
		}
	}
}

// TestLiftCopiesNoMoreThanTheMemoryHolds: ten thousand names for one string are
// no way to make the host copy it ten thousand times.
func TestLiftCopiesNoMoreThanTheMemoryHolds(t *testing.T) {
	m := make(bytesMemory, 1<<20)
	const n, text = 10_000, 1 << 19
	list := uint32(1024)
	for i := range uint32(n) {
		binary.LittleEndian.PutUint32(m[list+8*i:], text)
		binary.LittleEndian.PutUint32(m[list+8*i+4:], 1<<18)
	}
	binary.LittleEndian.PutUint32(m[8:], list)
	binary.LittleEndian.PutUint32(m[12:], n)
	if _, err := lift(m, 0); err == nil || !strings.Contains(err.Error(), "more than the memory holds") {
		t.Errorf("error %v", err)
	}
}

func TestFlatParameters(t *testing.T) {
	const garbage = 0xdead_beef_0000_0000
	f := NewFunc("f", Result(nil, pollError), p("self", Borrow(pollable)), p("timeout", Option(U64)), p("level", logLevel), p("mixed", mixed))
	l := NewLifter(make(bytesMemory, 64))
	v := f.Params(&l, []uint64{garbage | 7, garbage | 1, math.MaxUint64, garbage | 4, garbage, 1<<32 | 5, garbage | 6, 16})
	if h := v.Field("self").Handle(); h != 7 {
		t.Errorf("self %d", h)
	}
	if ms, ok := v.Field("timeout").Option(); !ok || ms.U64() != math.MaxUint64 {
		t.Error("timeout")
	}
	if n, _ := v.Field("level").Case(); n != 4 {
		t.Errorf("level %d", n)
	}
	if n, small := v.Field("mixed").Case(); n != 0 || small.Field("b").U32() != 6 {
		t.Error("mixed")
	}
}

// FuzzLift: whatever stands in the memory, reading it ends in a value or a
// trap, and copies no more than the memory holds.
func FuzzLift(f *testing.F) {
	im := &abitest.Image{}
	at := im.Alloc(request.Size(), 8)
	im.Text(at, "git")
	im.Texts(at+8, "a", "b")
	f.Add(im.Bytes(), at)
	f.Add([]byte{}, uint32(0xffff_fff8))
	f.Fuzz(func(t *testing.T, m []byte, at uint32) {
		n, err := lift(bytesMemory(m), at)
		if err == nil && n > len(m) {
			t.Errorf("copied %d bytes of a memory of %d", n, len(m))
		}
	})
}
