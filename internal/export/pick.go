package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Pick returns the JSON object b reduced to the named fields, in their order.
// A field that this object happens not to have is null, so that every line has
// the same shape.
func Pick(b []byte, fields []string) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("pick fields: %w", err)
	}
	var out bytes.Buffer
	out.WriteByte('{')
	for i, name := range fields {
		if i > 0 {
			out.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		value, ok := all[name]
		if !ok {
			value = json.RawMessage("null")
		}
		out.Write(key)
		out.WriteByte(':')
		out.Write(value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// EventFields are the top-level fields of an event's JSON.
var EventFields = []string{
	"seq", "id", "kind", "time", "order_time", "boottime_ns", "boot_id", "principal", "capsule", "instance",
	"call_id", "handle", "actor", "prev", "body", "unknown_fields",
}

// CheckFields tells which of the wanted fields are not known, and which are.
func CheckFields(want, known []string) error {
	for _, f := range want {
		if !slices.Contains(known, f) {
			return fmt.Errorf("no field %q; the fields are %s", f, strings.Join(known, ", "))
		}
	}
	return nil
}
