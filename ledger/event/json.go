package event

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"
)

// The JSON form of an event, for people, exports and the control interface;
// the ledger itself holds none. It is stable and only ever added to:
//
//	{"seq":7,"id":"01J…","kind":"spawn.decided",
//	 "time":"2026-01-02T03:04:05.000000006Z","order_time":"2026-01-02T03:04:05.000Z",
//	 "boottime_ns":8,"boot_id":"9a3c…-…","principal":"alice","capsule":"builder",
//	 "instance":"…","call_id":"…","handle":"01J…",
//	 "actor":{"kind":"operator","uid":0,"role":"operator"},"prev":6,"body":{…}}
//
// time is the wall clock as read, order_time the non-decreasing time in the
// id. Numbers and flags of a body always appear, since zero says something;
// texts, bytes, lists, parts and times appear if they are set. Bytes are hex,
// ids are ULIDs, enums are names, times of the wall clock are RFC 3339 in UTC.
// Numbers are exact 64-bit integers, so read them as such. uid appears for
// operators only. What this build does not know stands, as hex of the wire
// format, in "unknown_fields" of the object it belongs to, or as "raw" in the
// body of a kind it does not know. An event of which only the header was
// decoded has no body.

// orderTime is RFC 3339 with the milliseconds an id has.
const orderTime = "2006-01-02T15:04:05.000Z07:00"

// MarshalJSON returns the event's JSON form. Through [json.Marshal] the
// characters <, > and & come out escaped; [Event.AppendJSON] leaves them.
func (e *Event) MarshalJSON() ([]byte, error) { return e.AppendJSON(nil), nil }

// AppendJSON appends the event's JSON form, on one line, to b.
func (e *Event) AppendJSON(b []byte) []byte {
	w := &jsonWriter{b: b}
	w.b = append(w.b, '{')
	w.u64(0, "seq", &e.Seq)
	w.quoted("id", e.ID.String())
	w.quoted("kind", e.Kind().String())
	w.quoted("time", time.Unix(0, e.Wall).UTC().Format(time.RFC3339Nano))
	w.quoted("order_time", ulid.Time(e.ID.Time()).UTC().Format(orderTime))
	w.i64(0, "boottime_ns", &e.Boottime)
	if e.BootID != [16]byte{} {
		w.quoted("boot_id", uuid(e.BootID))
	}
	w.text(0, "principal", &e.Principal)
	w.text(0, "capsule", &e.Capsule)
	w.text(0, "instance", &e.Instance)
	w.text(0, "call_id", &e.CallID)
	if !e.Handle.IsZero() {
		w.quoted("handle", e.Handle.String())
	}
	w.actor(e.Actor)
	if e.Prev != 0 {
		w.u64(0, "prev", &e.Prev)
	}
	if e.unknown != "" {
		w.quoted("unknown_fields", hex.EncodeToString([]byte(e.unknown)))
	}
	if e.Body != nil && !e.HeaderOnly() {
		w.message(0, "body", e.Body, true)
	}
	return append(w.b, '}')
}

func (w *jsonWriter) actor(a Actor) {
	w.key("actor")
	w.b = append(w.b, '{')
	w.quoted("kind", a.Kind.String())
	if a.Kind == ActorOperator || a.UID != 0 {
		w.u32(0, "uid", &a.UID)
	}
	w.text(0, "role", &a.Role)
	w.b = append(w.b, '}')
}

// uuid formats a boot id as /proc/sys/kernel/random/boot_id shows it.
func uuid(id [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

func parseUUID(s string) (id [16]byte, err error) {
	digits := make([]byte, 0, 32)
	for i := range len(s) {
		if s[i] != '-' {
			digits = append(digits, s[i])
		}
	}
	if len(digits) != 32 {
		return id, fmt.Errorf("boot id %q has not 32 digits", s)
	}
	_, err = hex.Decode(id[:], digits)
	return id, err
}

// eventJSON is the JSON form's outer object, for reading.
type eventJSON struct {
	Seq       uint64    `json:"seq"`
	ID        ulid.ULID `json:"id"`
	Kind      string    `json:"kind"`
	Time      time.Time `json:"time"`
	Boottime  int64     `json:"boottime_ns"`
	BootID    string    `json:"boot_id"`
	Principal string    `json:"principal"`
	Capsule   string    `json:"capsule"`
	Instance  string    `json:"instance"`
	CallID    string    `json:"call_id"`
	Handle    ulid.ULID `json:"handle"`
	Actor     struct {
		Kind string `json:"kind"`
		UID  uint32 `json:"uid"`
		Role string `json:"role"`
	} `json:"actor"`
	Prev    uint64                     `json:"prev"`
	Unknown string                     `json:"unknown_fields"`
	Body    map[string]json.RawMessage `json:"body"`
}

// UnmarshalJSON reads the form that [Event.MarshalJSON] writes; an event
// survives both. Keys that it does not know are passed over.
func (e *Event) UnmarshalJSON(b []byte) error {
	var j eventJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("event from JSON: %w", err)
	}
	kind, err := ParseKind(j.Kind)
	if err != nil {
		return fmt.Errorf("event from JSON: %w", err)
	}
	*e = Event{
		Header: Header{Seq: j.Seq, ID: j.ID, Wall: j.Time.UnixNano(), Boottime: j.Boottime},
		Scope: Scope{
			Principal: j.Principal, Capsule: j.Capsule, Instance: j.Instance, CallID: j.CallID,
			Handle: j.Handle, Actor: Actor{UID: j.Actor.UID, Role: j.Actor.Role},
		},
		Prev: j.Prev,
		Body: headerOnly(kind),
	}
	if j.Actor.Kind != "" {
		if e.Actor.Kind, err = ParseActorKind(j.Actor.Kind); err != nil {
			return fmt.Errorf("event from JSON: %w", err)
		}
	}
	if j.BootID != "" {
		if e.BootID, err = parseUUID(j.BootID); err != nil {
			return fmt.Errorf("event from JSON: %w", err)
		}
	}
	unknown, err := hex.DecodeString(j.Unknown)
	if err != nil {
		return fmt.Errorf("event from JSON: unknown_fields: %w", err)
	}
	e.unknown = string(unknown)
	if j.Body != nil {
		e.Body = newBody(kind)
		return readBody(e.Body, j.Body)
	}
	return nil
}

// readBody sets the body from its JSON object.
func readBody(m Body, object map[string]json.RawMessage) error {
	r := &jsonReader{object: object}
	r.read(m)
	if r.err != nil {
		return fmt.Errorf("%s from JSON: %w", m.Kind(), r.err)
	}
	return nil
}

// appendQuoted appends s as a JSON string. Control characters are escaped,
// also those above ASCII, so that what a guest named cannot steer a terminal
// that shows the line.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, '\\', 'n')
		case r == '\t':
			b = append(b, '\\', 't')
		case r < 0x20, r >= 0x7f && r < 0xa0, r == 0x2028, r == 0x2029:
			b = append(b, '\\', 'u')
			b = append(b, strconv.FormatUint(0x10000+uint64(r), 16)[1:]...)
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}
