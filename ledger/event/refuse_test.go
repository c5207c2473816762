package event

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// wire concatenates fields to the bytes of a message.
func wire(fields ...string) []byte { return []byte(strings.Join(fields, "")) }

func varint(n num, v uint64) string {
	return string(protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v))
}

func length(n num, value string) string {
	return string(protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), value))
}

// requested is a spawn.requested with the body's fields.
func requested(fields ...string) []byte {
	return wire(varint(1, 12), length(112, strings.Join(fields, "")))
}

var refusals = []struct {
	name string
	wire []byte
	want string
}{
	{"nothing", nil, "decode event: kind at byte 0: missing"},
	{"no kind", wire(length(112, "")), "decode event: kind at byte 3: missing"},
	{"no body", wire(varint(1, 12)), "decode event: spawn.requested at byte 2: the body is missing"},
	{"kind too large", wire(varint(1, 20_000)), "decode event: kind at byte 0: 20000 is above 18000"},
	{"body of another kind", wire(varint(1, 12), length(113, "")), "decode event: body at byte 5: field 113 holds a spawn.decided, the event is a spawn.requested"},
	{"two bodies", wire(varint(1, 12), length(112, ""), length(113, "")), "decode event: body at byte 5: a second body: field 113 after field 112"},
	{"body with a wrong type", wire(varint(1, 12), varint(112, 1)), "decode event: body at byte 2: wire type 0"},
	{"short id", wire(varint(1, 12), length(11, "short"), length(112, "")), "decode event: id at byte 2: 5 bytes long, an id has 16"},
	{"principal not UTF-8", wire(varint(1, 12), length(2, "\xff"), length(112, "")), "decode event: principal at byte 2: not UTF-8"},
	{"principal with a wrong type", wire(varint(1, 12), varint(2, 7)), "decode event: principal at byte 2: wire type 0"},
	{"seq with a wrong type", wire(varint(1, 12), length(10, "x")), "decode event: seq at byte 2: wire type 2"},
	{"uid too large", wire(varint(1, 12), varint(8, 1<<32)), "decode event: actor_uid at byte 2: 4294967296 is above 4294967295"},
	{"field number 0", wire(varint(1, 12), "\x00\x00"), "decode event: at byte 2: field number 0"},
	{"group", wire(varint(1, 12), "\x7b\x7c"), "decode event: at byte 2: field 15 has wire type 3"},
	{"cut in a tag", wire(varint(1, 12), "\x80"), "decode event: at byte 2: unexpected EOF"},
	{"cut in a varint", wire(varint(1, 12), "\x50\x80"), "decode event: at byte 2: unexpected EOF"},
	{"cut in a length", wire(varint(1, 12), "\x12\x80"), "decode event: at byte 2: unexpected EOF"},
	{"cut in a value", wire(varint(1, 12), "\x12\x05abc"), "decode event: at byte 2: field 2 is 5 bytes long, only 3 are left"},
	{"cut in a fixed value", wire(varint(1, 12), "\x7d\x01\x02"), "decode event: at byte 2: unexpected EOF"},
	{"huge length", wire(varint(1, 12), "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "decode event: at byte 2: field 2 is 18446744073709551615 bytes long, only 0 are left"},
	{"in the body: wrong type", requested(length(1, "x")), "decode event: spawn.requested.tier at byte 5: wire type 2"},
	{"in the body: enum too large", requested(varint(1, 1<<31)), "decode event: spawn.requested.tier at byte 5: 2147483648 is above 2147483647"},
	{"in the body: flag of 2", requested(varint(6, 2)), "decode event: spawn.requested.args_cut at byte 5: 2 is above 1"},
	{"in the body: not UTF-8", requested(length(2, "ok"), length(3, "fine"), length(3, "\xc3")), "decode event: spawn.requested.args at byte 15: not UTF-8"},
	{"in the body: list of mixed types", requested(varint(3, 1), length(3, "fine")), "decode event: spawn.requested.args at byte 5: wire type 0"},
	{"in the body: group", requested("\x7b"), "decode event: spawn.requested at byte 5: field 15 has wire type 3"},
	{"in a part", requested(length(12, varint(3, 1<<40))), "decode event: spawn.requested.limits.pids at byte 7: 1099511627776 is above 4294967295"},
	{"in a part of a list", wire(varint(1, 13), length(113, length(5, "")+length(5, length(1, "\xff")))), "decode event: spawn.decided.quotas.scope at byte 9: not UTF-8"},
	{"exit code too large", wire(varint(1, 18), length(118, length(1, varint(1, 1<<31)))), "decode event: process.exited.exit.code at byte 7: 2147483648 is not an int32"},
	{"cancel of 15 bytes", wire(varint(1, 21), length(121, length(1, strings.Repeat("c", 15)))), "decode event: cancel.finished.cancel at byte 5: 15 bytes long, an id has 16"},
	{"unknown kind, body no message", wire(varint(1, 77), length(177, "\xff")), "decode event: kind-77 at byte 5: unexpected EOF"},
	{"longer than any event", wire(varint(1, 9), length(109, length(2, strings.Repeat("x", MaxEncoded)))), "decode event: at byte 0: 61451 bytes, an event has at most 61440"},
}

// TestRefuses: what Decode refuses, with the field and offset it names.
func TestRefuses(t *testing.T) {
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode(c.wire)
			var at *DecodeError
			if !errors.As(err, &at) || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// TestProtobufRules: what protobuf readers must accept is accepted.
func TestProtobufRules(t *testing.T) {
	for _, c := range []struct {
		name string
		wire []byte
		want *Event
	}{
		{"the last value wins", requested(varint(1, 1), length(2, "a"), varint(1, 2), length(2, "b")), &Event{Body: &SpawnRequested{Tier: 2, Command: "b"}}},
		{"parts merge", requested(length(12, varint(3, 5)), length(12, varint(4, 6))), &Event{Body: &SpawnRequested{Limits: &Limits{PIDs: new(uint32(5)), OpenFiles: new(uint32(6))}}}},
		{"bodies merge", wire(varint(1, 12), length(112, length(2, "a")), length(112, length(3, "b"))), &Event{Body: &SpawnRequested{Command: "a", Args: []string{"b"}}}},
		{"fields in any order", wire(length(112, varint(13-3, 5)+length(2, "a")), varint(10, 7), varint(1, 12)), &Event{Header: Header{Seq: 7}, Body: &SpawnRequested{Command: "a", StdinBytes: 5}}},
		{"lists in pieces", requested(length(3, "a"), length(2, "c"), length(3, "b")), &Event{Body: &SpawnRequested{Command: "c", Args: []string{"a", "b"}}}},
		{"long varints", wire("\x08\x8c\x80\x00", length(112, "")), &Event{Body: &SpawnRequested{}}},
		{"unknown fields in order", requested(varint(30, 1), length(2, "c"), length(99, "x"), varint(30, 3)), &Event{Body: &SpawnRequested{Command: "c", rest: rest{varint(30, 1) + length(99, "x") + varint(30, 3)}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := Decode(c.wire)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := string(e.AppendJSON(nil)), string(c.want.AppendJSON(nil)); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// TestCheckRefuses: what Check refuses would not read back.
func TestCheckRefuses(t *testing.T) {
	for want, e := range map[string]*Event{
		"no body":      {},
		"only its":     {Body: headerOnly(KindSpawnRequested)},
		"kind 0":       {Body: &Unknown{}},
		"kind 18001":   {Body: &Unknown{Of: maxKind + 1}},
		"principal is": {Scope: Scope{Principal: "\xff"}, Body: &DaemonStopped{}},
		"reason is":    {Body: &DaemonStopped{Reason: "a\xc3"}},
		"path is":      {Body: &ProcessStarted{Executable: File{Path: "\xff"}}},
		"handles is 3": {Body: &CancelRequested{Handles: [][]byte{{1, 2, 3}}}},
		"tier is":      {Body: &SpawnRequested{Tier: 1 << 31}},
		"at most":      {Body: &PolicyChanged{Text: strings.Repeat("x", MaxEncoded)}},
	} {
		err := Check(e)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
