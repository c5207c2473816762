package event

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// encoder appends each field it visits. Fields that are zero take no bytes
// (proto3); what event.proto calls optional is written whenever it is there.
type encoder struct {
	b   []byte
	err error // the first field that could not be read back; see Check
}

func (w *encoder) refuse(name, why string) {
	if w.err == nil {
		w.err = fmt.Errorf("%w: %s is %s", ErrInvalid, name, why)
	}
}

func (w *encoder) uvarint(n num, v uint64) {
	w.b = protowire.AppendTag(w.b, n, protowire.VarintType)
	w.b = protowire.AppendVarint(w.b, v)
}

func (w *encoder) string(n num, name, s string) {
	if !utf8.ValidString(s) {
		w.refuse(name, "not UTF-8")
	}
	w.b = protowire.AppendTag(w.b, n, protowire.BytesType)
	w.b = protowire.AppendString(w.b, s)
}

func (w *encoder) bytes(n num, s []byte) {
	w.b = protowire.AppendTag(w.b, n, protowire.BytesType)
	w.b = protowire.AppendBytes(w.b, s)
}

func (w *encoder) fixedID(n num, id [16]byte) {
	if id != [16]byte{} {
		w.bytes(n, id[:])
	}
}

func (w *encoder) text(n num, name string, p *string) {
	if *p != "" {
		w.string(n, name, *p)
	}
}

func (w *encoder) texts(n num, name string, p *[]string) {
	for _, s := range *p {
		w.string(n, name, s)
	}
}

func (w *encoder) blob(n num, _ string, p *[]byte) {
	if len(*p) > 0 {
		w.bytes(n, *p)
	}
}

func (w *encoder) id(n num, name string, p *[]byte) {
	if len(*p) > 0 {
		w.oneID(n, name, *p)
	}
}

func (w *encoder) ids(n num, name string, p *[][]byte) {
	for _, id := range *p {
		w.oneID(n, name, id)
	}
}

func (w *encoder) oneID(n num, name string, id []byte) {
	if len(id) != 16 {
		w.refuse(name, fmt.Sprintf("%d bytes long, an id has 16", len(id)))
	}
	w.bytes(n, id)
}

func (w *encoder) u32(n num, _ string, p *uint32) {
	if *p != 0 {
		w.uvarint(n, uint64(*p))
	}
}

func (w *encoder) u64(n num, _ string, p *uint64) {
	if *p != 0 {
		w.uvarint(n, *p)
	}
}

func (w *encoder) i64(n num, _ string, p *int64) {
	if *p != 0 {
		w.uvarint(n, uint64(*p))
	}
}

func (w *encoder) wall(n num, name string, p *int64) { w.i64(n, name, p) }

func (w *encoder) flag(n num, _ string, p *bool) {
	if *p {
		w.uvarint(n, 1)
	}
}

func (w *encoder) enum(n num, name string, p *uint32, _ names) {
	if *p > maxEnum {
		w.refuse(name, "above 2^31-1")
	}
	w.u32(n, name, p)
}

func (w *encoder) optFlag(n num, _ string, p **bool) {
	switch {
	case *p == nil:
	case **p:
		w.uvarint(n, 1)
	default:
		w.uvarint(n, 0)
	}
}

func (w *encoder) optI32(n num, _ string, p **int32) {
	if *p != nil {
		w.uvarint(n, uint64(int64(**p)))
	}
}

func (w *encoder) optU32(n num, _ string, p **uint32) {
	if *p != nil {
		w.uvarint(n, uint64(**p))
	}
}

func (w *encoder) optU64(n num, _ string, p **uint64) {
	if *p != nil {
		w.uvarint(n, **p)
	}
}

func (w *encoder) message(n num, _ string, m message, always bool) {
	mark := len(w.b)
	w.b = protowire.AppendTag(w.b, n, protowire.BytesType)
	w.b = append(w.b, 0) // the length, if it fits in one byte
	start := len(w.b)
	m.fields(w)
	w.b = append(w.b, m.kept()...)
	if len(w.b) == start && !always {
		w.b = w.b[:mark]
		return
	}
	w.setLength(start)
}

// setLength writes the length of what stands from start on before it, where
// one byte was left for it.
func (w *encoder) setLength(start int) {
	size := len(w.b) - start
	if size < 0x80 {
		w.b[start-1] = byte(size)
		return
	}
	more := protowire.SizeVarint(uint64(size)) - 1
	for range more {
		w.b = append(w.b, 0)
	}
	copy(w.b[start+more:], w.b[start:start+size])
	protowire.AppendVarint(w.b[:start-1], uint64(size))
}

func (w *encoder) has(_ num, _ string, set bool) bool { return set }

func (w *encoder) open(_ num, _ string, have int) int { return have }

func (w *encoder) element(n num, name string, _ int, m message) { w.message(n, name, m, true) }

func (w *encoder) close() {}
