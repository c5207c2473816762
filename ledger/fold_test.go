package ledger

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"

	"github.com/astrid-os/processledger/ledger/event"
)

// chainFold is the smallest state that sees every event: their number and a
// hash over their bytes in order. It keeps a tip, as a real fold does.
type chainFold struct {
	committed, tip chain
	replayed       int
	discards       int
	failRestore    error
	rules          byte
}

var _ Snapshotter = (*chainFold)(nil)

type chain struct{ seq, hash uint64 }

func (c *chain) apply(e *event.Event) error {
	if e.Seq != c.seq+1 {
		return fmt.Errorf("event %d after event %d", e.Seq, c.seq)
	}
	h := fnv.New64a()
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], c.hash)
	h.Write(b[:])
	h.Write(event.Encode(e))
	c.seq, c.hash = e.Seq, h.Sum64()
	return nil
}

func (f *chainFold) Restore(opening []byte) error {
	*f = chainFold{failRestore: f.failRestore, rules: f.rules}
	if f.failRestore != nil {
		return f.failRestore
	}
	if opening == nil {
		return nil
	}
	if len(opening) != 16 {
		return fmt.Errorf("state of %d bytes", len(opening))
	}
	f.committed.seq = binary.LittleEndian.Uint64(opening)
	f.committed.hash = binary.LittleEndian.Uint64(opening[8:])
	f.tip = f.committed
	return nil
}

func (f *chainFold) Replay(e *event.Event) error {
	f.replayed++
	err := f.committed.apply(e)
	f.tip = f.committed
	return err
}

func (f *chainFold) Encode() []byte {
	b := binary.LittleEndian.AppendUint64(nil, f.committed.seq)
	return binary.LittleEndian.AppendUint64(b, f.committed.hash)
}

func (f *chainFold) Freeze() func() []byte {
	frozen := *f
	return frozen.Encode
}

func (f *chainFold) RestoreAt(state []byte, seq uint64) error {
	if err := f.Restore(state); err != nil {
		return err
	}
	if f.committed.seq != seq {
		return fmt.Errorf("state of %d, not of %d", f.committed.seq, seq)
	}
	return nil
}

func (f *chainFold) Rules() [32]byte { return [32]byte{f.rules} }

func (f *chainFold) Committed(es []*event.Event) {
	for _, e := range es {
		if err := f.committed.apply(e); err != nil {
			panic(err)
		}
	}
	if f.tip.seq < f.committed.seq {
		f.tip = f.committed
	}
}

func (f *chainFold) Discard() {
	f.discards++
	f.tip = f.committed
}
