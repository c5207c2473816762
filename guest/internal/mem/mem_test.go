//go:build !wasip1

package mem

import (
	"slices"
	"testing"
)

func TestWhatWasStoredIsRead(t *testing.T) {
	k := NewBlock(96)
	k.U8(0, 7)
	k.U32(4, 1<<31)
	k.U64(8, 1<<63)
	k.Text(16, "text")
	k.Bytes(24, []byte{0xff, 0})
	k.MaybeText(32, "some")
	k.MaybeText(44, "")
	k.MaybeU32(56, 9)
	k.MaybeU32(64, 0)
	k.MaybeU64(72, 1<<40)
	list := k.List(88, 3, 8)
	for i, s := range []string{"a", "", "c"} {
		list.Text(uint32(8*i), s)
	}
	v := k.View()
	if v.U8(0) != 7 || !v.Bool(0) || v.U32(4) != 1<<31 || v.U64(8) != 1<<63 || v.Text(16) != "text" || !slices.Equal(v.Bytes(24), []byte{0xff, 0}) {
		t.Error("numbers and strings")
	}
	if s, some := v.MaybeText(32); s != "some" || !some {
		t.Errorf("option<string> %q, %t", s, some)
	}
	if s, some := v.MaybeText(44); s != "" || some {
		t.Errorf("option<string> %q, %t", s, some)
	}
	if n := v.MaybeU32(56); n == nil || *n != 9 || v.MaybeU32(64) != nil {
		t.Error("option<u32>")
	}
	if n := v.MaybeU64(72); n == nil || *n != 1<<40 {
		t.Error("option<u64>")
	}
	var texts []string
	for _, e := range v.List(88, 8) {
		texts = append(texts, e.Text(0))
	}
	if !slices.Equal(texts, []string{"a", "", "c"}) {
		t.Errorf("list<string> %q", texts)
	}
}

// TestTakenOnce holds that memory is given away when it is read.
func TestTakenOnce(t *testing.T) {
	k := NewBlock(8)
	Give(k, 0, []byte("once"))
	if v := k.View(); v.Text(0) != "once" || v.Text(0) != "" {
		t.Error("a string was read twice")
	}
	if Call(16, func(uint32) { t.Error("there is no host") }) != nil {
		t.Error("a host that is not there has answered")
	}
}
