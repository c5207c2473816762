package segment

import (
	"bytes"
	"errors"
	"testing"
)

func TestBatch(t *testing.T) {
	b := batchOf(t, 5, 9)
	if b.Len() != 5 || b.Last() != 9 {
		t.Errorf("%d records up to %d", b.Len(), b.Last())
	}
	wantNext := b.AddRecord(Record{Seq: 11})
	if wantNext == nil {
		t.Error("a record was taken out of order")
	}
	bad := errors.New("no")
	_, err := b.Add(0, func(buf []byte) ([]byte, error) { return append(buf, "half"...), bad })
	wantIs(t, err, bad)
	size := b.Size()
	b.Truncate(9)
	if b.Size() != size {
		t.Error("truncated to more than there is")
	}
	b.Truncate(2)
	if b.Last() != 6 {
		t.Errorf("last is %d", b.Last())
	}
	b.Truncate(0)
	if b.Len() != 0 || b.Size() != 0 {
		t.Error("not empty")
	}
}

// FuzzOpenFrame holds that no bytes make the frame decoder panic, and that what
// it accepts is exactly what closeFrame writes.
func FuzzOpenFrame(f *testing.F) {
	for seq := range uint64(5) {
		b := batchOf(f, seq+1, seq+1)
		f.Add(seq+1, b.buf)
	}
	f.Add(uint64(0), []byte{})
	f.Add(uint64(1)<<63, make([]byte, frameHeader))
	f.Fuzz(func(t *testing.T, seq uint64, frame []byte) {
		r, err := OpenFrame(seq, frame)
		if err != nil {
			return
		}
		again := append(make([]byte, frameHeader), r.Bytes...)
		closeFrame(r.Seq, r.Prev, again)
		if r.Seq != seq || !bytes.Equal(again, frame) {
			t.Errorf("%x reads as %+v, which is written as %x", frame, r, again)
		}
		if len(frame) > 0 {
			frame[len(frame)-1] ^= 1
			if _, err := OpenFrame(seq, frame); err == nil {
				t.Error("a changed frame verifies")
			}
			frame[len(frame)-1] ^= 1
		}
		if _, err := OpenFrame(seq+1, frame); err == nil {
			t.Error("a frame verifies under another seq")
		}
	})
}
