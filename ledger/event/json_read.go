package event

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
)

// jsonReader sets each field it visits from a JSON object, as jsonWriter wrote
// it.
type jsonReader struct {
	object map[string]json.RawMessage
	err    error // the first fault
	list   []map[string]json.RawMessage
}

// read sets the message from the object.
func (r *jsonReader) read(m message) {
	m.fields(r)
	for _, name := range []string{"raw", "unknown_fields"} {
		if _, isUnknown := m.(*Unknown); isUnknown != (name == "raw") {
			continue
		}
		var kept []byte
		if r.blob(0, name, &kept); len(kept) > 0 {
			m.keep(string(kept))
		}
	}
}

// get reads the member into p, false if it is not there or does not fit.
func (r *jsonReader) get(name string, p any) bool {
	raw, ok := r.object[name]
	if !ok || r.err != nil {
		return false
	}
	if err := json.Unmarshal(raw, p); err != nil {
		r.fail(name, err)
	}
	return r.err == nil
}

func (r *jsonReader) fail(name string, err error) {
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s: %w", name, err)
	}
}

func (r *jsonReader) text(_ num, name string, p *string)    { r.get(name, p) }
func (r *jsonReader) texts(_ num, name string, p *[]string) { r.get(name, p) }
func (r *jsonReader) u32(_ num, name string, p *uint32)     { r.get(name, p) }
func (r *jsonReader) u64(_ num, name string, p *uint64)     { r.get(name, p) }
func (r *jsonReader) i64(_ num, name string, p *int64)      { r.get(name, p) }
func (r *jsonReader) flag(_ num, name string, p *bool)      { r.get(name, p) }
func (r *jsonReader) optFlag(_ num, name string, p **bool)  { r.get(name, p) }
func (r *jsonReader) optI32(_ num, name string, p **int32)  { r.get(name, p) }
func (r *jsonReader) optU32(_ num, name string, p **uint32) { r.get(name, p) }
func (r *jsonReader) optU64(_ num, name string, p **uint64) { r.get(name, p) }

func (r *jsonReader) blob(_ num, name string, p *[]byte) {
	var s string
	if r.get(name, &s) {
		var err error
		*p, err = hex.DecodeString(s)
		r.fail(name, err)
	}
}

func (r *jsonReader) id(_ num, name string, p *[]byte) {
	var id ulid.ULID
	if r.get(name, &id) {
		*p = id[:]
	}
}

func (r *jsonReader) ids(_ num, name string, p *[][]byte) {
	var ids []ulid.ULID
	if r.get(name, &ids) {
		for _, id := range ids {
			*p = append(*p, id[:])
		}
	}
}

func (r *jsonReader) wall(_ num, name string, p *int64) {
	var t time.Time
	if r.get(name, &t) {
		*p = t.UnixNano()
	}
}

func (r *jsonReader) enum(_ num, name string, p *uint32, e names) {
	var s string
	if r.get(name, &s) {
		var err error
		*p, err = e.parse(s)
		r.fail(name, err)
	}
}

func (r *jsonReader) message(_ num, name string, m message, _ bool) {
	var object map[string]json.RawMessage
	if r.get(name, &object) {
		r.part(name, object, m)
	}
}

func (r *jsonReader) part(name string, object map[string]json.RawMessage, m message) {
	inner := &jsonReader{object: object}
	inner.read(m)
	r.fail(name, inner.err)
}

func (r *jsonReader) has(_ num, name string, _ bool) bool {
	_, ok := r.object[name]
	return ok
}

func (r *jsonReader) open(_ num, name string, _ int) int {
	r.list = nil
	r.get(name, &r.list)
	return len(r.list)
}

func (r *jsonReader) element(_ num, name string, i int, m message) { r.part(name, r.list[i], m) }

func (r *jsonReader) close() {}
