package event

import (
	"errors"
	"fmt"
	"sync"
)

// ErrInvalid marks an event that has no wire format: see [Check].
var ErrInvalid = errors.New("invalid event")

// Encode returns the event's bytes: [AppendEncode] to an empty slice.
func Encode(e *Event) []byte {
	return AppendEncode(make([]byte, 0, 256), e)
}

// AppendEncode appends the event's bytes to b. Equal events give equal bytes,
// and the bytes of a decoded event are those it was decoded from, if this
// package wrote them. Prev is not among them.
//
// It panics if the event has no body or only its header was decoded. If
// [Check] refuses the event, [Decode] will refuse the bytes.
func AppendEncode(b []byte, e *Event) []byte {
	b, _ = AppendChecked(b, e)
	return b
}

// AppendChecked is [AppendEncode] and [Check] in one: the bytes are to be used
// only if the error is nil. It does not check the size.
func AppendChecked(b []byte, e *Event) ([]byte, error) {
	if e.Body == nil || e.HeaderOnly() {
		panic("event: encode of an event without a body")
	}
	w := encoders.Get().(*encoder)
	w.b, w.err = b, nil
	w.envelope(e)
	w.message(bodyBase+num(e.Kind()), e.Kind().String(), e.Body, true)
	b, err := w.b, w.err
	w.b, w.err = nil, nil
	encoders.Put(w)
	return b, err
}

// Check says whether the event can be written so that it reads back equal:
// texts are valid UTF-8, ids have 16 bytes or none, enums are below 2^31, and
// the whole fits in [MaxEncoded]. The error wraps [ErrInvalid] and names the
// first field that is wrong.
func Check(e *Event) error {
	if e.Body == nil {
		return fmt.Errorf("%w: no body", ErrInvalid)
	}
	if e.HeaderOnly() {
		return fmt.Errorf("%w: only its header was decoded", ErrInvalid)
	}
	if k := e.Kind(); k == 0 || k > maxKind {
		return fmt.Errorf("%w: kind %d", ErrInvalid, uint32(k))
	}
	b, err := AppendChecked(nil, e)
	if err == nil && len(b) > MaxEncoded {
		err = fmt.Errorf("%w: %s takes %d bytes, at most %d may be written", ErrInvalid, e.Kind(), len(b), MaxEncoded)
	}
	return err
}

// Decode returns the event that b holds. Nothing in it points into b. The
// error is a [*DecodeError].
func Decode(b []byte) (*Event, error) {
	var head Event
	r := envelope{b: b}
	if err := r.read(&head); err != nil {
		return nil, err
	}
	e, body := newEvent(r.kind)
	*e = head
	e.Body = body
	text := string(b) // of the envelope and the body: one copy for all
	r.texts.set(text, 0, e)
	from := origin{raw: b, text: text}
	if r.merged {
		from = origin{raw: r.body, at: r.bodyAt}
	}
	if err := decodeBody(body, r.body, r.bodyAt, from, r.kind.String()); err != nil {
		return nil, err
	}
	return e, nil
}

// DecodeHeader returns the event that b holds without its body: the header,
// the scope and the kind. Whatever stands in the body is skipped, unread. The
// error is a [*DecodeError].
func DecodeHeader(b []byte) (Event, error) {
	var e Event
	r := envelope{b: b}
	err := r.read(&e)
	if err == nil && r.texts.hi > 0 {
		r.texts.set(string(b[r.texts.lo:r.texts.hi]), r.texts.lo, &e)
	}
	return e, err
}

// HeaderOnly reports whether the event came from [DecodeHeader]: it has a kind
// but no body that could be read or encoded.
func (e *Event) HeaderOnly() bool {
	_, is := e.Body.(headerOnly)
	return is
}

// headerOnly is the body of an event whose body was not decoded. It is a
// number, not a struct, so that it costs no allocation.
type headerOnly Kind

func (h headerOnly) Kind() Kind   { return Kind(h) }
func (headerOnly) fields(visitor) {}
func (headerOnly) keep(string)    {}
func (headerOnly) kept() string   { return "" }

var encoders = sync.Pool{New: func() any { return new(encoder) }}
