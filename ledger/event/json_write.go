package event

import (
	"encoding/hex"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"
)

// jsonWriter appends the JSON form of each field it visits.
type jsonWriter struct{ b []byte }

// key appends a member's name, with a comma unless it is the first.
func (w *jsonWriter) key(name string) {
	w.comma()
	w.b = append(appendQuoted(w.b, name), ':')
}

func (w *jsonWriter) comma() {
	if last := w.b[len(w.b)-1]; last != '{' && last != '[' {
		w.b = append(w.b, ',')
	}
}

func (w *jsonWriter) quoted(name, s string) {
	w.key(name)
	w.b = appendQuoted(w.b, s)
}

func (w *jsonWriter) text(_ num, name string, p *string) {
	if *p != "" {
		w.quoted(name, *p)
	}
}

// strings appends a list of count strings, nothing if it is empty.
func (w *jsonWriter) strings(name string, count int, at func(i int) string) {
	if count == 0 {
		return
	}
	w.key(name)
	w.b = append(w.b, '[')
	for i := range count {
		w.comma()
		w.b = appendQuoted(w.b, at(i))
	}
	w.b = append(w.b, ']')
}

func (w *jsonWriter) texts(_ num, name string, p *[]string) {
	w.strings(name, len(*p), func(i int) string { return (*p)[i] })
}

func (w *jsonWriter) blob(_ num, name string, p *[]byte) {
	if len(*p) > 0 {
		w.quoted(name, hex.EncodeToString(*p))
	}
}

// idText is an id's ULID; hex if it has not 16 bytes, which Check refuses.
func idText(id []byte) string {
	if len(id) != 16 {
		return hex.EncodeToString(id)
	}
	return ulid.ULID(id).String()
}

func (w *jsonWriter) id(_ num, name string, p *[]byte) {
	if len(*p) > 0 {
		w.quoted(name, idText(*p))
	}
}

func (w *jsonWriter) ids(_ num, name string, p *[][]byte) {
	w.strings(name, len(*p), func(i int) string { return idText((*p)[i]) })
}

func (w *jsonWriter) u32(_ num, name string, p *uint32) {
	v := uint64(*p)
	w.u64(0, name, &v)
}

func (w *jsonWriter) u64(_ num, name string, p *uint64) {
	w.key(name)
	w.b = strconv.AppendUint(w.b, *p, 10)
}

func (w *jsonWriter) i64(_ num, name string, p *int64) {
	w.key(name)
	w.b = strconv.AppendInt(w.b, *p, 10)
}

func (w *jsonWriter) wall(_ num, name string, p *int64) {
	if *p != 0 {
		w.quoted(name, time.Unix(0, *p).UTC().Format(time.RFC3339Nano))
	}
}

func (w *jsonWriter) flag(_ num, name string, p *bool) {
	w.key(name)
	w.b = strconv.AppendBool(w.b, *p)
}

func (w *jsonWriter) enum(_ num, name string, p *uint32, e names) {
	if *p != 0 {
		w.quoted(name, e.name(*p))
	}
}

func (w *jsonWriter) optFlag(_ num, name string, p **bool) {
	if *p != nil {
		w.flag(0, name, *p)
	}
}

func (w *jsonWriter) optI32(_ num, name string, p **int32) {
	if *p != nil {
		v := int64(**p)
		w.i64(0, name, &v)
	}
}

func (w *jsonWriter) optU32(_ num, name string, p **uint32) {
	if *p != nil {
		w.u32(0, name, *p)
	}
}

func (w *jsonWriter) optU64(_ num, name string, p **uint64) {
	if *p != nil {
		w.u64(0, name, *p)
	}
}

func (w *jsonWriter) message(_ num, name string, m message, _ bool) {
	w.key(name)
	w.object(m)
}

// object appends a message: its fields, then what this build does not know.
func (w *jsonWriter) object(m message) {
	w.b = append(w.b, '{')
	m.fields(w)
	if kept := m.kept(); kept != "" {
		name := "unknown_fields"
		if _, is := m.(*Unknown); is {
			name = "raw"
		}
		w.quoted(name, hex.EncodeToString([]byte(kept)))
	}
	w.b = append(w.b, '}')
}

func (w *jsonWriter) has(_ num, _ string, set bool) bool { return set }

func (w *jsonWriter) open(_ num, name string, have int) int {
	if have > 0 {
		w.key(name)
		w.b = append(w.b, '[')
	}
	return have
}

func (w *jsonWriter) element(_ num, _ string, _ int, m message) {
	w.comma()
	w.object(m)
}

func (w *jsonWriter) close() { w.b = append(w.b, ']') }
