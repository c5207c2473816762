package bind

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/tetratelabs/wazero/api"
)

var errShort = errors.New("a section ends early or cannot be read")

// imported is one import of a module, as it stands in the file.
type imported struct {
	module, name string

	kind byte   // 0: a function
	typ  string // the type of a function, as signature spells it
	desc []byte // all behind the two names, as it was read
}

// The sections of a core module that tell what it imports.
const (
	typeSection   = 1
	importSection = 2
)

// readImports reads what a core module imports. Its import section stands at
// [start, end); both are 0 if it has none.
func readImports(module []byte) (all []imported, start, end int, err error) {
	var types []string
	r := &reader{b: module[min(8, len(module)):]}
	for len(r.b) > 0 && r.err == nil {
		from := len(module) - len(r.b)
		id, size := r.byte(), r.count()
		s := &reader{b: r.take(size)}
		switch id {
		case typeSection:
			types = s.types()
		case importSection:
			start, end = from, len(module)-len(r.b)
			all = s.imports(types)
		}
		if s.err != nil {
			return nil, 0, 0, s.err
		}
	}
	return all, start, end, r.err
}

// reader reads the binary format. After an error everything reads as zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() { r.b, r.err = nil, errShort }

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) count() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v >= 1<<32 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) name() string { return string(r.take(r.count())) }

// types reads the contents of a type section.
func (r *reader) types() (all []string) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		if r.byte() != 0x60 {
			r.fail()
		}
		params := spell(r.take(r.count()))
		all = append(all, params+"->"+spell(r.take(r.count())))
	}
	return all
}

// imports reads the contents of an import section.
func (r *reader) imports(types []string) (all []imported) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		i := imported{module: r.name(), name: r.name()}
		before := r.b
		i.kind = r.byte()
		switch i.kind {
		case 0:
			if index := r.count(); index < len(types) {
				i.typ = types[index]
			} else {
				r.fail()
			}
		case 1:
			r.byte()
			r.skipLimits()
		case 2:
			r.skipLimits()
		case 3:
			r.byte()
			r.byte()
		default:
			r.fail()
		}
		i.desc = before[:len(before)-len(r.b)]
		all = append(all, i)
	}
	return all
}

func (r *reader) skipLimits() {
	flags := r.byte()
	r.count()
	if flags&1 != 0 {
		r.count()
	}
}

// spell writes core types as "(i32,i64)".
func spell(types []api.ValueType) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = api.ValueTypeName(t)
	}
	return "(" + strings.Join(names, ",") + ")"
}

// signature writes a core signature as "(i32,i64)->()".
func signature(params, results []api.ValueType) string { return spell(params) + "->" + spell(results) }
