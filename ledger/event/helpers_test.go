package event

import (
	"encoding/binary"
	"fmt"
	"reflect"

	"github.com/oklog/ulid/v2"
)

// A source gives values for fields. nth counts the fields of one event, so
// that a deterministic source can give each a value of its own.
type source interface {
	number(nth int, bits int) uint64
	text(nth int) string
	bytes(nth int, size int) []byte // size < 0: any
	length(nth int) int             // of a list; 0 or a nil pointer is absence
}

// filler sets every exported field of a struct from a source.
type filler struct {
	source
	nth int
}

// event returns an event of the kind with every field set from the source.
func (f *filler) event(k Kind) *Event {
	e := &Event{Body: newBody(k)}
	f.fill(reflect.ValueOf(&e.Header).Elem())
	f.fill(reflect.ValueOf(&e.Scope).Elem())
	f.fill(reflect.ValueOf(e.Body).Elem())
	if u, ok := e.Body.(*Unknown); ok {
		u.Of, u.Raw = k, []byte{0x08, 0x01}
	}
	return e
}

func (f *filler) fill(v reflect.Value) {
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() {
			f.nth++
			f.set(v.Field(i), v.Type().Field(i).Name)
		}
	}
}

func (f *filler) set(v reflect.Value, name string) {
	size := -1
	if name == "Cancel" || name == "Handles" {
		size = 16
	}
	switch x := v.Addr().Interface().(type) {
	case *ulid.ULID:
		*x = ulid.ULID(f.bytes(f.nth, 16))
		return
	case *[16]byte:
		*x = [16]byte(f.bytes(f.nth, 16))
		return
	case *[]byte:
		if b := f.bytes(f.nth, size); len(b) > 0 {
			*x = b
		}
		return
	case *[][]byte:
		for range f.length(f.nth) {
			*x = append(*x, f.bytes(f.nth, size))
		}
		return
	case *[]string:
		for range f.length(f.nth) {
			f.nth++
			*x = append(*x, f.text(f.nth))
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(f.text(f.nth))
	case reflect.Bool:
		v.SetBool(f.number(f.nth, 1) == 1)
	case reflect.Uint32:
		bits := 32
		if v.Type() != reflect.TypeFor[uint32]() {
			bits = 31 // an enum
		}
		v.SetUint(f.number(f.nth, bits))
	case reflect.Uint64:
		v.SetUint(f.number(f.nth, 64))
	case reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.number(f.nth, v.Type().Bits())))
	case reflect.Pointer:
		if f.length(f.nth) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			f.set(v.Elem(), name)
		}
	case reflect.Struct:
		f.fill(v)
	case reflect.Slice:
		for range f.length(f.nth) {
			one := reflect.New(v.Type().Elem()).Elem()
			f.fill(one)
			v.Set(reflect.Append(v, one))
		}
	default:
		panic(fmt.Sprintf("no filler for %s %s", name, v.Type()))
	}
}

// counted is the source of the vectors: every field is set, each with a value
// of its own that is plain to see.
type counted struct{}

func (counted) number(nth, bits int) uint64 {
	if bits == 31 || bits == 1 {
		return 1
	}
	return uint64(nth)*1000 + 7
}
func (counted) text(nth int) string { return fmt.Sprintf("text-%d", nth) }
func (counted) length(int) int      { return 2 }
func (counted) bytes(nth, size int) []byte {
	if size < 0 {
		size = 4
	}
	b := make([]byte, size)
	binary.BigEndian.PutUint16(b[size-2:], uint16(nth))
	return b
}
