// Package abitest is for tests: it assembles small WebAssembly modules, spells
// layouts as text, and encodes values as a guest would, so that hostile guests
// can be written in a few lines and without a compiler.
package abitest

import (
	"encoding/binary"
	"slices"

	"github.com/tetratelabs/wazero/api"
)

// The core types, for signatures.
const (
	I32 = api.ValueTypeI32
	I64 = api.ValueTypeI64
)

// Sig is a core function type.
type Sig struct{ Params, Results []api.ValueType }

// Types spells core types: "ii" is two i32, "l" one i64.
func Types(s string) []api.ValueType {
	var out []api.ValueType
	for _, c := range s {
		if c == 'l' {
			out = append(out, I64)
		} else {
			out = append(out, I32)
		}
	}
	return out
}

// Module is a module being put together.
type Module struct {
	types    []Sig
	imports  []imported
	funcs    []function
	exports  []export
	data     []segment
	min, max uint32 // pages; max 0: none
	noMemory bool
	table    []byte // of the table section; nil: no table
}

type imported struct {
	module, name string
	sig          int
	raw          []byte // import kind and type, for what is not a function
}

type function struct {
	sig    int
	locals int // all i32
	body   []byte
}

type export struct {
	name  string
	kind  byte
	index uint32
}

type segment struct {
	at   uint32
	data []byte
}

// New returns a module with a memory of two pages, exported as "memory".
func New() *Module { return &Module{min: 2} }

// Memory sets the size of the memory in pages; max 0 means no maximum.
func (m *Module) Memory(min, max uint32) { m.min, m.max = min, max }

// NoMemory leaves the memory out.
func (m *Module) NoMemory() { m.noMemory = true }

// Table gives the module one funcref table, min elements long, without a
// maximum.
func (m *Module) Table(min uint32) {
	m.table = append([]byte{1, 0x70, 0}, uleb(uint64(min))...)
}

func (m *Module) sig(params, results string) int {
	s := Sig{Types(params), Types(results)}
	i := slices.IndexFunc(m.types, func(t Sig) bool {
		return slices.Equal(t.Params, s.Params) && slices.Equal(t.Results, s.Results)
	})
	if i < 0 {
		i = len(m.types)
		m.types = append(m.types, s)
	}
	return i
}

// Import adds an imported function and returns its index. All imports come
// before the first Func.
func (m *Module) Import(module, name, params, results string) uint32 {
	m.imports = append(m.imports, imported{module: module, name: name, sig: m.sig(params, results)})
	return uint32(len(m.imports) - 1)
}

// ImportGlobal adds an imported immutable i32 global. It takes no function's
// index, so it must be the last import.
func (m *Module) ImportGlobal(module, name string) {
	m.imports = append(m.imports, imported{module: module, name: name, raw: []byte{3, I32, 0}})
}

// Func adds a function with that many i32 locals beyond its parameters, and
// exports it if it has a name. It returns its index.
func (m *Module) Func(name, params, results string, locals int, code ...[]byte) uint32 {
	m.funcs = append(m.funcs, function{sig: m.sig(params, results), locals: locals, body: slices.Concat(code...)})
	index := uint32(m.imported() + len(m.funcs) - 1)
	if name != "" {
		m.exports = append(m.exports, export{name: name, kind: 0, index: index})
	}
	return index
}

// imported returns the number of imported functions.
func (m *Module) imported() int {
	n := 0
	for _, i := range m.imports {
		if i.raw == nil {
			n++
		}
	}
	return n
}

// Data puts bytes into the memory at an address.
func (m *Module) Data(at uint32, b []byte) { m.data = append(m.data, segment{at, b}) }

// Bytes returns the module in binary form.
func (m *Module) Bytes() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, n int, items []byte) {
		if n == 0 {
			return
		}
		body := append(uleb(uint64(n)), items...)
		out = append(append(append(out, id), uleb(uint64(len(body)))...), body...)
	}
	section(1, len(m.types), m.typeItems())
	section(2, len(m.imports), m.importItems())
	var decls []byte
	for _, f := range m.funcs {
		decls = append(decls, uleb(uint64(f.sig))...)
	}
	section(3, len(m.funcs), decls)
	if m.table != nil {
		section(4, 1, m.table[1:])
	}
	exports := m.exports
	if !m.noMemory {
		section(5, 1, m.memoryItem())
		exports = append(slices.Clone(exports), export{name: "memory", kind: 2})
	}
	var items []byte
	for _, e := range exports {
		items = append(append(append(items, name(e.name)...), e.kind), uleb(uint64(e.index))...)
	}
	section(7, len(exports), items)
	section(10, len(m.funcs), m.codeItems())
	section(11, len(m.data), m.dataItems())
	return out
}

func (m *Module) typeItems() (b []byte) {
	for _, t := range m.types {
		b = append(append(append(b, 0x60), uleb(uint64(len(t.Params)))...), t.Params...)
		b = append(append(b, uleb(uint64(len(t.Results)))...), t.Results...)
	}
	return b
}

func (m *Module) importItems() (b []byte) {
	for _, i := range m.imports {
		b = append(append(b, name(i.module)...), name(i.name)...)
		if i.raw != nil {
			b = append(b, i.raw...)
		} else {
			b = append(append(b, 0), uleb(uint64(i.sig))...)
		}
	}
	return b
}

func (m *Module) memoryItem() []byte {
	if m.max == 0 {
		return append([]byte{0}, uleb(uint64(m.min))...)
	}
	return append(append([]byte{1}, uleb(uint64(m.min))...), uleb(uint64(m.max))...)
}

func (m *Module) codeItems() (b []byte) {
	for _, f := range m.funcs {
		body := []byte{0}
		if f.locals > 0 {
			body = append(append([]byte{1}, uleb(uint64(f.locals))...), I32)
		}
		body = append(append(body, f.body...), 0x0b)
		b = append(append(b, uleb(uint64(len(body)))...), body...)
	}
	return b
}

func (m *Module) dataItems() (b []byte) {
	for _, d := range m.data {
		b = append(append(append(b, 0), Const(d.at)...), 0x0b)
		b = append(append(b, uleb(uint64(len(d.data)))...), d.data...)
	}
	return b
}

func name(s string) []byte { return append(uleb(uint64(len(s))), s...) }

func uleb(v uint64) []byte { return binary.AppendUvarint(nil, v) }

func sleb(v int64) (b []byte) {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && c&0x40 == 0) || (v == -1 && c&0x40 != 0) {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}
