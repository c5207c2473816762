package event

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// describer lists what a message says of its fields, as event.proto would
// declare them, and the address of each value.
type describer struct {
	fields []string
	shown  []string // the types as readers of JSON see them
	nums   []num
	values []any
	parts  []message
}

func (d *describer) add(n num, name, typ string, p any) {
	d.fields = append(d.fields, fmt.Sprintf("%s %s = %d", typ, name, n))
	d.shown = append(d.shown, strings.Replace(typ, "repeated", "list of", 1))
	d.nums = append(d.nums, n)
	d.values = append(d.values, p)
}

func (d *describer) text(n num, name string, p *string)    { d.add(n, name, "string", p) }
func (d *describer) texts(n num, name string, p *[]string) { d.add(n, name, "repeated string", p) }
func (d *describer) u32(n num, name string, p *uint32)     { d.add(n, name, "uint32", p) }
func (d *describer) u64(n num, name string, p *uint64)     { d.add(n, name, "uint64", p) }
func (d *describer) i64(n num, name string, p *int64)      { d.add(n, name, "int64", p) }
func (d *describer) flag(n num, name string, p *bool)      { d.add(n, name, "bool", p) }
func (d *describer) optFlag(n num, name string, p **bool)  { d.add(n, name, "optional bool", p) }
func (d *describer) optI32(n num, name string, p **int32)  { d.add(n, name, "optional int32", p) }
func (d *describer) optU32(n num, name string, p **uint32) { d.add(n, name, "optional uint32", p) }
func (d *describer) optU64(n num, name string, p **uint64) { d.add(n, name, "optional uint64", p) }
func (d *describer) close()                                {}
func (d *describer) has(_ num, _ string, _ bool) bool      { return true }
func (d *describer) open(_ num, _ string, _ int) int       { return 1 }
func (d *describer) element(n num, name string, _ int, m message) {
	d.part(n, name, "repeated", m)
}

func (d *describer) show(typ string) { d.shown[len(d.shown)-1] = typ }

func (d *describer) blob(n num, name string, p *[]byte) {
	d.add(n, name, "bytes", p)
	d.show("hex")
}

func (d *describer) id(n num, name string, p *[]byte) {
	d.add(n, name, "bytes", p)
	d.show("ULID")
}

func (d *describer) ids(n num, name string, p *[][]byte) {
	d.add(n, name, "repeated bytes", p)
	d.show("list of ULID")
}

func (d *describer) wall(n num, name string, p *int64) {
	d.add(n, name, "int64", p)
	d.show("time")
}

func (d *describer) enum(n num, name string, p *uint32, e names) {
	d.add(n, name, "enum", p)
	d.show(strings.Join(e.values[1:], ", "))
}

func (d *describer) message(n num, name string, m message, always bool) {
	label := ""
	if always {
		label = "optional"
	}
	d.part(n, name, label, m)
}

func (d *describer) part(n num, name, label string, m message) {
	typ := strings.TrimSpace(label + " " + reflect.TypeOf(m).Elem().Name())
	d.add(n, name, typ, m)
	d.parts = append(d.parts, m)
}

func describe(m message) *describer {
	d := new(describer)
	m.fields(d)
	return d
}

// TestProtoDescribesMessages: event.proto declares the fields that the bodies
// and their parts describe, with the same numbers, names and types, and every
// exported field of the Go struct is among them, in the order of the numbers.
func TestProtoDescribesMessages(t *testing.T) {
	file := compileProto(t)
	seen := map[string]bool{"Event": true}
	var check func(m message)
	check = func(m message) {
		typ := reflect.TypeOf(m).Elem()
		if seen[typ.Name()] {
			return
		}
		seen[typ.Name()] = true
		d := describe(m)
		declared := file.Messages().ByName(protoreflect.Name(typ.Name()))
		if declared == nil {
			t.Errorf("event.proto has no message %s", typ.Name())
			return
		}
		if got, want := strings.Join(d.fields, "\n"), strings.Join(declarations(declared), "\n"); got != want {
			t.Errorf("%s: the code describes\n%s\nevent.proto declares\n%s", typ.Name(), got, want)
		}
		for i, n := range d.nums {
			if n > maxNumber || i > 0 && n <= d.nums[i-1] {
				t.Errorf("%s: field %d is out of order or above %d", typ.Name(), n, maxNumber)
			}
		}
		if n := typ.NumField() - 1; len(d.fields) != n { // less rest
			t.Errorf("%s has %d fields, describes %d", typ.Name(), n, len(d.fields))
		}
		for _, part := range d.parts {
			check(part)
		}
	}
	for _, k := range Kinds() {
		check(newBody(k))
	}
	if n := file.Messages().Len(); n != len(seen) {
		t.Errorf("event.proto has %d messages, the code %d", n, len(seen))
	}
}

func declarations(m protoreflect.MessageDescriptor) []string {
	var out []string
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		typ := f.Kind().String()
		if f.Message() != nil {
			typ = string(f.Message().Name())
		}
		if f.IsList() {
			typ = "repeated " + typ
		} else if f.HasOptionalKeyword() {
			typ = "optional " + typ
		}
		out = append(out, fmt.Sprintf("%s %s = %d", typ, f.Name(), f.Number()))
	}
	return out
}

// TestProtoEnums: event.proto has the names that the code gives to numbers.
func TestProtoEnums(t *testing.T) {
	file := compileProto(t)
	for name, want := range map[protoreflect.Name]names{
		"Kind":         {"kind", kindNames[:]},
		"ActorKind":    actorNames,
		"Tier":         tierNames,
		"Outcome":      outcomeNames,
		"Overflow":     overflowNames,
		"SignalTarget": targetNames,
	} {
		values := file.Enums().ByName(name).Values()
		named := 1 // zero has no name among the kinds
		for _, value := range want.values[1:] {
			if value != "" {
				named++
			}
		}
		if values.Len() != named {
			t.Errorf("%s has %d values in event.proto, %d in the code", name, values.Len(), named)
		}
		for i := 1; i < values.Len(); i++ {
			n := uint32(values.Get(i).Number())
			_, got, _ := strings.Cut(strings.ToLower(string(values.Get(i).Name())), "_")
			if w := strings.NewReplacer(".", "_", "-", "_").Replace(want.name(n)); got != w {
				t.Errorf("%s %d is %s in event.proto, %s in the code", name, n, got, w)
			}
			if v, err := want.parse(want.name(n)); name != "Kind" && (err != nil || v != n) {
				t.Errorf("%s: %q parses as %d, %v", name, want.name(n), v, err)
			}
		}
		if v, err := want.parse(want.of + "-99"); name != "Kind" && (err != nil || want.name(v) != want.of+"-99") {
			t.Errorf("%s: a value without a name does not survive: %d, %v", name, v, err)
		}
	}
}
