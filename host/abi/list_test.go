package abi_test

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"

	. "github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/host/abi/abitest"
)

var item = Record("item", p("name", String), p("n", U64))

// lowerItems lowers a list of items through a hostile or an honest allocator.
func lowerItems(a *arena, names ...string) (err error) {
	defer Catch(&err)
	f := NewFunc("f", List(item), p("x", U32))
	l := NewLifter(a)
	ret := f.Return(&l, []uint64{1, 8})
	lo := NewLowerer(context.Background(), a)
	ret.Store(&lo, func(s Slot) {
		s.List(len(names), func(i int, e Slot) {
			e.Field("name").Text(names[i])
			e.Field("n").U64(uint64(i + 7))
		})
	})
	return nil
}

// TestListsAreStoredAfterTheirElements: the memory moves with every allocation,
// those of the elements too.
func TestListsAreStoredAfterTheirElements(t *testing.T) {
	a := &arena{mem: make(bytesMemory, 256), next: 64}
	if err := lowerItems(a, "one", "", "three"); err != nil {
		t.Fatal(err)
	}
	word := func(at uint32) uint32 { return binary.LittleEndian.Uint32(a.mem[at:]) }
	list := word(8)
	if list%8 != 0 || word(12) != 3 || a.next != 64+3*16+3+5 {
		t.Errorf("list of %d at %d; %d bytes asked for", word(12), list, a.next-64)
	}
	for i, want := range []string{"one", "", "three"} {
		at := list + uint32(16*i)
		if got := string(a.mem[word(at) : word(at)+word(at+4)]); got != want || word(at+8) != uint32(i+7) {
			t.Errorf("element %d: %q, %d", i, got, word(at+8))
		}
	}
	if err := lowerItems(a); err != nil || word(12) != 0 || word(8)%8 != 0 {
		t.Errorf("an empty list: %v", err)
	}
}

func TestListsBelieveNoPointer(t *testing.T) {
	for name, c := range map[string]struct {
		hand func(uint32) (uint32, error)
		want string
	}{
		"misaligned": {func(at uint32) (uint32, error) { return at + 4, nil }, "not aligned to 8"},
		"outside":    {func(uint32) (uint32, error) { return 248, nil }, "outside the memory"},
		"near 2^32":  {func(uint32) (uint32, error) { return 0xffff_fff8, nil }, "outside the memory"},
	} {
		if err := lowerItems(&arena{mem: make(bytesMemory, 256), next: 64, hand: c.hand}, "x"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

func TestClipNeverSplitsARune(t *testing.T) {
	im := &abitest.Image{}
	at := im.Alloc(8, 4)
	im.Text(at, "aé€😀")
	l := NewLifter(bytesMemory(im.Bytes()))
	for n, want := range map[int]string{0: "", 1: "a", 2: "a", 3: "aé", 5: "aé", 6: "aé€", 9: "aé€", 10: "aé€😀", 99: "aé€😀"} {
		l = NewLifter(bytesMemory(im.Bytes()))
		if got := l.At(at, String).Clip(n); got != want {
			t.Errorf("%d bytes: %q, want %q", n, got, want)
		}
	}
	clip := func(spoil func()) (err error) {
		defer Catch(&err)
		spoil()
		l := NewLifter(bytesMemory(im.Bytes()))
		l.At(at, String).Clip(1)
		return nil
	}
	if err := clip(func() { im.U8(at+8+9, 0xff) }); err == nil {
		t.Error("what is cut off need not be UTF-8")
	}
	if err := clip(func() { im.U32(at+4, 1<<20) }); err == nil {
		t.Error("what is cut off need not be in the memory")
	}
}

func TestTotalOfStrings(t *testing.T) {
	im := &abitest.Image{}
	at := im.Alloc(8, 4)
	im.Texts(at, "one", "", "three")
	l := NewLifter(bytesMemory(im.Bytes()))
	if n := l.At(at, List(String)).List().Total(); n != 8 {
		t.Errorf("%d bytes", n)
	}
	im.U32(at+8+4, 0xffff_ffff) // of a string that nobody has read yet
	l = NewLifter(bytesMemory(im.Bytes()))
	if n := l.At(at, List(String)).List().Total(); n != 0xffff_ffff+5 {
		t.Errorf("%d bytes", n)
	}
}
