package capsule

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Bounds of what a module may declare. wazero makes room for as many things as
// a count says, before it looks for the first of them: without a bound a file of
// fifteen bytes takes all of the daemon's memory, and a Go program that has none
// left is gone. The numbers are those of the browsers, far above what compilers
// make, but for the locals of all functions together, which is ours.
const (
	maxEntries   = 1_000_000 // of a section
	maxLocals    = 50_000    // of one function
	maxAllLocals = 8_000_000 // of all functions
)

// Sections of a core module whose counts are looked at here. The imports were
// read by then, and the tables are rewritten, see capTables.
const (
	customSection   = 0
	typeSection     = 1
	functionSection = 3
	globalSection   = 6
	exportSection   = 7
	elementSection  = 9
	codeSection     = 10
	dataSection     = 11
)

var errSections = errors.New("is not a valid module: a section ends early or cannot be read")

// checkCounts makes sure that no count of a module is larger than a bound and
// than what follows it. It returns the module, without its name section if that
// cannot be read: it serves messages only.
func checkCounts(module []byte) ([]byte, error) {
	out := bytes.Clone(module[:min(len(core), len(module))])
	for s := (&scan{b: module[len(out):]}); len(s.b) > 0; {
		before := s.b
		id := s.byte()
		body := &scan{b: s.take(s.count())}
		if s.err != nil {
			return nil, s.err
		}
		if id == customSection {
			if isName := body.name() == "name"; body.err == nil && isName {
				if body.names(); body.err != nil {
					continue
				}
			}
		}
		if body.section(id); body.err != nil {
			return nil, body.err
		}
		out = append(out, before[:len(before)-len(s.b)]...)
	}
	return out, nil
}

// section reads a section as far as something is made of its counts.
func (s *scan) section(id byte) {
	switch id {
	case typeSection:
		s.entries("types", s.functionType)
	case functionSection:
		s.entries("functions", func() { s.count() })
	case globalSection:
		s.entries("globals", func() { s.valueType(); s.byte(); s.expression() })
	case exportSection:
		s.entries("exports", func() { s.name(); s.byte(); s.count() })
	case elementSection:
		s.entries("element segments", s.elements)
	case codeSection:
		s.entries("functions", s.code)
	case dataSection:
		s.entries("data segments", s.data)
	}
}

// scan reads the binary format. After an error everything reads as zero.
type scan struct {
	b      []byte
	err    error
	locals uint64 // of the functions so far
}

func (s *scan) fail(err error) {
	if s.err == nil {
		s.b, s.err = nil, err
	}
}

func (s *scan) byte() byte {
	b := s.take(1)
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// count reads an unsigned number, or passes over a signed one.
func (s *scan) count() uint64 {
	v, n := binary.Uvarint(s.b)
	if n <= 0 {
		s.fail(errSections)
		return 0
	}
	s.b = s.b[n:]
	return v
}

func (s *scan) take(n uint64) []byte {
	if n > uint64(len(s.b)) {
		s.fail(errSections)
		return nil
	}
	b := s.b[:n]
	s.b = s.b[n:]
	return b
}

func (s *scan) name() string { return string(s.take(s.count())) }

// entries reads a vector of a section.
func (s *scan) entries(what string, each func()) {
	n := s.count()
	if n > maxEntries {
		s.fail(fmt.Errorf("has %d %s; at most %d are taken", n, what, maxEntries))
	}
	s.each(n, each)
}

// each reads so many things, each of which takes a byte at least.
func (s *scan) each(n uint64, each func()) {
	if n > uint64(len(s.b)) {
		s.fail(errSections)
	}
	for ; n > 0 && s.err == nil; n-- {
		each()
	}
}

func (s *scan) functionType() {
	if s.byte() != 0x60 {
		s.fail(errSections)
	}
	for range 2 { // parameters and results
		s.each(s.count(), s.valueType)
	}
}

// valueType reads a type, or the kind of a segment's elements. A type that takes
// more than a byte belongs to a proposal that is not served; who took it for one
// of a byte would read something else from there on than wazero does.
func (s *scan) valueType() {
	if b := s.byte(); b == 0x63 || b == 0x64 {
		s.fail(fmt.Errorf("is not a valid module: it has a type 0x%x", b))
	}
}

// expression passes over a constant expression. wazero copies no more of it than
// there is, so what is unknown here is left to it to refuse.
func (s *scan) expression() {
	for s.err == nil {
		switch op := s.byte(); op {
		case 0x0b: // end
			return
		case 0x41, 0x42, 0x23, 0xd0, 0xd2: // i32.const, i64.const, global.get, ref.null, ref.func
			s.count()
		case 0x43: // f32.const
			s.take(4)
		case 0x44: // f64.const
			s.take(8)
		case 0xfd: // v128.const
			s.count()
			s.take(16)
		case 0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e: // sums and products
		default:
			s.fail(fmt.Errorf("is not a valid module: a constant expression has the instruction 0x%x", op))
		}
	}
}

// elements reads an element segment. Its first number tells how it is written:
// bit 0: not into a table; bit 1: with a table or declared only; bit 2: as
// expressions and not as indices of functions.
func (s *scan) elements() {
	kind := s.count()
	if kind > 7 {
		s.fail(errSections)
	}
	if kind&1 == 0 {
		if kind&2 != 0 {
			s.count()
		}
		s.expression()
	}
	if kind&3 != 0 {
		s.valueType()
	}
	if kind&4 != 0 {
		s.each(s.count(), s.expression)
		return
	}
	s.each(s.count(), func() { s.count() })
}

// code reads what a function has for local variables.
func (s *scan) code() {
	body := &scan{b: s.take(s.count())}
	var locals uint64
	body.each(body.count(), func() {
		locals += min(body.count(), maxLocals+1)
		body.valueType()
	})
	s.locals += locals
	switch {
	case body.err != nil:
		s.fail(body.err)
	case locals > maxLocals:
		s.fail(fmt.Errorf("has a function of more than %d local variables", maxLocals))
	case s.locals > maxAllLocals:
		s.fail(fmt.Errorf("has more than %d local variables in all of its functions", maxAllLocals))
	}
}

func (s *scan) data() {
	kind := s.count()
	if kind == 2 {
		s.count()
	}
	if kind != 1 {
		s.expression()
	}
	s.take(s.count())
}

// names reads the contents of a name section: of modules, functions and locals.
func (s *scan) names() {
	for len(s.b) > 0 {
		id := s.byte()
		part := &scan{b: s.take(s.count())}
		named := func() { part.count(); part.name() }
		switch id {
		case 0:
			part.name()
		case 1:
			part.each(part.count(), named)
		case 2:
			part.each(part.count(), func() { part.count(); part.each(part.count(), named) })
		default:
			continue
		}
		if len(part.b) > 0 {
			part.fail(errSections)
		}
		if part.err != nil {
			s.fail(part.err)
		}
	}
}
