package projector

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/astrid-os/processledger/ledger/event"
)

// writer appends fields; each method but msg and strs leaves out a zero value.
type writer struct{ b []byte }

func (w *writer) uint(n protowire.Number, v uint64) {
	if v != 0 {
		w.b = protowire.AppendTag(w.b, n, protowire.VarintType)
		w.b = protowire.AppendVarint(w.b, v)
	}
}

func (w *writer) int(n protowire.Number, v int64) { w.uint(n, uint64(v)) }

func (w *writer) bool(n protowire.Number, v bool) { w.uint(n, protowire.EncodeBool(v)) }

func (w *writer) str(n protowire.Number, v string) {
	if v != "" {
		w.b = protowire.AppendTag(w.b, n, protowire.BytesType)
		w.b = protowire.AppendString(w.b, v)
	}
}

// strs writes a list: empty members stay in.
func (w *writer) strs(n protowire.Number, vs []string) {
	for _, v := range vs {
		w.b = protowire.AppendTag(w.b, n, protowire.BytesType)
		w.b = protowire.AppendString(w.b, v)
	}
}

func (w *writer) bytes(n protowire.Number, v []byte) {
	if len(v) != 0 {
		w.b = protowire.AppendTag(w.b, n, protowire.BytesType)
		w.b = protowire.AppendBytes(w.b, v)
	}
}

func (w *writer) id(n protowire.Number, id [16]byte) {
	if id != ([16]byte{}) {
		w.bytes(n, id[:])
	}
}

// msg writes a message, an empty one too.
func (w *writer) msg(n protowire.Number, encode func(*writer)) {
	w.b = protowire.AppendTag(w.b, n, protowire.BytesType)
	at := len(w.b)
	encode(w)
	w.putLength(at)
}

// putLength puts the length of what was appended from at on in front of it. To
// move those bytes costs less than to encode them elsewhere first.
func (w *writer) putLength(at int) {
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(len(w.b)-at))
	w.b = append(w.b, length[:n]...)
	copy(w.b[at+n:], w.b[at:len(w.b)-n])
	copy(w.b[at:], length[:n])
}

func (w *writer) moment(n protowire.Number, m Moment) {
	if m != (Moment{}) {
		w.msg(n, m.encode)
	}
}

func (w *writer) step(n protowire.Number, st *Step) {
	if *st == (Step{}) {
		return
	}
	w.msg(n, func(w *writer) {
		w.uint(1, st.Requested)
		w.moment(2, st.Sent)
		w.bool(3, st.Delivered)
	})
}

func (w *writer) actor(n protowire.Number, a event.Actor) {
	if a == (event.Actor{}) {
		return
	}
	w.msg(n, func(w *writer) {
		w.uint(1, uint64(a.Kind))
		w.uint(2, uint64(a.UID))
		w.str(3, a.Role)
	})
}

func (w *writer) orders(n protowire.Number, o event.Orders) {
	if o == (event.Orders{}) {
		return
	}
	w.msg(n, func(w *writer) {
		w.int(1, o.LifetimeNano)
		w.int(2, o.GraceNano)
		w.int(3, o.OrphanNano)
	})
}

func (w *writer) identity(n protowire.Number, i *event.Identity) {
	if i.PID == 0 && i.StartTicks == 0 && len(i.PidfsHandle) == 0 && i.PidNamespace == 0 {
		return
	}
	w.msg(n, func(w *writer) {
		w.uint(1, uint64(i.PID))
		w.uint(2, i.StartTicks)
		w.bytes(3, i.PidfsHandle)
		w.uint(4, i.PidNamespace)
	})
}

// exit writes code or signal also where it is 0.
func (w *writer) exit(n protowire.Number, e *event.Exit) {
	if e == nil {
		return
	}
	w.msg(n, func(w *writer) {
		w.present(1, e.Code)
		w.present(2, e.Signal)
	})
}

func (w *writer) present(n protowire.Number, v *int32) {
	if v != nil {
		w.b = protowire.AppendTag(w.b, n, protowire.VarintType)
		w.b = protowire.AppendVarint(w.b, protowire.EncodeZigZag(int64(*v)))
	}
}
