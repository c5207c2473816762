package event

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// The largest values a varint of each type may have. Wider ones are refused
// instead of cut, as other protobuf readers do: nothing here writes them.
const (
	maxUint64 = math.MaxUint64
	maxUint32 = math.MaxUint32
	maxEnum   = math.MaxInt32
)

// DecodeError says where bytes are not what event.proto describes.
type DecodeError struct {
	// Offset counts the event's bytes up to the field that is wrong.
	Offset int

	// Field names it, with the kind and parts it is in:
	// "spawn.requested.limits.pids". Empty if the fault has no field.
	Field string

	// Reason says what is wrong with it.
	Reason string
}

// Error says where the bytes are wrong, and how.
func (e *DecodeError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("decode event: at byte %d: %s", e.Offset, e.Reason)
	}
	return fmt.Sprintf("decode event: %s at byte %d: %s", e.Field, e.Offset, e.Reason)
}

// field is one field of a message as it stands on the wire.
type field struct {
	num   num
	typ   protowire.Type
	at    int    // where its tag starts
	start int    // where its value starts, after the length if it has one
	end   int    // where the next field starts
	value uint64 // of a varint
}

// scan reads the field at offset i of b. Groups are refused, which also keeps
// reading free of recursion.
func (f *field) scan(b []byte, i int) error {
	f.at = i
	tag, n := uint64(b[i]), 1
	if tag >= 0x80 {
		if tag, n = protowire.ConsumeVarint(b[i:]); n < 0 {
			return f.broken(n)
		}
	}
	f.num, f.typ, f.start = num(tag>>3), protowire.Type(tag&7), i+n
	if tag>>3 == 0 || tag>>3 > uint64(protowire.MaxValidNumber) {
		return f.error("", fmt.Sprintf("field number %d", tag>>3))
	}
	switch f.typ {
	case protowire.VarintType:
		if f.value, n = number(b, f.start); n < 0 {
			return f.broken(n)
		}
		f.end = f.start + n
	case protowire.BytesType:
		var size uint64
		if size, n = number(b, f.start); n < 0 {
			return f.broken(n)
		}
		f.start += n
		if size > uint64(len(b)-f.start) {
			return f.error("", fmt.Sprintf("field %d is %d bytes long, only %d are left", f.num, size, len(b)-f.start))
		}
		f.end = f.start + int(size)
	case protowire.Fixed32Type, protowire.Fixed64Type:
		size := 4
		if f.typ == protowire.Fixed64Type {
			size = 8
		}
		if f.end = f.start + size; f.end > len(b) {
			return f.broken(-1)
		}
	default:
		return f.error("", fmt.Sprintf("field %d has wire type %d", f.num, f.typ))
	}
	return nil
}

// number reads the varint at offset i of b: most have one byte, and to look for
// that here saves the call. n is as that of protowire's.
func number(b []byte, i int) (v uint64, n int) {
	if i < len(b) && b[i] < 0x80 {
		return uint64(b[i]), 1
	}
	return protowire.ConsumeVarint(b[i:])
}

func (f *field) error(name, reason string) error {
	return &DecodeError{Offset: f.at, Field: name, Reason: reason}
}

func (f *field) broken(code int) error {
	return f.error("", protowire.ParseError(code).Error())
}

func (f *field) wrongType(name string) error {
	return f.error(name, fmt.Sprintf("wire type %d", f.typ))
}

// uint returns the value of a varint that may be at most limit.
func (f *field) uint(name string, limit uint64) (uint64, error) {
	switch {
	case f.typ != protowire.VarintType:
		return 0, f.wrongType(name)
	case f.value > limit:
		return 0, f.error(name, fmt.Sprintf("%d is above %d", f.value, limit))
	}
	return f.value, nil
}

// id copies the 16 bytes of the field to p.
func (f *field) id(b []byte, name string, p *[16]byte) error {
	switch {
	case f.typ != protowire.BytesType:
		return f.wrongType(name)
	case f.end-f.start != 16:
		return f.error(name, fmt.Sprintf("%d bytes long, an id has 16", f.end-f.start))
	}
	copy(p[:], b[f.start:f.end])
	return nil
}
