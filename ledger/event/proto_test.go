package event

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bufbuild/protocompile"
	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

func compileProto(t *testing.T) protoreflect.FileDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{}}
	files, err := c.Compile(t.Context(), "event.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0]
}

// TestProtoDecodesVectors: a reader that knows only event.proto finds in each
// vector what our JSON form says, field by field, and writes it back equal.
func TestProtoDecodesVectors(t *testing.T) {
	file := compileProto(t)
	for _, v := range readVectors(t) {
		if strings.Contains(v.name, "does not know") {
			continue // event.proto does not know it either
		}
		t.Run(v.name, func(t *testing.T) {
			m := dynamicpb.NewMessage(file.Messages().ByName("Event"))
			if err := proto.Unmarshal(v.wire, m); err != nil {
				t.Fatal(err)
			}
			var want map[string]any
			d := json.NewDecoder(strings.NewReader(v.json))
			d.UseNumber()
			if err := d.Decode(&want); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, envelopeFromProto(m)); d != "" {
				t.Errorf("event.proto reads it differently (-ours +protobuf):\n%s", d)
			}
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			e, err := Decode(b)
			if err != nil {
				t.Fatalf("what protobuf writes: %v", err)
			}
			if j := string(e.AppendJSON(nil)); j != v.json {
				t.Errorf("what protobuf writes reads as\n%s, want\n%s", j, v.json)
			}
		})
	}
}

// envelopeFromProto builds the JSON form's outer object from the message.
func envelopeFromProto(m protoreflect.Message) map[string]any {
	flat := fromProto(m)
	out := make(map[string]any)
	for _, name := range []string{"seq", "principal", "capsule", "instance", "call_id"} {
		if v, ok := flat[name]; ok {
			out[name] = v
		}
	}
	field := func(name protoreflect.Name) protoreflect.Value { return m.Get(m.Descriptor().Fields().ByName(name)) }
	id := ulid.ULID{}
	copy(id[:], field("id").Bytes())
	out["id"] = id.String()
	out["time"] = time.Unix(0, field("wall").Int()).UTC().Format(time.RFC3339Nano)
	out["order_time"] = ulid.Time(id.Time()).UTC().Format("2006-01-02T15:04:05.000Z")
	out["boottime_ns"] = flat["boottime"]
	if h, ok := flat["boot_id"].(string); ok {
		out["boot_id"] = strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
	}
	if h := field("handle").Bytes(); len(h) > 0 {
		out["handle"] = ulid.ULID(h).String()
	}
	actor := map[string]any{"kind": "unknown"}
	if k, ok := flat["actor_kind"]; ok {
		actor["kind"] = k
	}
	if uid := flat["actor_uid"]; actor["kind"] == "operator" || uid != json.Number("0") {
		actor["uid"] = uid
	}
	if role, ok := flat["actor_role"]; ok {
		actor["role"] = role
	}
	out["actor"] = actor
	body := m.WhichOneof(m.Descriptor().Oneofs().ByName("body"))
	out["body"] = flat[string(body.Name())]
	family, name, _ := strings.Cut(string(body.Name()), "_")
	out["kind"] = family + "." + strings.ReplaceAll(name, "_", "-")
	if kind := m.Get(m.Descriptor().Fields().ByName("kind")).Enum(); body.Number() != 100+protoreflect.FieldNumber(kind) {
		out["kind"] = fmt.Sprintf("field %d for kind %d", body.Number(), kind)
	}
	return out
}

// fromProto builds the JSON form of a message by the rules in json.go, from
// the descriptor alone.
func fromProto(m protoreflect.Message) map[string]any {
	out := make(map[string]any)
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		v, name := m.Get(f), string(f.Name())
		number := f.Kind() != protoreflect.StringKind && f.Kind() != protoreflect.BytesKind && f.Kind() != protoreflect.EnumKind
		switch {
		case f.IsList():
			var list []any
			for i := range v.List().Len() {
				list = append(list, oneFromProto(f, v.List().Get(i)))
			}
			if list != nil {
				out[name] = list
			}
		case m.Has(f), number && !f.HasPresence() && !strings.HasSuffix(name, "_wall"):
			out[name] = oneFromProto(f, v)
		case f.Message() != nil && !f.HasOptionalKeyword() && f.ContainingOneof() == nil:
			out[name] = fromProto(v.Message())
		}
	}
	return out
}

func oneFromProto(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	name := string(f.Name())
	switch f.Kind() {
	case protoreflect.MessageKind:
		return fromProto(v.Message())
	case protoreflect.StringKind:
		return v.String()
	case protoreflect.BoolKind:
		return v.Bool()
	case protoreflect.BytesKind:
		if name == "cancel" || name == "handles" {
			return ulid.ULID(v.Bytes()).String()
		}
		return hex.EncodeToString(v.Bytes())
	case protoreflect.EnumKind:
		if e := f.Enum().Values().ByNumber(v.Enum()); e != nil {
			_, value, _ := strings.Cut(string(e.Name()), "_")
			return strings.ReplaceAll(strings.ToLower(value), "_", "-")
		}
		return fmt.Sprint(v.Enum())
	}
	if strings.HasSuffix(name, "_wall") {
		return time.Unix(0, v.Int()).UTC().Format(time.RFC3339Nano)
	}
	return json.Number(v.String())
}
