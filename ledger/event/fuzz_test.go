package event

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func addVectors(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(v.wire)
	}
	for _, c := range refusals {
		f.Add(c.wire)
	}
}

// FuzzDecode: any bytes are decoded or refused; what was decoded encodes to
// bytes that decode to the same event and encode to themselves, and to no
// fewer unknown bytes.
func FuzzDecode(f *testing.F) {
	addVectors(f)
	f.Fuzz(func(t *testing.T, wire []byte) {
		before := bytes.Clone(wire)
		e, err := Decode(wire)
		if err != nil {
			if e != nil {
				t.Fatal("an event and an error")
			}
			return
		}
		clear(wire) // nothing may point into it
		once := Encode(e)
		again, err := Decode(once)
		if err != nil {
			t.Fatalf("%x encodes to %x: %v", before, once, err)
		}
		if d := cmp.Diff(e, again, compareAll); d != "" {
			t.Fatalf("%x encodes to %x (-once +again):\n%s", before, once, d)
		}
		if twice := Encode(again); !bytes.Equal(once, twice) {
			t.Fatalf("%x, then %x", once, twice)
		}
		if again.unknown != e.unknown || again.Body.kept() != e.Body.kept() {
			t.Fatal("unknown fields were lost")
		}
		if len(once) <= MaxEncoded && Check(e) != nil {
			t.Fatalf("decoded, but %v", Check(e))
		}
	})
}

// FuzzDecodeHeader: the header of any bytes that decode is the one the whole
// event has.
func FuzzDecodeHeader(f *testing.F) {
	addVectors(f)
	f.Fuzz(func(t *testing.T, wire []byte) {
		whole, err := Decode(wire)
		head, headErr := DecodeHeader(wire)
		if err != nil {
			return // the fault may be in the body, which the header leaves alone
		}
		if headErr != nil {
			t.Fatalf("decodes, but its header does not: %v", headErr)
		}
		if head.Header != whole.Header || head.Scope != whole.Scope || head.Kind() != whole.Kind() || head.unknown != whole.unknown {
			t.Fatalf("header %+v of %+v", head, whole)
		}
	})
}
