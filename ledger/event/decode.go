package event

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// decoder takes a message apart in one pass over its bytes, noting the last
// occurrence of each field number, and then sets each field it visits. What no
// visit asked for is unknown and kept.
type decoder struct {
	data []byte
	base int     // offset of data in the message around it, for errors
	at   int     // offset of data in the event, for what is cut from the origin
	from *origin // of the event: its body's decoder has it, its parts' point there
	own  origin
	name string // of the message, for errors
	err  error  // the first fault

	found   uint32 // bit set of the numbers on the wire
	visited uint32 // bit set of the numbers asked for
	beyond  bool   // there are numbers above maxNumber
	slots   [maxNumber + 1]slot

	list     int // offset of the occurrence that element visits next
	listSlot *slot
}

// origin is the bytes that a body and its parts are decoded from. All texts of
// an event are cut from one copy of them, and all byte fields from another.
type origin struct {
	raw  []byte
	at   int    // offset of raw in the event
	text string // raw, once a text was asked for
	blob []byte // raw, once bytes were asked for
}

func (o *origin) cutText(start, end int) string {
	if o.text == "" {
		o.text = string(o.raw)
	}
	return o.text[start-o.at : end-o.at]
}

// cutBytes returns bytes that nothing can be appended to in place.
func (o *origin) cutBytes(start, end int) []byte {
	if o.blob == nil {
		o.blob = bytes.Clone(o.raw)
	}
	return o.blob[start-o.at : end-o.at : end-o.at]
}

// maxNumber is the highest number a body's or a part's field may have.
const maxNumber = 31

// slot is what the wire has of one field number; valid if its bit is in found.
type slot struct {
	field     // the last occurrence: of scalars it counts alone
	first int // offset of the first occurrence
	count int
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// decodeBody sets m from data, which stands at offset at of the event.
func decodeBody(m message, data []byte, at int, from origin, name string) error {
	d := decoders.Get().(*decoder)
	d.own = from
	return d.decode(m, data, at, at, &d.own, name)
}

// decode sets m and gives the decoder back.
func (d *decoder) decode(m message, data []byte, base, at int, from *origin, name string) error {
	d.data, d.base, d.at, d.from, d.name = data, base, at, from, name
	d.err, d.found, d.visited, d.beyond = nil, 0, 0, false
	d.run(m)
	err := d.err
	d.data, d.from, d.own, d.err, d.listSlot = nil, nil, origin{}, nil, nil
	decoders.Put(d)
	return err
}

func (d *decoder) run(m message) {
	var f field
	for i := 0; i < len(d.data); i = f.end {
		if err := f.scan(d.data, i); err != nil {
			d.fail("", err)
			return
		}
		if f.num > maxNumber {
			d.beyond = true
			continue
		}
		s, bit := &d.slots[f.num], uint32(1)<<f.num
		if d.found&bit == 0 {
			d.found |= bit
			s.first, s.count = i, 0
		}
		s.field = f
		s.count++
	}
	m.fields(d)
	if d.err == nil && (d.beyond || d.found&^d.visited != 0) {
		m.keep(m.kept() + d.unvisited())
	}
}

// unvisited returns the fields that no visit asked for, in their order.
func (d *decoder) unvisited() string {
	var (
		b []byte
		f field
	)
	for i := 0; i < len(d.data); i = f.end {
		if f.scan(d.data, i) != nil {
			break // not reached: run has scanned it
		}
		if f.num > maxNumber || d.visited&(1<<f.num) == 0 {
			b = append(b, d.data[i:f.end]...)
		}
	}
	return string(b)
}

// fail notes the first fault, with names and offset as seen from the event.
func (d *decoder) fail(name string, err error) {
	var at *DecodeError
	if d.err != nil || !errors.As(err, &at) {
		return
	}
	field := d.name
	for _, part := range []string{name, at.Field} {
		if part != "" {
			field += "." + part
		}
	}
	d.err = &DecodeError{Offset: d.base + at.Offset, Field: field, Reason: at.Reason}
}

// take returns the field if it is on the wire and has the type.
func (d *decoder) take(n num, name string, t protowire.Type) *slot {
	d.visited |= 1 << n
	if d.found&(1<<n) == 0 || d.err != nil {
		return nil
	}
	s := &d.slots[n]
	if s.typ != t {
		d.fail(name, s.wrongType(""))
		return nil
	}
	return s
}

// each calls fn with every occurrence of a field that is there.
func (d *decoder) each(s *slot, name string, fn func(f field)) {
	f := s.field
	for i, left := s.first, s.count; left > 0; i = f.end {
		if err := f.scan(d.data, i); err != nil {
			return // not reached: run has scanned it
		}
		if f.num != s.num {
			continue
		}
		left--
		if f.typ != s.typ {
			d.fail(name, f.wrongType(""))
			return
		}
		fn(f)
	}
}

// string returns the text of a field.
func (d *decoder) string(f *field, name string) string {
	if !utf8.Valid(d.data[f.start:f.end]) {
		d.fail(name, f.error("", "not UTF-8"))
		return ""
	}
	return d.from.cutText(d.at+f.start, d.at+f.end)
}

func (d *decoder) text(n num, name string, p *string) {
	if s := d.take(n, name, protowire.BytesType); s != nil {
		*p = d.string(&s.field, name)
	}
}

func (d *decoder) texts(n num, name string, p *[]string) {
	if s := d.take(n, name, protowire.BytesType); s != nil {
		list := make([]string, 0, len(*p)+s.count)
		list = append(list, *p...)
		d.each(s, name, func(f field) { list = append(list, d.string(&f, name)) })
		*p = list
	}
}

func (d *decoder) blob(n num, name string, p *[]byte) {
	if s := d.take(n, name, protowire.BytesType); s != nil {
		*p = d.from.cutBytes(d.at+s.start, d.at+s.end)
	}
}

// idBytes returns the id in a field.
func (d *decoder) idBytes(f *field, name string) []byte {
	var id [16]byte
	if err := f.id(d.data, "", &id); err != nil {
		d.fail(name, err)
		return nil
	}
	return d.from.cutBytes(d.at+f.start, d.at+f.end)
}

func (d *decoder) id(n num, name string, p *[]byte) {
	if s := d.take(n, name, protowire.BytesType); s != nil {
		*p = d.idBytes(&s.field, name)
	}
}

func (d *decoder) ids(n num, name string, p *[][]byte) {
	if s := d.take(n, name, protowire.BytesType); s != nil {
		d.each(s, name, func(f field) { *p = append(*p, d.idBytes(&f, name)) })
	}
}

// uint returns the value of a varint, false if it is not there.
func (d *decoder) uint(n num, name string, limit uint64) (uint64, bool) {
	s := d.take(n, name, protowire.VarintType)
	if s == nil {
		return 0, false
	}
	if s.value > limit {
		d.fail(name, s.error("", fmt.Sprintf("%d is above %d", s.value, limit)))
		return 0, false
	}
	return s.value, true
}

func (d *decoder) u32(n num, name string, p *uint32) {
	if v, ok := d.uint(n, name, maxUint32); ok {
		*p = uint32(v)
	}
}

func (d *decoder) u64(n num, name string, p *uint64) {
	if v, ok := d.uint(n, name, maxUint64); ok {
		*p = v
	}
}

func (d *decoder) i64(n num, name string, p *int64) {
	if v, ok := d.uint(n, name, maxUint64); ok {
		*p = int64(v)
	}
}

func (d *decoder) wall(n num, name string, p *int64) { d.i64(n, name, p) }

func (d *decoder) flag(n num, name string, p *bool) {
	if v, ok := d.uint(n, name, 1); ok {
		*p = v == 1
	}
}

func (d *decoder) enum(n num, name string, p *uint32, _ names) {
	if v, ok := d.uint(n, name, maxEnum); ok {
		*p = uint32(v)
	}
}

func (d *decoder) optFlag(n num, name string, p **bool) {
	if v, ok := d.uint(n, name, 1); ok {
		*p = new(v == 1)
	}
}

func (d *decoder) optI32(n num, name string, p **int32) {
	v, ok := d.uint(n, name, maxUint64)
	if !ok {
		return
	}
	if int64(v) != int64(int32(v)) {
		d.fail(name, d.slots[n].error("", fmt.Sprintf("%d is not an int32", int64(v))))
		return
	}
	i := int32(v)
	*p = &i
}

func (d *decoder) optU32(n num, name string, p **uint32) {
	if v, ok := d.uint(n, name, maxUint32); ok {
		u := uint32(v)
		*p = &u
	}
}

func (d *decoder) optU64(n num, name string, p **uint64) {
	if v, ok := d.uint(n, name, maxUint64); ok {
		*p = &v
	}
}

// message sets a part from all its occurrences: protobuf merges them.
func (d *decoder) message(n num, name string, m message, _ bool) {
	if s := d.take(n, name, protowire.BytesType); s != nil {
		d.each(s, name, func(f field) { d.part(&f, name, m) })
	}
}

// part sets m from one occurrence.
func (d *decoder) part(f *field, name string, m message) {
	sub := decoders.Get().(*decoder)
	if err := sub.decode(m, d.data[f.start:f.end], f.start, d.at+f.start, d.from, name); err != nil {
		d.fail("", err)
	}
}

func (d *decoder) has(n num, name string, _ bool) bool {
	d.visited |= 1 << n
	return d.found&(1<<n) != 0 && d.err == nil
}

func (d *decoder) open(n num, name string, _ int) int {
	s := d.take(n, name, protowire.BytesType)
	if s == nil {
		return 0
	}
	d.listSlot, d.list = s, s.first
	return s.count
}

func (d *decoder) element(_ num, name string, _ int, m message) {
	var f field
	for d.err == nil {
		if err := f.scan(d.data, d.list); err != nil {
			return // not reached: run has scanned it
		}
		d.list = f.end
		if f.num != d.listSlot.num {
			continue
		}
		if f.typ != d.listSlot.typ {
			d.fail(name, f.wrongType(""))
			return
		}
		d.part(&f, name, m)
		return
	}
}

func (d *decoder) close() {}
