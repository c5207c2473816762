package event

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of the envelope's fields: message Event of event.proto. What a
// reader that filters needs stands first; the body comes last, as field
// bodyBase+kind.
const (
	numKind      num = 1
	numPrincipal num = 2
	numCapsule   num = 3
	numInstance  num = 4
	numCallID    num = 5
	numHandle    num = 6
	numActorKind num = 7
	numActorUID  num = 8
	numActorRole num = 9
	numSeq       num = 10
	numID        num = 11
	numWall      num = 12
	numBoottime  num = 13
	numBootID    num = 14

	bodyBase num = 100
)

// envelope appends everything but the body.
func (w *encoder) envelope(e *Event) {
	w.uvarint(numKind, uint64(e.Kind()))
	w.text(numPrincipal, "principal", &e.Principal)
	w.text(numCapsule, "capsule", &e.Capsule)
	w.text(numInstance, "instance", &e.Instance)
	w.text(numCallID, "call_id", &e.CallID)
	w.fixedID(numHandle, e.Handle)
	w.enum(numActorKind, "actor", (*uint32)(&e.Actor.Kind), actorNames)
	w.u32(numActorUID, "actor_uid", &e.Actor.UID)
	w.text(numActorRole, "actor_role", &e.Actor.Role)
	w.u64(numSeq, "seq", &e.Seq)
	w.fixedID(numID, e.ID)
	w.i64(numWall, "wall", &e.Wall)
	w.i64(numBoottime, "boottime", &e.Boottime)
	w.fixedID(numBootID, e.BootID)
	w.b = append(w.b, e.unknown...)
}

// envelope reads everything of an event but the body: the header, the scope,
// the kind, and where the body stands.
type envelope struct {
	b      []byte
	kind   Kind
	bodyNo num    // number of the body's field, 0 until it was seen
	body   []byte // its bytes
	bodyAt int    // their offset in b
	merged bool   // body stands in several places of b, and was copied together
	texts  envelopeTexts
}

// read sets everything of e but its texts and its body, which becomes a
// [headerOnly]. e is a parameter so that it need not live on the heap.
func (r *envelope) read(e *Event) error {
	if len(r.b) > MaxEncoded {
		return &DecodeError{Reason: fmt.Sprintf("%d bytes, an event has at most %d", len(r.b), MaxEncoded)}
	}
	var f field
	for i := 0; i < len(r.b); i = f.end {
		if err := f.scan(r.b, i); err != nil {
			return err
		}
		if err := r.take(&f, e); err != nil {
			return err
		}
	}
	if err := r.checkBody(); err != nil {
		return err
	}
	e.Body = headerOnly(r.kind)
	return nil
}

// take takes one field in.
func (r *envelope) take(f *field, e *Event) (err error) {
	var v uint64
	switch f.num {
	case numKind:
		v, err = f.uint("kind", maxKind)
		r.kind = Kind(v)
	case numPrincipal, numCapsule, numInstance, numCallID, numActorRole:
		err = r.texts.add(r.b, f)
	case numHandle:
		err = f.id(r.b, "handle", (*[16]byte)(&e.Handle))
	case numActorKind:
		v, err = f.uint("actor_kind", maxEnum)
		e.Actor.Kind = ActorKind(v)
	case numActorUID:
		v, err = f.uint("actor_uid", maxUint32)
		e.Actor.UID = uint32(v)
	case numSeq:
		e.Seq, err = f.uint("seq", maxUint64)
	case numID:
		err = f.id(r.b, "id", (*[16]byte)(&e.ID))
	case numWall:
		v, err = f.uint("wall", maxUint64)
		e.Wall = int64(v)
	case numBoottime:
		v, err = f.uint("boottime", maxUint64)
		e.Boottime = int64(v)
	case numBootID:
		err = f.id(r.b, "boot_id", &e.BootID)
	default:
		if f.num > bodyBase && f.num <= bodyBase+maxKind {
			return r.takeBody(f)
		}
		e.unknown += string(r.b[f.at:f.end])
	}
	return err
}

// takeBody notes where the body stands.
func (r *envelope) takeBody(f *field) error {
	switch {
	case f.typ != protowire.BytesType:
		return f.wrongType("body")
	case r.bodyNo == 0:
		r.bodyNo, r.body, r.bodyAt = f.num, r.b[f.start:f.end], f.start
	case r.bodyNo != f.num:
		return f.error("body", fmt.Sprintf("a second body: field %d after field %d", f.num, r.bodyNo))
	default:
		// protobuf merges the occurrences of a message, which is what
		// reading them as one does. NB: offsets in errors then count from
		// the first.
		r.merged = true
		r.body = append(r.body[:len(r.body):len(r.body)], r.b[f.start:f.end]...)
	}
	return nil
}

// checkBody checks that there is one body and that it is of the event's kind.
func (r *envelope) checkBody() error {
	switch {
	case r.kind == 0:
		return &DecodeError{Offset: len(r.b), Field: "kind", Reason: "missing"}
	case r.bodyNo == 0:
		return &DecodeError{Offset: len(r.b), Field: r.kind.String(), Reason: "the body is missing"}
	case r.bodyNo != bodyBase+num(r.kind):
		return &DecodeError{Offset: r.bodyAt, Field: "body", Reason: fmt.Sprintf("field %d holds a %s, the event is a %s", r.bodyNo, Kind(r.bodyNo-bodyBase), r.kind)}
	}
	return nil
}

// envelopeTexts are where the envelope's texts stand, by the numbers of their
// fields. They are copied out all at once: they cost one allocation.
type envelopeTexts struct {
	at     [numActorRole + 1]struct{ start, end int }
	lo, hi int
}

var envelopeTextNames = [numActorRole + 1]string{
	numPrincipal: "principal", numCapsule: "capsule", numInstance: "instance",
	numCallID: "call_id", numActorRole: "actor_role",
}

// add takes in the text that f stands for.
func (t *envelopeTexts) add(b []byte, f *field) error {
	switch {
	case f.typ != protowire.BytesType:
		return f.wrongType(envelopeTextNames[f.num])
	case !utf8.Valid(b[f.start:f.end]):
		return f.error(envelopeTextNames[f.num], "not UTF-8")
	}
	t.at[f.num].start, t.at[f.num].end = f.start, f.end
	if t.hi == 0 {
		t.lo = f.start
	}
	t.lo, t.hi = min(t.lo, f.start), max(t.hi, f.end)
	return nil
}

// set cuts the texts of e out of text, which is a copy of the event's bytes from
// offset at on.
func (t *envelopeTexts) set(text string, at int, e *Event) {
	get := func(n num) string { return text[max(t.at[n].start-at, 0):max(t.at[n].end-at, 0)] }
	e.Principal, e.Capsule = get(numPrincipal), get(numCapsule)
	e.Instance, e.CallID = get(numInstance), get(numCallID)
	e.Actor.Role = get(numActorRole)
}
